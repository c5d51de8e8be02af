"""The daemon's side of the index process: starts it when there is work, and limits how it can fail."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final

from node.indexing.messages import Done, Prepare, Request, Write, WriteSessions, decode_answer, encode
from node.ops.memory import resident_bytes
from node.ops.worker import Worker, WorkerLost, WorkerNotStarted
from storage.errors import (
    IndexDamaged,
    IndexLocked,
    IndexUnavailable,
    StorageError,
    StorageFull,
    StoragePanic,
    StoreTooNew,
)
from storage.index.rows import BlockRows, IndexWatermark
from storage.index.sessions import SessionRow

MODULE: Final = "node.indexing.process"
ASK_SECONDS: Final = 60.0
"""Time limit for an answer, plus a second for each `ROWS_PER_SECOND`; then the process is killed."""
ROWS_PER_SECOND: Final = 1_000
PAUSE_SECONDS_MAX: Final = 60.0
"""Longest pause before a lost process is restarted; the first is half a second, each next one twice as long."""
LOSSES_BEFORE_REBUILD: Final = 3
"""Consecutive losses after which the database is suspected of crashing the process, and rebuilt,"""
REBUILD_SECONDS: Final = 3_600.0
"""but not more often than this."""
_KINDS: Final = {kind.code: kind for kind in (IndexDamaged, IndexLocked, StorageFull, StoragePanic, StoreTooNew)}


class RemoteWriter:
    """Implements `storage.index.rows.RowWriter` by a process of its own. One thread at a time writes."""

    def __init__(
        self, path: Path, migrations: Path, idle_seconds: float, clock: Callable[[], float] = time.monotonic
    ) -> None:
        """The process exits after ``idle_seconds`` without work. ``clock`` is steady, seconds."""
        self._worker = Worker(MODULE, str(path), str(migrations), str(idle_seconds))
        self._clock = clock
        self._losses_in_a_row = 0
        self._not_before = float("-inf")
        self._rebuilt = float("-inf")
        self._ended = False
        self.losses = 0
        """Number of processes lost since the start."""
        self.last_loss = ""

    def prepare(self) -> None:
        """See `RowWriter`."""
        self._ask(Prepare())

    def write(self, blocks: Sequence[BlockRows], lsn: int) -> IndexWatermark:
        """See `RowWriter`."""
        rows = sum(block.count for block in blocks)
        mark = self._ask(Write(blocks, lsn), rows).mark
        if mark is None:
            raise IndexDamaged("index: a write without a watermark")
        self._losses_in_a_row = 0
        return mark

    def write_sessions(self, rows: Sequence[SessionRow], gone: Sequence[int], lsn: int, *, all_: bool) -> None:
        """See `RowWriter`."""
        self._ask(WriteSessions([asdict(row) for row in rows], gone, lsn, all_), len(rows) + len(gone))
        self._losses_in_a_row = 0

    def close(self) -> None:
        """Kill the process; the next call starts another."""
        self._worker.stop()

    def abandon(self) -> None:
        """See `RowWriter`."""
        self._ended = True
        self._worker.kill()

    def status(self) -> dict[str, Any]:
        """Process id and memory, if there is a process; the losses, and the pause before a restart. Any thread."""
        pid = self._worker.pid
        memory = resident_bytes(pid)["own"] if pid is not None else 0
        return {
            "pid": pid,
            "memoryBytes": memory,
            "losses": self.losses,
            "lastLoss": self.last_loss,
            "pauseSeconds": round(max(0.0, self._not_before - self._clock()), 3),
        }

    def _ask(self, request: Request, rows: int = 0) -> Done:
        if self._ended:
            raise IndexUnavailable("the node is stopping")
        wait = self._not_before - self._clock()
        if wait > 0:
            raise IndexUnavailable(f"the index process starts again in {wait:.1f} s: {self.last_loss}")
        message, seconds = encode(request), ASK_SECONDS + rows / ROWS_PER_SECOND
        try:
            try:
                answer = self._worker.ask(message, seconds)
            except WorkerLost:
                if not self._worker.ended_by_itself:
                    raise
                answer = self._worker.ask(message, seconds)  # it had just exited for lack of work
        except WorkerLost as loss:
            raise self._lost(str(loss), at_work=not isinstance(loss, WorkerNotStarted)) from None
        said = decode_answer(answer)
        if isinstance(said, Done):
            return said
        if said.code not in _KINDS:
            self._worker.stop()
            raise self._lost(said.message)
        raise _KINDS[said.code](said.message)

    def _lost(self, reason: str, *, at_work: bool = True) -> StorageError:
        """Count a loss; returns the error to raise. The database is not to blame unless the process was ``at_work``."""
        self.losses += 1
        self._losses_in_a_row += 1
        self.last_loss = reason[:500]
        now = self._clock()
        self._not_before = now + min(PAUSE_SECONDS_MAX, 2.0 ** (self._losses_in_a_row - 2))
        if at_work and self._losses_in_a_row >= LOSSES_BEFORE_REBUILD and now - self._rebuilt >= REBUILD_SECONDS:
            self._rebuilt = now
            return IndexDamaged(f"index: its process was lost {self._losses_in_a_row} times in a row: {reason}")
        return IndexUnavailable(f"the index process was lost: {reason}")
