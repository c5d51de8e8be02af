"""Keeps the process small: full garbage collections when it is idle or has grown, and freed memory is returned."""

from __future__ import annotations

import ctypes
import gc
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

PATIENCE_SECONDS: Final = 1_800.0
"""Longest time between collections, also under constant load; a collection stops every thread for a moment."""
GROWTH_BYTES: Final = 16 * 2**20
"""Growth since the last collection that makes the next one due without an idle moment."""
ARENAS_MAX: Final = 2
"""By default malloc makes up to eight arenas a core, and memory freed in one cannot be used by threads of another."""
MAPPED_BYTES: Final = 256 * 1024
"""What is as large gets pages of its own, which go back to the system when it is freed.

By default malloc raises this up to 32 MiB, to the largest that was freed. Then bodies and answers of megabytes lie
between small things in arenas, whose pages stay.
"""
_M_ARENA_MAX, _M_MMAP_THRESHOLD = -8, -3  # malloc.h


def tune_malloc() -> None:
    """Have glibc's malloc give memory back. Call it before any thread is started."""
    mallopt = _malloc("mallopt")
    if mallopt is not None:
        mallopt(_M_ARENA_MAX, ARENAS_MAX)
        mallopt(_M_MMAP_THRESHOLD, MAPPED_BYTES)


def only_chosen_collections() -> None:
    """Switch automatic garbage collection off: `QuietCollector` chooses when to collect.

    Python would collect in the middle of whatever makes an object, also on the event loop, and look at all objects made
    lately: many tens of thousands while a large answer is formed, as freed old objects count against new ones. Requests
    leave no cycles to find, and tests hold connections to that. What was imported is never looked at again.
    """
    gc.disable()
    gc.freeze()


def resident_bytes(pid: int | None = None) -> dict[str, int]:
    """Resident set size of this process or of another one, zeros if that is gone; bytes.

    It includes pages of files, which the system reclaims when it needs memory. Raises `OSError` where there is no
    ``/proc``.
    """
    try:
        lines = Path(f"/proc/{'self' if pid is None else pid}/status").read_text().splitlines()
    except OSError:
        if pid is None:
            raise
        lines = []
    status = dict(line.split(":", 1) for line in lines)
    fields = {"own": "RssAnon", "files": "RssFile"}
    return {name: int(status.get(field, "0 kB").split()[0]) * 1024 for name, field in fields.items()}


class QuietCollector:
    """Collects garbage when the node was idle between two runs, when the process has grown, or after a long time."""

    def __init__(
        self,
        activity: Callable[[], object],
        now: Callable[[], float] = time.monotonic,
        held: Callable[[], int] = lambda: resident_bytes()["own"],
        tidy: Callable[[], None] = lambda: None,
    ) -> None:
        """``activity`` returns another value after any work; ``held`` returns the memory of the process in bytes.

        ``tidy`` drops what an idle node can do without; it is called before a collection in a quiet moment.
        """
        self._activity = activity
        self._now = now
        self._held = held
        self._tidy = tidy
        self._seen = self._collected_at = activity()
        """At the last look; and at the last collection, None if that was in the middle of work."""
        self._last = now()
        self._floor = held()
        """Memory of the process after the last collection, or less if it has shrunk since; bytes."""
        self._said = "none yet"

    def run(self) -> str:
        """Collect if it is time. Returns what the last collection found, for ``zvmd status``."""
        activity, now = self._activity(), self._now()
        quiet, self._seen = activity == self._seen, activity
        held = self._held()
        self._floor = min(self._floor, held)
        has_grown = held > self._floor + GROWTH_BYTES
        if has_grown or (quiet and activity != self._collected_at) or now - self._last >= PATIENCE_SECONDS:
            self._collected_at, self._last = activity if quiet else None, now
            if quiet:
                self._tidy()
            found = gc.collect()
            trim = _malloc("malloc_trim")
            if trim is not None:
                trim(0)
            self._floor = self._held()
            self._said = f"{found} objects in cycles"
        return self._said


def _malloc(name: str) -> Any:
    """A function of glibc's malloc, None elsewhere."""
    return getattr(ctypes.CDLL(None), name, None)
