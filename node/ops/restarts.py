"""Restarts endless work when it fails, and counts the restarts for ``zvmd status``.

| thread or process | when it fails |
|---|---|
| writer, committer | the node ends with 70 and recovers at its start (`node.daemon.panic`) |
| readers | what a call raises is its answer (`node.rpc.readers`) |
| session threads, asyncio's default threads | what a job raises is its result; the threads stay |
| the job scheduler | hands out jobs again a second later; a job that raises stays scheduled (`node.ops.jobs`) |
| the compiler's thread and process | replaced when there is work (`node.machine.compile_worker`) |
| the process that writes the index | restarted when there is work, after a pause (`node.indexing.remote`) |
| the process that compiles an interpreter or a library | it is compiled in the node (`node.machine.libraries`) |
| the process that checks the certificate | the start, or that run of the job, fails (`node.auth.certificate`) |
| the process that reads session files | one a file: the import is refused (`node.sessions.import_worker`) |
| the threads that write log lines | replaced at the next line (`node.ops.lines`) |
| interval sealing | begun again a second later, here |
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable
from typing import Final

import structlog

log = structlog.get_logger("zvmd.restarts")

PAUSE_SECONDS: Final = 1.0


class Restarts:
    """Runs endless work, and counts how often each piece had to be restarted."""

    def __init__(self, pause_seconds: float = PAUSE_SECONDS) -> None:
        self._pause_seconds = pause_seconds
        self._counts: Counter[str] = Counter()
        self._sources: dict[str, Callable[[], int]] = {}

    def watch(self, name: str, count: Callable[[], int]) -> None:
        """Report the restarts of something that restarts itself."""
        self._sources[name] = count

    async def keep(self, name: str, work: Callable[[], Awaitable[None]]) -> None:
        """Run ``work``, which should never end; restart it when it raises or returns. Ends when it is cancelled."""
        while True:
            try:
                await work()
            except Exception as error:
                log.error("restarted", work=name, exc_info=error)
            else:
                log.error("restarted", work=name, reason="it ended")
            self._counts[name] += 1
            await asyncio.sleep(self._pause_seconds)

    def status(self) -> dict[str, int]:
        """Restarts by name; names without restarts are left out."""
        counted = self._counts | Counter({name: source() for name, source in self._sources.items()})
        return {name: count for name, count in sorted(counted.items()) if count}
