"""Moves of a session in slices, so that a long one leaves the thread to others in between."""

from __future__ import annotations

from collections.abc import Callable, Generator

from debugger.commands import Command, Seek, Step, perform
from debugger.errors import SessionLimitReached, StepOutOfRange
from debugger.events import Event, Running, Stopped
from debugger.limits import REPLAY_STEPS, RUN_SLICE
from debugger.session import Session

Moves = Generator[None, None, list[Event]]
HUNT_STEPS = 50_000_000
"""Steps that stepping over or out goes at once; it may be asked again."""


def once(command: Command) -> Callable[[Session, Callable[[], bool]], Moves]:
    """A command that is done in one piece."""

    def work(session: Session, _: Callable[[], bool]) -> Moves:
        yield
        return perform(session, command)

    return work


def step(count: int) -> Callable[[Session, Callable[[], bool]], Moves]:
    """`Session.step`; a pause ends it early."""

    def work(session: Session, wants_pause: Callable[[], bool]) -> Moves:
        goal = min(session.step_index + count, REPLAY_STEPS)
        while goal - session.step_index > RUN_SLICE and session.timeline.outcome is None:
            if wants_pause():
                return session.run_slice()
            session.timeline.forward(RUN_SLICE)
            yield
        return perform(session, Step(max(0, goal - session.step_index)))

    return work


def seek(target: int) -> Callable[[Session, Callable[[], bool]], Moves]:
    """`Session.seek`."""

    def work(session: Session, _: Callable[[], bool]) -> Moves:
        if target > REPLAY_STEPS:
            raise SessionLimitReached(f"sessions stand at step {REPLAY_STEPS} at most")
        while target - session.step_index > RUN_SLICE:
            if session.timeline.outcome is not None:
                raise StepOutOfRange(f"the run ends at step {session.step_index}")
            session.timeline.forward(RUN_SLICE)
            yield
        return perform(session, Seek(target))

    return work


def run(limit: int | None) -> Callable[[Session, Callable[[], bool]], Moves]:
    """To a breakpoint, the end, a pause, or for ``limit`` steps."""

    def work(session: Session, wants_pause: Callable[[], bool]) -> Moves:
        session.is_running = False
        goal = REPLAY_STEPS if limit is None else min(session.step_index + limit, REPLAY_STEPS)
        if not session.toggle_run_pause():
            return session.run(0)
        while True:
            left = goal - session.step_index
            if left <= 0 or wants_pause():
                session.is_running = False
                return [Stopped(session.step_index, "limit" if left <= 0 else "paused")]
            events = session.run_slice(min(left, RUN_SLICE))
            if not isinstance(events[0], Running):
                return events
            yield

    return work
