"""Moves of a session in the node: in slices, so that a long one leaves the thread to others, and bounded in all."""

from __future__ import annotations

from collections.abc import Callable

from msgspec.structs import replace

from debugger.commands import Checkout, Command, Run, Seek, Step, StepOut, StepOver, perform_sliced
from debugger.errors import SessionLimitReached
from debugger.limits import REPLAY_STEPS
from debugger.session import Moves, Session


def move(command: Command) -> Callable[[Session, Callable[[], bool]], Moves]:
    """The command as work for `SessionService.change`; no session goes beyond `REPLAY_STEPS`."""

    def work(session: Session, wants_pause: Callable[[], bool]) -> Moves:
        return (yield from perform_sliced(session, _bounded(command, session.step_index), wants_pause))

    return work


def _bounded(command: Command, here: int) -> Command:
    left = max(0, REPLAY_STEPS - here)
    if isinstance(command, Step):
        return replace(command, n=min(command.n, left))
    if isinstance(command, Run | StepOver | StepOut):
        return replace(command, limit=left if command.limit is None else min(command.limit, left))
    if isinstance(command, Seek | Checkout) and (command.step or 0) > REPLAY_STEPS:
        raise SessionLimitReached(f"sessions stand at step {REPLAY_STEPS} at most")
    return command
