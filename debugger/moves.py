"""Moves of a session, each a generator in slices: others may work after every ``yield``, and a pause ends it early.

    events = finish(step_back(session, 10_000))

A move returns its events, the first of them `Stopped`. A paused one ends where it has got to: forwards at the last
operation executed, backwards before a stretch that has been searched without a find, so that the same move goes on
from there. Stepping or seeking backwards has no such place: paused, it ends where it began. No move takes a session
beyond `REPLAY_STEPS`. Errors leave the session where it was.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from debugger.breakpoints import Condition, watch_for
from debugger.errors import InvalidProgram, SessionLimitReached, SessionNotFound, StepOutOfRange
from debugger.events import Event
from debugger.limits import REPLAY_STEPS, RUN_SLICE, RUN_SLICE_CHECKED
from debugger.search import Search, hits_at_start
from debugger.session import Session
from debugger.slices import Slices, WantsPause, never
from debugger.timeline import Timeline
from vm.evm.watch import Watch

Move = Slices[list[Event]]


class _Reached(NamedTuple):
    """How a move ended: step, breakpoint, limit, paused, halt, or start (backwards)."""

    reason: str
    breakpoints: tuple[int, ...] = ()


# To a step


def step(session: Session, count: int = 1, wants_pause: WantsPause = never) -> Move:
    """Execute operations, entering calls and passing breakpoints; fewer if the run ends."""
    has_arrived = yield from session.timeline.advance(session.step_index + _bounded(session, count), wants_pause)
    return session.stopped("step" if has_arrived else "paused")


def step_back(session: Session, count: int = 1, wants_pause: WantsPause = never) -> Move:
    """Undo operations, as many as there are, passing breakpoints."""
    goal = max(0, session.step_index - _counted(count))
    has_arrived = yield from session.timeline.seeking(goal, wants_pause)
    return session.stopped("step" if has_arrived else "paused")


def seek(session: Session, step: int, wants_pause: WantsPause = never) -> Move:
    """Go to a step. Raises `StepOutOfRange` if the run is shorter, `SessionLimitReached`."""
    has_arrived = yield from session.timeline.seeking(_allowed(step), wants_pause)
    return session.stopped("seek" if has_arrived else "paused")


def checkout(session: Session, branch: int, step: int | None = None, wants_pause: WantsPause = never) -> Move:
    """Go to a branch, at a step or where it left its parent; paused, it is on the branch.

    Raises `SessionNotFound`, `StepOutOfRange`, `SessionLimitReached`.
    """
    if branch not in session.branches:
        raise SessionNotFound(f"no branch {branch}")
    goal = _allowed(session.branches[branch].step if step is None else step)
    before, position = session.branch, session.step_index
    session.switch(branch)
    try:
        yield from session.timeline.seeking(goal, wants_pause)
    except StepOutOfRange:
        session.switch(before)
        yield from session.timeline.seeking(position)
        raise
    return session.stopped("branch")


# To a breakpoint, or to another depth


def run(session: Session, limit: int | None = None, wants_pause: WantsPause = never) -> Move:
    """Run to a breakpoint or the end, or for ``limit`` operations."""
    return session.stopped(*(yield from _forward(session, limit, None, wants_pause)))


def step_over(session: Session, limit: int | None = None, wants_pause: WantsPause = never) -> Move:
    """Execute an operation and everything it calls, unless a breakpoint comes first."""
    timeline = session.timeline
    depth = len(timeline.execution.frames)
    reached = yield from _forward(session, 1, depth, wants_pause)
    # Native stepping notices a depth that is reached, not one that was never left.
    is_inside = timeline.outcome is None and len(timeline.execution.frames) > depth
    if is_inside and reached.reason != "breakpoint":
        reached = yield from _forward(session, limit, depth, wants_pause)
    return session.stopped(*reached)


def step_out(session: Session, limit: int | None = None, wants_pause: WantsPause = never) -> Move:
    """Run until this frame returns to its caller, unless a breakpoint comes first."""
    depth = len(session.timeline.execution.frames) - 1
    return session.stopped(*(yield from _forward(session, limit, depth, wants_pause)))


def reverse_run(session: Session, wants_pause: WantsPause = never) -> Move:
    """Run backwards to the last breakpoint before this position, or to the start."""
    return session.stopped(*(yield from _backward(session, None, wants_pause)))


def step_over_back(session: Session, wants_pause: WantsPause = never) -> Move:
    """Undo an operation and everything it called, unless a breakpoint comes first."""
    depth = max(1, len(session.timeline.execution.frames))
    return session.stopped(*(yield from _backward(session, depth, wants_pause)))


def step_out_back(session: Session, wants_pause: WantsPause = never) -> Move:
    """Return to the operation that called this frame, unless a breakpoint comes first; from the outermost to 0."""
    depth = max(0, len(session.timeline.execution.frames) - 1) or None
    return session.stopped(*(yield from _backward(session, depth, wants_pause)))


# Limits


def _counted(count: int) -> int:
    if count < 0:
        raise InvalidProgram(f"a number of steps is not negative: {count}")
    return count


def _bounded(session: Session, count: int | None) -> int:
    """How many operations a move may execute."""
    left = max(0, REPLAY_STEPS - session.step_index)
    return left if count is None else min(_counted(count), left)


def _allowed(step: int) -> int:
    if step > REPLAY_STEPS:
        raise SessionLimitReached(f"sessions go to step {REPLAY_STEPS} at most")
    return step


# Searching


def _forward(
    session: Session, limit: int | None, until_depth: int | None, wants_pause: WantsPause
) -> Slices[_Reached]:
    """Run to a breakpoint, the end, a pause, for ``limit`` operations, or until an ended call leaves so many frames."""
    timeline = session.timeline
    goal = timeline.step + _bounded(session, limit)
    search = Search(timeline, session.active(), until_depth)
    size = RUN_SLICE_CHECKED if search.looks_at_every_step else RUN_SLICE
    while timeline.outcome is None:
        left = min(size, goal - timeline.step)
        if left <= 0:
            return _Reached("limit")
        hits = search.forward(left)
        if hits:
            if timeline.step != hits[0].step:
                yield from timeline.seeking(hits[0].step)
            return _Reached("breakpoint", hits[0].ids)
        if search.is_back:
            return _Reached("step")
        if timeline.outcome is None:
            if wants_pause():
                return _Reached("paused")
            yield
    return _Reached("halt")


def _backward(session: Session, depth: int | None, wants_pause: WantsPause) -> Slices[_Reached]:
    """Run backwards to the last breakpoint before this position, or to the start.

    With ``depth`` also to the last position with at most so many frames. The stretches between keyframes are searched
    one after the other, the latest first.
    """
    timeline, conditions = session.timeline, session.active()
    here = end = timeline.step
    watch = watch_for(conditions, timeline.execution.fork)
    while end > 0:
        start = timeline.rewind_to_keyframe(end)
        found = yield from _last_in_stretch(timeline, conditions, watch, (start, end, here), depth)
        if found is not None:
            step, ids = found
            yield from timeline.seeking(step)
            return _Reached("breakpoint", ids) if ids else _Reached("step")
        end = start
        if 0 < end < here - 1 and wants_pause():
            # The stretch's first position has not been looked at: it is the next one's last.
            yield from timeline.seeking(end + 1)
            return _Reached("paused")
    timeline.seek(0)
    return _Reached("start")


_Found = tuple[int, tuple[int, ...]]


def _last_in_stretch(
    timeline: Timeline, conditions: Sequence[Condition], watch: Watch, steps: tuple[int, int, int], depth: int | None
) -> Slices[_Found | None]:
    """The last hit between a keyframe, where the timeline is, and a step, and earlier than another step."""
    start, end, here = steps
    last: _Found | None = None
    if start == 0 and (ids := hits_at_start(timeline, conditions)):
        last = 0, ids
    if depth is not None and not conditions:
        shallow = yield from _last_at_depth(timeline, end, depth)
        return None if shallow is None else (shallow, ())
    search = Search(timeline, conditions, includes_start=True, watch=watch)
    size = RUN_SLICE_CHECKED if search.looks_at_every_step else RUN_SLICE
    while timeline.step < end and timeline.outcome is None:
        for hit in search.forward(min(size, end - timeline.step)):
            if hit.step < here and (last is None or hit.step >= last[0]):
                last = hit.step, hit.ids
        yield
    if depth is None:
        return last
    yield from timeline.seeking(start)
    shallow = yield from _last_at_depth(timeline, end, depth)
    return last if shallow is None or (last is not None and last[0] >= shallow) else (shallow, ())


def _last_at_depth(timeline: Timeline, end: int, depth: int) -> Slices[int | None]:
    """The last step before ``end`` with at most ``depth`` frames, from where the timeline is."""
    last: int | None = None
    while timeline.step < end and timeline.outcome is None:
        is_shallow = len(timeline.execution.frames) <= depth
        # Deeper down only a return to the depth matters; at it, whatever leaves it is found one level deeper.
        watch = Watch(depths=(depth + 1,) if is_shallow else (depth,))
        watch.begin(timeline.execution)
        timeline.forward(min(RUN_SLICE, end - timeline.step), watch)
        if is_shallow:
            last = timeline.step - 1
        yield
    return last
