"""Snapshots along a timeline within a limit of bytes: dense near the cursor, sparse far from it."""

from __future__ import annotations

from bisect import bisect_left, bisect_right, insort
from collections.abc import Iterable
from typing import NamedTuple

from debugger.limits import KEYFRAME_BYTES
from vm.evm.snapshot import ExecutionSnapshot
from vm.journal import Journal

NEIGHBOURS = 8
"""Keyframes before the nearest one that are looked at for one that is cheaper to return to."""
CHEAP_ENTRIES = 4_096
"""Journal entries restored in about the time of a replay from one keyframe to the next."""
CARRIERS = 2
"""Whole snapshots after a light one that are asked whether they lead to it."""


class WayBack(NamedTuple):
    """A snapshot and, if it is light, the whole one by way of which an execution returns to it."""

    snapshot: ExecutionSnapshot
    via: ExecutionSnapshot | None = None


class Keyframes:
    """Snapshots by step. Memory that snapshots share is counted once.

    What the journals hold takes three quarters of the bytes at most: beyond that snapshots become light ones, the
    newest last.
    """

    def __init__(self, cap: int = KEYFRAME_BYTES) -> None:
        """``cap`` in bytes; the first snapshot stays whatever its size."""
        self.cap = cap
        self.bytes = 0
        self._content_bytes = 0
        self._steps: list[int] = []
        self._whole: list[int] = []
        """Steps of the snapshots that have a journal's content."""
        self._snapshots: dict[int, ExecutionSnapshot] = {}
        self._pieces: dict[int, tuple[int, int]] = {}
        """Reference count and bytes of each shared object by identity; snapshots keep the objects alive."""

    def __len__(self) -> int:
        return len(self._steps)

    def __contains__(self, step: int) -> bool:
        return step in self._snapshots

    @property
    def steps(self) -> list[int]:
        """Steps of the snapshots, ascending."""
        return list(self._steps)

    def is_whole(self, step: int) -> bool:
        """Whether there is a snapshot with a journal's content at the step."""
        snapshot = self._snapshots.get(step)
        return snapshot is not None and snapshot.journal is not None

    def at_or_before(self, step: int) -> ExecutionSnapshot:
        """The nearest snapshot that is not later."""
        return self._snapshots[self._steps[bisect_right(self._steps, step) - 1]]

    def whole_at_or_before(self, step: int) -> ExecutionSnapshot:
        """The nearest with a journal's content that is not later."""
        return self._snapshots[self._whole[bisect_right(self._whole, step) - 1]]

    def after(self, step: int) -> int | None:
        """Step of the next snapshot that is later."""
        place = bisect_right(self._steps, step)
        return self._steps[place] if place < len(self._steps) else None

    def way_back(self, step: int, journal: Journal) -> WayBack:
        """How to return to the nearest possible snapshot that is not later, from where the journal is now.

        Undoing is preferred to restoring a journal of many entries, if that costs a few keyframes' replay.
        """
        nearest = bisect_right(self._steps, step) - 1
        found: WayBack | None = None
        restored, at = 0, 0
        for place in range(nearest, -1, -1):
            snapshot = self._snapshots[self._steps[place]]
            if snapshot.mark is not None and journal.is_after(snapshot.mark):
                if found is None or restored > CHEAP_ENTRIES * (at - place):
                    return WayBack(snapshot)
                return found
            if found is None:
                found = self._restorable(snapshot)
                if found is not None and (content := (found.via or snapshot).journal) is not None:
                    restored, at = content.entries(), place
            elif nearest - place >= NEIGHBOURS:
                return found
        assert found is not None, "the first snapshot is whole"
        return found

    def _restorable(self, snapshot: ExecutionSnapshot) -> WayBack | None:
        if snapshot.journal is not None:
            return WayBack(snapshot)
        first = bisect_left(self._whole, snapshot.steps)
        for later in map(self._snapshots.__getitem__, self._whole[first : first + CARRIERS]):
            if later.leads_to(snapshot):
                return WayBack(snapshot, later)
        return None

    def add(self, snapshot: ExecutionSnapshot) -> None:
        """Add a snapshot, dropping others if there are too many bytes."""
        step = snapshot.steps
        if step in self._snapshots:
            self._drop(step)
        insort(self._steps, step)
        self._snapshots[step] = snapshot
        self.bytes += self._hold(snapshot.frame_pieces())
        if snapshot.journal is not None:
            insort(self._whole, step)
            held = self._hold(snapshot.journal.pieces())
            self.bytes += held
            self._content_bytes += held
        self._thin(step)

    def drop_from(self, step: int) -> None:
        """Drop all snapshots at the step or later."""
        for late in self._steps[bisect_left(self._steps, step) :]:
            self._drop(late)

    def _hold(self, pieces: Iterable[tuple[int, int]]) -> int:
        """Count the pieces; bytes of those that nothing else holds."""
        held = 0
        for piece, size in pieces:
            uses, _ = self._pieces.get(piece, (0, size))
            if not uses:
                held += size
            self._pieces[piece] = (uses + 1, size)
        return held

    def _release(self, pieces: Iterable[tuple[int, int]]) -> int:
        released = 0
        for piece, size in pieces:
            uses, _ = self._pieces[piece]
            if uses == 1:
                del self._pieces[piece]
                released += size
            else:
                self._pieces[piece] = (uses - 1, size)
        return released

    def _drop(self, step: int) -> None:
        self._lighten(step)
        self._steps.remove(step)
        self.bytes -= self._release(self._snapshots.pop(step).frame_pieces())

    def _lighten(self, step: int) -> None:
        """Keep the snapshot without its journal's content."""
        snapshot = self._snapshots[step]
        if snapshot.journal is not None:
            self._whole.remove(step)
            released = self._release(snapshot.journal.pieces())
            self.bytes -= released
            self._content_bytes -= released
            self._snapshots[step] = snapshot._replace(journal=None)

    def _thin(self, cursor: int) -> None:
        """Drop the least useful snapshots: those with a small gap between their neighbours, far from the cursor.

        A quarter of the bytes goes at once, never two neighbours in one round, so that it costs little per step.
        """
        if self._content_bytes > self.cap - self.cap // 4:
            while self._content_bytes > self.cap // 2 and len(self._whole) > 1:
                for step in _least_useful(self._whole, cursor):
                    if self._content_bytes <= self.cap // 2:
                        break
                    self._lighten(step)
        room = max(self.cap - self._content_bytes, self.cap // 4)
        goal = room if self.bytes - self._content_bytes <= room else room - room // 4
        while self.bytes - self._content_bytes > goal and len(self._steps) > 2:
            for step in _least_useful(self._steps, cursor):
                if self.bytes - self._content_bytes <= goal:
                    break
                self._drop(step)


def _least_useful(steps: list[int], cursor: int) -> list[int]:
    """Steps that may go in one round, the least useful first; never the first, the cursor if no other is left."""
    gaps = {
        step: (after - before) / (1 + abs(cursor - step))
        for before, step, after in zip(steps[0::2], steps[1::2], [*steps[2::2], steps[-1]], strict=False)
        if step != cursor
    }
    return sorted(gaps, key=gaps.__getitem__) or [step for step in steps[1:] if step != cursor] or steps[1:]
