"""Searches a timeline for breakpoints, forwards and backwards, in native code where the conditions allow it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from debugger.breakpoints import Condition, watch_for
from debugger.position import Position
from debugger.timeline import Timeline
from vm.evm.watch import Watch


class Hit(NamedTuple):
    """Breakpoints that hold at a step."""

    step: int
    ids: tuple[int, ...]


class Search:
    """One search. The position where it begins is never a hit."""

    def __init__(
        self,
        timeline: Timeline,
        conditions: Sequence[Condition],
        until_depth: int | None = None,
        *,
        includes_start: bool = False,
        watch: Watch | None = None,
    ) -> None:
        """``until_depth``: stop also when an ended call leaves so many frames.

        ``includes_start``: a failure of the very first operation counts. ``watch``: that of an earlier search for the
        same conditions, which has marked the codes already.
        """
        self._first = timeline.step if includes_start else timeline.step + 1
        self._timeline = timeline
        self._conditions = conditions
        self._edges = {c.id: c for c in conditions if c.is_edge}
        self._until_depth = until_depth
        self._watch = watch or watch_for(conditions, timeline.execution.fork, until_depth)
        self._has_revert = self._watch.on_failure
        self._known: dict[int, bool] = {}
        self.is_back = False
        """Whether it stopped because of ``until_depth``."""
        self._known = self._edges_here()

    @property
    def looks_at_every_step(self) -> bool:
        """Whether Python has to check every step."""
        return bool(self._edges)

    def forward(self, limit: int) -> list[Hit]:
        """Continue for ``limit`` operations, or to the first hits: those of one position and of the one before.

        Empty if there are none, or the run ended, or `is_back`.
        """
        timeline = self._timeline
        goal = timeline.step + limit
        while timeline.step < goal and timeline.outcome is None and not self.is_back:
            self._watch.begin(timeline.execution)
            timeline.forward(1 if self._edges else goal - timeline.step, self._watch)
            hits = self._here()
            if hits or self.is_back:
                return hits
        return []

    def _here(self) -> list[Hit]:
        """Hits of this position, and of the one before if its operation failed."""
        timeline, hits = self._timeline, []
        outcome = timeline.outcome
        has_failed = self._watch.has_failed or (outcome is not None and not outcome.success)
        if self._has_revert and has_failed and timeline.step > self._first:
            hits.append(Hit(timeline.step - 1, self._ids("revert")))
        if outcome is not None:
            return hits
        position = Position(timeline.execution)
        gas, armed = position.gas, self._watch.armed
        ids = [
            c.id
            for c in self._conditions
            if (not c.is_edge and c.matches(position))
            or (c.gas is not None and armed[c.gas] and gas < c.gas and c.holds(position))
        ]
        if self._edges:
            before, self._known = self._known, self._edges_here()
            ids += [edge for edge, holds in self._known.items() if holds and not before[edge]]
        if ids:
            hits.append(Hit(timeline.step, tuple(sorted(ids))))
        elif self._until_depth is not None and position.depth <= self._until_depth:
            self.is_back = True
        return hits

    def _ids(self, kind: str) -> tuple[int, ...]:
        return tuple(sorted(c.id for c in self._conditions if c.kind == kind))

    def _edges_here(self) -> dict[int, bool]:
        if not self._edges or self._timeline.outcome is not None:
            return dict.fromkeys(self._edges, False)
        position = Position(self._timeline.execution)
        return {edge: condition.matches(position) for edge, condition in self._edges.items()}


def hits_at_start(timeline: Timeline, conditions: Sequence[Condition]) -> tuple[int, ...]:
    """Breakpoints that hold at step 0, where there is no step before."""
    if timeline.outcome is not None:
        return ()
    position = Position(timeline.execution)
    return tuple(
        sorted(
            c.id
            for c in conditions
            if c.matches(position) or (c.gas is not None and position.gas < c.gas and c.holds(position))
        )
    )
