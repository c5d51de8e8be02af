"""Keeps the process small: full garbage collections in quiet moments and after growth, freed memory given back."""

from __future__ import annotations

import ctypes
import gc
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

PATIENCE_SECONDS: Final = 1_800.0
"""Under load that never pauses, a collection comes after this all the same; it stops every thread for a moment."""
GROWTH_BYTES: Final = 16 * 2**20
"""A process that holds so much more than after the last collection does not wait for a pause."""
ARENAS_MAX: Final = 2
"""Malloc otherwise makes up to eight arenas a core, and what threads free in one is of no use to the others."""
_M_ARENA_MAX = -8


def limit_arenas() -> None:
    """Let malloc share few arenas between all threads, where it is glibc's. Before threads are started."""
    mallopt = _malloc("mallopt")
    if mallopt is not None:
        mallopt(_M_ARENA_MAX, ARENAS_MAX)


def resident_bytes() -> dict[str, int]:
    """What the process holds in memory: its own, and pages of files, which the system takes back when it needs room."""
    status = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    fields = {"own": "RssAnon", "files": "RssFile"}
    return {name: int(status.get(field, "0 kB").split()[0]) * 1024 for name, field in fields.items()}


class QuietCollector:
    """Collects garbage when nothing has happened between two looks, when the process has grown, or after long."""

    def __init__(
        self,
        activity: Callable[[], object],
        now: Callable[[], float] = time.monotonic,
        held: Callable[[], int] = lambda: resident_bytes()["own"],
    ) -> None:
        """``activity`` is something else after any work; ``held`` is the memory of the process, bytes."""
        self._activity = activity
        self._now = now
        self._held = held
        self._seen = self._collected_at = activity()
        self._last = now()
        self._floor = held()
        """What the process held after the last collection, or less if it has shrunk since."""
        self._said = "none yet"

    def run(self) -> str:
        """Look; collect if it is time. Says what the last collection found."""
        activity, now = self._activity(), self._now()
        quiet, self._seen = activity == self._seen, activity
        held = self._held()
        self._floor = min(self._floor, held)
        has_grown = held > self._floor + GROWTH_BYTES
        if has_grown or (quiet and activity != self._collected_at) or now - self._last >= PATIENCE_SECONDS:
            self._collected_at, self._last = activity, now
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
