"""The Debug Adapter Protocol's requests: a table of what each takes, what it does and when it may come."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from enum import Enum
from typing import Any, NamedTuple

import msgspec

from node.dap import arguments as ask
from node.dap import breakpoints, edits, listing, moves, values
from node.dap.arguments import Refused
from node.dap.debuggee import Debuggee
from node.dap.moves import Interruption
from node.dap.protocol import CAPABILITIES
from zvmd.errors import ZvmdError
from zvmd.session_view import shown

Json = dict[str, Any]


class Then(NamedTuple):
    """A response's body, and events that come after it."""

    body: Json
    events: Callable[[Interruption], Iterable[Json]]
    is_move: bool = False
    """They may come much later: others are answered meanwhile."""


class While(Enum):
    """What happens to a request that comes while the program runs."""

    ANSWERED = "answered at once"
    INTERRUPTS = "the run is interrupted for it"
    ENDS = "the run is ended for it"
    WAITS = "it waits a moment for a stop, and is refused if none comes"


@dataclass(frozen=True)
class Request:
    """A row of the table."""

    arguments: type[ask.Arguments]
    handler: Callable[[Debuggee, Any], Json | Then]
    running: While = While.WAITS
    needs_session: bool = True


def initialize(it: Debuggee, arguments: ask.Initialize) -> Json:
    """What the editor can do, and what the adapter can."""
    it.initialize(arguments)
    return CAPABILITIES


def launch(it: Debuggee, arguments: ask.Launch) -> Then:
    """A session of its own of a program or a template, or a session that is there."""
    if it.session is not None:
        raise Refused("something is debugged already: disconnect or restart")
    _open(it, arguments)
    # codes are not met before the program begins: what the editor kept of another session is pending until then
    return Then({}, lambda _: [{"event": "initialized"}, *it.points.settle(it)])


def attach(it: Debuggee, arguments: ask.Launch) -> Then:
    """A session that is there, by number or share token."""
    if arguments.session is None:
        raise Refused("attach needs a session: its number or a share token")
    return launch(it, arguments)


def _open(it: Debuggee, arguments: ask.Launch) -> None:
    session = arguments.session
    if isinstance(session, str) and session.strip().isascii() and session.strip().isdecimal():
        session = int(session)
    if session is not None:
        it.ask("zvmd_session_timeline", session)  # is it there?
    elif arguments.template is not None:
        session = int(it.ask("zvmd_session_from_template", arguments.template)["id"])
    else:
        given = {name: getattr(arguments, name) for name in ask.PROGRAM}
        fields = {name: value for name, value in given.items() if value is not None}
        session = int(it.ask("zvmd_session_create", fields)["id"])
    it.open(session, arguments)


def configuration_done(it: Debuggee, _: ask.Arguments) -> Then:
    """The editor has set its breakpoints: the program begins."""
    return _begin(it)


def _begin(it: Debuggee) -> Then:
    assert it.launched is not None
    if it.launched.no_debug:
        return Then({}, lambda _: moves.run_to_the_end(it), is_move=True)
    runs = not it.launched.stop_on_entry
    return Then({}, lambda interruption: moves.begin(it, runs, interruption), is_move=True)


def threads(it: Debuggee, _: ask.Arguments) -> Json:
    """One, once there is a session."""
    return {"threads": [] if it.session is None else [{"id": listing.THREAD, "name": f"session {shown(it.session)}"}]}


def _move(name: str) -> Callable[[Debuggee, ask.Move], Then]:
    body: Json = {"allThreadsContinued": True} if name == "run" else {}

    def move(it: Debuggee, arguments: ask.Move) -> Then:
        listing.check_thread(arguments.thread_id)
        return Then(body, lambda interruption: moves.travel(it, name, interruption), is_move=True)

    return move


def restart(it: Debuggee, arguments: ask.Restart) -> Then:
    """Back to the start, without edits; breakpoints stay. With other arguments than before another program."""
    wanted = arguments.arguments
    assert it.launched is not None
    if wanted is not None and _program(wanted) != _program(it.launched):
        before, is_own = it.session, it.is_own
        it.points.leave(it)
        _open(it, wanted)
        if is_own:
            it.ask("zvmd_session_close", before)
        it.points.moved_to_another_session()
    else:
        it.relaunch(wanted or it.launched)
        it.call("reset")
    return _begin(it)


def _program(arguments: ask.Launch) -> ask.Launch:
    return msgspec.structs.replace(arguments, stop_on_entry=True, keep=False)


def restart_frame(it: Debuggee, arguments: ask.Frame) -> Then:
    """Back to where the frame began."""
    it.call("seek", listing.first_step_of_frame(it, arguments.frame_id))
    return Then({}, lambda _: [*moves.met(it), moves.stopped("restart")])


def goto(it: Debuggee, arguments: ask.Goto) -> Then:
    """Go on at another instruction, without executing those between: an edit, on a branch of its own."""
    listing.check_thread(arguments.thread_id)
    it.call("edit", {"kind": "pc", "value": listing.target_pc(it, arguments.target_id)})
    return Then({}, lambda _: [moves.stopped("goto")])


def exception_info(it: Debuggee, arguments: ask.Thread) -> Json:
    """What failed where it stopped."""
    listing.check_thread(arguments.thread_id)
    if it.exception is None:
        raise Refused("it did not stop at a failure")
    return {**it.exception, "breakMode": "always"}


def _edit(handler: Callable[[Debuggee, Any], Json]) -> Callable[[Debuggee, Any], Then]:
    def edit(it: Debuggee, arguments: Any) -> Then:
        body = handler(it, arguments)
        changed = [moves.event("invalidated", areas=["variables"])] if it.tells_invalidated else []
        return Then(body, lambda _: changed)

    return edit


def disconnect(it: Debuggee, arguments: ask.Disconnect) -> Then:
    """Leave. What was launched ends and what was attached to stays, unless the editor says otherwise."""
    it.disconnect(arguments.terminate_debuggee)
    return Then({}, lambda _: [{"event": "terminated"}])


def pause(it: Debuggee, arguments: ask.Thread) -> Json:
    """Ends a run in another thread, whose stopped event tells where."""
    listing.check_thread(arguments.thread_id)
    it.call("pause")
    return {}


REQUESTS: dict[str, Request] = {
    "initialize": Request(ask.Initialize, initialize, While.ANSWERED, needs_session=False),
    "launch": Request(ask.Launch, launch, needs_session=False),
    "attach": Request(ask.Launch, attach, needs_session=False),
    "configurationDone": Request(ask.Arguments, configuration_done),
    "threads": Request(ask.Arguments, threads, While.ANSWERED, needs_session=False),
    "source": Request(ask.SourceText, listing.source, While.ANSWERED),
    "restart": Request(ask.Restart, restart, While.ENDS),
    "restartFrame": Request(ask.Frame, restart_frame),
    "goto": Request(ask.Goto, goto),
    "exceptionInfo": Request(ask.Thread, exception_info),
    "disconnect": Request(ask.Disconnect, disconnect, While.ENDS, needs_session=False),
    **{command: Request(ask.Move, _move(name)) for command, name in moves.MOVES.items()},
    **{command: Request(*row) for command, row in listing.HANDLERS.items()},
    **{command: Request(*row) for command, row in values.HANDLERS.items()},
    **{command: Request(kind, _edit(handler)) for command, (kind, handler) in edits.HANDLERS.items()},
    **{command: Request(*row) for command, row in breakpoints.INFO.items()},
    **{
        command: Request(*row, While.INTERRUPTS, needs_session=False)
        for command, row in breakpoints.HANDLERS.items()
    },
}
AT_ONCE: dict[str, Request] = {
    "pause": Request(ask.Thread, pause, While.ANSWERED),
    "cancel": Request(ask.Cancel, lambda *_: {}, While.ANSWERED, needs_session=False),
}
"""Requests that overtake all others."""


class Told(Refused):
    """A refusal whose message is one the protocol defines: ``cancelled``, ``notStopped``."""

    def __init__(self, message: str, text: str) -> None:
        super().__init__(text)
        self.message = message


def check(it: Debuggee, row: Request | None, command: str) -> Request:
    """The row of a request, which may come now. Raises `Refused`."""
    if row is None:
        raise Refused(f"{command[:100] or 'a request without a command'} is not supported")
    if row.needs_session and it.session is None:
        raise Refused("nothing is debugged yet: launch or attach first")
    return row


def failed(error: BaseException) -> Json:
    """What a response says of an error."""
    is_told = isinstance(error, Refused | ZvmdError)
    told = str(error) if is_told else f"a fault in the adapter: {type(error).__name__}: {error}"
    details = {"id": 1, "format": "{text}", "variables": {"text": told}, "showUser": True}
    message = error.message if isinstance(error, Told) else told
    return {"success": False, "message": message, "body": {"error": details}}

