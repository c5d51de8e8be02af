"""A session's position in the form of every move's answer and every event."""

from __future__ import annotations

from typing import Any

import msgspec

from debugger.changes import changes
from debugger.events import Event, Stopped
from debugger.session import Session
from debugger.state import State

Json = dict[str, Any]


def plain(value: object) -> Any:
    """Convert to plain JSON types."""
    return msgspec.to_builtins(value, str_keys=True)


def summary(session: Session, events: list[Event]) -> Json:
    """Position, why the session stopped there, and the breakpoints that hold."""
    place = session.place()
    stopped = next((event for event in events if isinstance(event, Stopped)), None)
    answer: Json = {
        "step": session.step_index,
        "pc": place.pc,
        "opcode": place.opcode,
        "gasLeft": place.gas_left,
        "depth": place.depth,
        "halt": plain(session.halt()),
        "branch": session.branch,
    }
    if stopped is not None:
        answer |= {"reason": stopped.reason, "breakpoints": list(stopped.breakpoints)}
    return answer


def change_event(session: Session, before: State | None, answer: object) -> Json:
    """The event of a command: the position, what changed, and its answer.

    ``before`` is the state before it; None where nobody watches.
    """
    is_move = isinstance(answer, dict) and "gasLeft" in answer
    event: Json = {"position": answer} if is_move else {"position": summary(session, []), "result": answer}
    return event if before is None else event | {"changed": plain(changes(before, session.state()))}
