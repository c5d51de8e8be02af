"""Long moves along a timeline as generators: others may work after every ``yield``, and a pause ends them early.

Each returns why it ended and the breakpoints that hold there. A move that was paused stops where it got to: forwards at
the last step executed, backwards before a stretch that has been searched without a find.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from typing import NamedTuple, TypeVar

from debugger.breakpoints import Condition, watch_for
from debugger.errors import InvalidProgram, StepOutOfRange
from debugger.hunt import Hunt, hits_at_start
from debugger.limits import RUN_SLICE, RUN_SLICE_CHECKED
from debugger.timeline import Timeline
from vm.evm.watch import Watch

T = TypeVar("T")
WantsPause = Callable[[], bool]


class Reached(NamedTuple):
    """How a move ended: step, breakpoint, limit, paused, halt, or start (backwards)."""

    reason: str
    breakpoints: tuple[int, ...] = ()


Slices = Generator[None, None, Reached]


def finish(slices: Generator[None, None, T]) -> T:
    """Carry something out in one piece."""
    while True:
        try:
            next(slices)
        except StopIteration as end:
            result: T = end.value
            return result


def end_slices(timeline: Timeline, limit: int) -> Generator[None, None, bool]:
    """Run to the end past all breakpoints, ``limit`` steps at most; whether the end is reached."""
    while timeline.outcome is None and timeline.step < limit:
        timeline.forward(min(RUN_SLICE, limit - timeline.step))
        yield
    return timeline.outcome is not None


def _count(count: int) -> int:
    if count < 0:
        raise InvalidProgram(f"a number of steps is not negative: {count}")
    return count


def seek_slices(timeline: Timeline, step: int, wants_pause: WantsPause) -> Slices:
    """Move to a step. Raises `StepOutOfRange`, without moving, if the run is shorter."""
    before = timeline.step
    while step - timeline.step > RUN_SLICE:
        if wants_pause():
            return Reached("paused")
        timeline.forward(RUN_SLICE)
        end = timeline.step
        if timeline.outcome is not None and end < step:
            timeline.seek(before)
            raise StepOutOfRange(f"the run ends at step {end}")
        yield
    timeline.seek(step)
    return Reached("seek")


def step_slices(timeline: Timeline, count: int, wants_pause: WantsPause) -> Slices:
    """Execute operations past all breakpoints, fewer if the run ends."""
    goal = timeline.step + _count(count)
    while goal - timeline.step > RUN_SLICE and timeline.outcome is None:
        if wants_pause():
            return Reached("paused")
        timeline.forward(RUN_SLICE)
        yield
    timeline.forward(goal - timeline.step)
    return Reached("step")


def run_slices(
    timeline: Timeline,
    conditions: Sequence[Condition],
    limit: int | None,
    until_depth: int | None,
    wants_pause: WantsPause,
) -> Slices:
    """Run to a breakpoint, the end, a pause, ``limit`` steps on, or to where an ended call leaves so many frames."""
    goal = None if limit is None else timeline.step + _count(limit)
    hunt = Hunt(timeline, conditions, until_depth)
    size = RUN_SLICE_CHECKED if hunt.looks_at_every_step else RUN_SLICE
    while timeline.outcome is None:
        left = size if goal is None else min(size, goal - timeline.step)
        if left <= 0:
            return Reached("limit")
        hits = hunt.forward(left)
        if hits:
            if timeline.step != hits[0].step:
                timeline.seek(hits[0].step)
            return Reached("breakpoint", hits[0].ids)
        if hunt.is_back:
            return Reached("step")
        if timeline.outcome is None:
            if wants_pause():
                return Reached("paused")
            yield
    return Reached("halt")


def over_slices(
    timeline: Timeline, conditions: Sequence[Condition], limit: int | None, wants_pause: WantsPause
) -> Slices:
    """Execute an operation and all that it calls, unless a breakpoint comes first."""
    depth = len(timeline.execution.frames)
    reached = yield from run_slices(timeline, conditions, 1, depth, wants_pause)
    # Native stepping notices a depth that is reached, not one that was never left.
    is_inside = timeline.outcome is None and len(timeline.execution.frames) > depth
    if is_inside and reached.reason != "breakpoint":
        reached = yield from run_slices(timeline, conditions, limit, depth, wants_pause)
    return reached


def out_slices(
    timeline: Timeline, conditions: Sequence[Condition], limit: int | None, wants_pause: WantsPause
) -> Slices:
    """Run until the caller of this frame goes on, unless a breakpoint comes first."""
    return run_slices(timeline, conditions, limit, len(timeline.execution.frames) - 1, wants_pause)


def over_back_slices(timeline: Timeline, conditions: Sequence[Condition], wants_pause: WantsPause) -> Slices:
    """Undo an operation and all that it called, unless a breakpoint comes first."""
    return reverse_slices(timeline, conditions, wants_pause, max(1, len(timeline.execution.frames)))


def out_back_slices(timeline: Timeline, conditions: Sequence[Condition], wants_pause: WantsPause) -> Slices:
    """Return to the operation that called this frame, unless a breakpoint comes first; from the outermost to 0."""
    return reverse_slices(timeline, conditions, wants_pause, max(0, len(timeline.execution.frames) - 1) or None)


def reverse_slices(
    timeline: Timeline, conditions: Sequence[Condition], wants_pause: WantsPause, depth: int | None = None
) -> Slices:
    """Run backwards to the last breakpoint before this position, or to the start.

    With ``depth`` also to the last position with at most so many frames. The stretches between keyframes are searched
    one after the other, the latest first.
    """
    here = end = timeline.step
    watch = watch_for(conditions, timeline.execution.fork)
    while end > 0:
        start = timeline.rewind_to_keyframe(end)
        found = yield from _last_in_stretch(timeline, conditions, watch, (start, end, here), depth)
        if found is not None:
            step, ids = found
            timeline.seek(step)
            return Reached("breakpoint", ids) if ids else Reached("step")
        end = start
        if 0 < end < here - 1 and wants_pause():
            timeline.seek(end + 1)  # the stretch's first position has not been looked at: it is the next one's last
            return Reached("paused")
    timeline.seek(0)
    return Reached("start")


_Found = tuple[int, tuple[int, ...]]


def _last_in_stretch(
    timeline: Timeline, conditions: Sequence[Condition], watch: Watch, steps: tuple[int, int, int], depth: int | None
) -> Generator[None, None, _Found | None]:
    """The last hit between a keyframe, where the timeline is, and a step; earlier than another step."""
    start, end, here = steps
    last: _Found | None = None
    if start == 0 and (ids := hits_at_start(timeline, conditions)):
        last = 0, ids
    if depth is not None and not conditions:
        shallow = yield from _last_at_depth(timeline, end, depth)
        return None if shallow is None else (shallow, ())
    hunt = Hunt(timeline, conditions, includes_start=True, watch=watch)
    size = RUN_SLICE_CHECKED if hunt.looks_at_every_step else RUN_SLICE
    while timeline.step < end and timeline.outcome is None:
        for hit in hunt.forward(min(size, end - timeline.step)):
            if hit.step < here and (last is None or hit.step >= last[0]):
                last = hit.step, hit.ids
        yield
    if depth is None:
        return last
    timeline.seek(start)
    shallow = yield from _last_at_depth(timeline, end, depth)
    return last if shallow is None or (last is not None and last[0] >= shallow) else (shallow, ())


def _last_at_depth(timeline: Timeline, end: int, depth: int) -> Generator[None, None, int | None]:
    """The last step before ``end`` with at most ``depth`` frames, from the timeline's position."""
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
