"""Where a session stands, in the form every command is answered with and every event carries."""

from __future__ import annotations

from typing import Any

import msgspec

from debugger.changes import changes
from debugger.events import Event, Stopped
from debugger.session import Session
from debugger.state import State, StateQuery, Window

Json = dict[str, Any]

_NOTHING = Window(0, 0)
_BRIEF = StateQuery(None, *(_NOTHING,) * (len(StateQuery.__struct_fields__) - 1))


def plain(value: object) -> Any:
    """As JSON has it."""
    return msgspec.to_builtins(value, str_keys=True)


def where(session: Session, events: list[Event]) -> Json:
    """Where a session stands, why it stopped there, and what else a command did."""
    state = session.state(_BRIEF)
    stopped = next((event for event in events if isinstance(event, Stopped)), None)
    answer: Json = {
        "step": state.step,
        "pc": state.pc,
        "opcode": state.opcode,
        "gasLeft": state.gas_left,
        "depth": state.depth,
        "halt": plain(state.halt),
        "branch": session.branch,
    }
    if stopped is not None:
        answer |= {"reason": stopped.reason, "breakpoints": list(stopped.breakpoints)}
    return answer


def event_of(session: Session, before: State | None, answer: object) -> Json:
    """What watchers are told of a command that has been carried out: the position, what changed, what was answered."""
    is_move = isinstance(answer, dict) and "gasLeft" in answer
    event: Json = {"position": answer} if is_move else {"position": where(session, []), "result": answer}
    return event if before is None else event | {"changed": plain(changes(before, session.state()))}
