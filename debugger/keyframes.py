"""Snapshots along a timeline within a limit of bytes: dense near the cursor, sparse far from it."""

from __future__ import annotations

from bisect import bisect_left, bisect_right, insort

from debugger.limits import KEYFRAME_BYTES
from vm.evm.snapshot import ExecutionSnapshot


class Keyframes:
    """Snapshots by step. Memory that snapshots share is counted once."""

    def __init__(self, cap: int = KEYFRAME_BYTES) -> None:
        """``cap`` in bytes; the first snapshot stays whatever its size."""
        self.cap = cap
        self.bytes = 0
        self._steps: list[int] = []
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

    def at_or_before(self, step: int) -> ExecutionSnapshot:
        """The nearest snapshot that is not later."""
        return self._snapshots[self._steps[bisect_right(self._steps, step) - 1]]

    def add(self, snapshot: ExecutionSnapshot) -> None:
        """Add a snapshot, dropping others if there are too many bytes."""
        step = snapshot.steps
        if step in self._snapshots:
            self._drop(step)
        insort(self._steps, step)
        self._snapshots[step] = snapshot
        for piece, size in snapshot.pieces():
            uses, _ = self._pieces.get(piece, (0, size))
            if not uses:
                self.bytes += size
            self._pieces[piece] = (uses + 1, size)
        self._thin(step)

    def drop_from(self, step: int) -> None:
        """Drop all snapshots at the step or later."""
        for late in self._steps[bisect_left(self._steps, step) :]:
            self._drop(late)

    def _drop(self, step: int) -> None:
        self._steps.remove(step)
        for piece, size in self._snapshots.pop(step).pieces():
            uses, _ = self._pieces[piece]
            if uses == 1:
                del self._pieces[piece]
                self.bytes -= size
            else:
                self._pieces[piece] = (uses - 1, size)

    def _thin(self, cursor: int) -> None:
        """Drop the least useful snapshots: those with a small gap between their neighbours, far from the cursor.

        A quarter of the bytes goes at once, never two neighbours in one round, so that it costs little per step.
        """
        goal = self.cap if self.bytes <= self.cap else self.cap - self.cap // 4
        while self.bytes > goal and len(self._steps) > 2:
            gaps = {step: self._gap(step) / (1 + abs(cursor - step)) for step in self._steps[1::2] if step != cursor}
            if not gaps:
                gaps = {step: 0.0 for step in self._steps[1:] if step != cursor}
            for step in sorted(gaps, key=gaps.__getitem__):
                if self.bytes <= goal:
                    break
                self._drop(step)

    def _gap(self, step: int) -> int:
        at = bisect_left(self._steps, step)
        after = self._steps[at + 1] if at + 1 < len(self._steps) else step
        return after - self._steps[at - 1]
