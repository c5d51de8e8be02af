"""The table of the Debug Adapter Protocol's requests: arguments, handler, and when each is allowed."""

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
from node.dap.moves import MoveInterruption
from node.dap.protocol import CAPABILITIES
from zvmd.errors import ZvmdError
from zvmd.session_view import shown

Json = dict[str, Any]


class Reply(NamedTuple):
    """A response's body, and the events after it."""

    body: Json
    events: Callable[[MoveInterruption], Iterable[Json]]
    is_move: bool = False
    """The events may come much later: other requests are answered meanwhile."""


class While(Enum):
    """What happens to a request that arrives while the program runs."""

    ANSWERED = "answered at once"
    INTERRUPTS = "the run is interrupted for it"
    ENDS = "the run is ended for it"
    WAITS = "it waits a moment for a stop, and is refused if none comes"


@dataclass(frozen=True)
class RequestRow:
    """A row of the table."""

    arguments: type[ask.Arguments]
    handler: Callable[[Debuggee, Any], Json | Reply]
    running: While = While.WAITS
    needs_session: bool = True


def initialize(it: Debuggee, arguments: ask.Initialize) -> Json:
    """Exchange the capabilities of editor and adapter."""
    it.initialize(arguments)
    return CAPABILITIES


def launch(it: Debuggee, arguments: ask.Launch) -> Reply:
    """Start a new session with a program or a template, or an existing session."""
    if it.session is not None:
        raise Refused("a session is being debugged: disconnect or restart")
    _open(it, arguments)
    # no code has run yet: breakpoints the editor kept from another session are pending until it does
    return Reply({}, lambda _: [{"event": "initialized"}, *it.points.settle(it)])


def attach(it: Debuggee, arguments: ask.Launch) -> Reply:
    """Attach to an existing session, by number or share token."""
    if arguments.session is None:
        raise Refused("attach needs a session's number or a share token")
    return launch(it, arguments)


def _open(it: Debuggee, arguments: ask.Launch) -> None:
    session = arguments.session
    if isinstance(session, str) and session.strip().isascii() and session.strip().isdecimal():
        session = int(session)
    if session is not None:
        it.ask("zvmd_session_timeline", session)  # raises if the session does not exist
    elif arguments.template is not None:
        session = int(it.ask("zvmd_session_from_template", arguments.template)["id"])
    else:
        given = {name: getattr(arguments, name) for name in ask.PROGRAM}
        fields = {name: value for name, value in given.items() if value is not None}
        session = int(it.ask("zvmd_session_create", fields)["id"])
    it.open(session, arguments)


def configuration_done(it: Debuggee, _: ask.Arguments) -> Reply:
    """The editor has set its breakpoints: start the program."""
    return _begin(it)


def _begin(it: Debuggee) -> Reply:
    assert it.launched is not None
    if it.launched.no_debug:
        return Reply({}, lambda _: moves.run_to_the_end(it), is_move=True)
    runs = not it.launched.stop_on_entry
    return Reply({}, lambda interruption: moves.begin(it, runs, interruption), is_move=True)


def threads(it: Debuggee, _: ask.Arguments) -> Json:
    """One thread, once there is a session."""
    return {"threads": [] if it.session is None else [{"id": listing.THREAD, "name": f"session {shown(it.session)}"}]}


def _move(name: str) -> Callable[[Debuggee, ask.Move], Reply]:
    body: Json = {"allThreadsContinued": True} if name == "run" else {}

    def move(it: Debuggee, arguments: ask.Move) -> Reply:
        listing.check_thread(arguments.thread_id)
        return Reply(body, lambda interruption: moves.travel(it, name, interruption), is_move=True)

    return move


def restart(it: Debuggee, arguments: ask.Restart) -> Reply:
    """Go back to the start, without edits; breakpoints stay. Changed arguments start another program."""
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


def restart_frame(it: Debuggee, arguments: ask.FrameArguments) -> Reply:
    """Go back to where the frame began."""
    it.call("seek", listing.first_step_of_frame(it, arguments.frame_id))
    return Reply({}, lambda _: [*moves.met(it), moves.stopped("restart")])


def goto(it: Debuggee, arguments: ask.Goto) -> Reply:
    """Continue at another instruction without executing those between: an edit, on a new branch."""
    listing.check_thread(arguments.thread_id)
    it.call("edit", {"kind": "pc", "value": listing.target_pc(it, arguments.target_id)})
    return Reply({}, lambda _: [moves.stopped("goto")])


def exception_info(it: Debuggee, arguments: ask.Thread) -> Json:
    """The failure at which the program stopped."""
    listing.check_thread(arguments.thread_id)
    if it.exception is None:
        raise Refused("the program did not stop at a failure")
    return {**it.exception, "breakMode": "always"}


def _edit(handler: Callable[[Debuggee, Any], Json]) -> Callable[[Debuggee, Any], Reply]:
    def edit(it: Debuggee, arguments: Any) -> Reply:
        body = handler(it, arguments)
        changed = [moves.event("invalidated", areas=["variables"])] if it.tells_invalidated else []
        return Reply(body, lambda _: changed)

    return edit


def disconnect(it: Debuggee, arguments: ask.Disconnect) -> Reply:
    """End debugging. A launched session is closed and an attached one kept, unless the editor asks otherwise."""
    it.disconnect(arguments.terminate_debuggee)
    return Reply({}, lambda _: [{"event": "terminated"}])


def pause(it: Debuggee, arguments: ask.Thread) -> Json:
    """End a run in another thread, whose stopped event gives the position."""
    listing.check_thread(arguments.thread_id)
    it.call("pause")
    return {}


REQUESTS: dict[str, RequestRow] = {
    "initialize": RequestRow(ask.Initialize, initialize, While.ANSWERED, needs_session=False),
    "launch": RequestRow(ask.Launch, launch, needs_session=False),
    "attach": RequestRow(ask.Launch, attach, needs_session=False),
    "configurationDone": RequestRow(ask.Arguments, configuration_done),
    "threads": RequestRow(ask.Arguments, threads, While.ANSWERED, needs_session=False),
    "source": RequestRow(ask.SourceText, listing.source, While.ANSWERED),
    "restart": RequestRow(ask.Restart, restart, While.ENDS),
    "restartFrame": RequestRow(ask.FrameArguments, restart_frame),
    "goto": RequestRow(ask.Goto, goto),
    "exceptionInfo": RequestRow(ask.Thread, exception_info),
    "disconnect": RequestRow(ask.Disconnect, disconnect, While.ENDS, needs_session=False),
    **{command: RequestRow(ask.Move, _move(name)) for command, name in moves.MOVES.items()},
    **{command: RequestRow(*row) for command, row in listing.HANDLERS.items()},
    **{command: RequestRow(*row) for command, row in values.HANDLERS.items()},
    **{command: RequestRow(kind, _edit(handler)) for command, (kind, handler) in edits.HANDLERS.items()},
    **{command: RequestRow(*row) for command, row in breakpoints.INFO.items()},
    **{
        command: RequestRow(*row, While.INTERRUPTS, needs_session=False)
        for command, row in breakpoints.HANDLERS.items()
    },
}
AT_ONCE: dict[str, RequestRow] = {
    "pause": RequestRow(ask.Thread, pause, While.ANSWERED),
    "cancel": RequestRow(ask.Cancel, lambda *_: {}, While.ANSWERED, needs_session=False),
}
"""Requests that overtake all others."""


class ProtocolRefusal(Refused):
    """A refusal with a ``message`` that the protocol defines: ``cancelled`` or ``notStopped``."""

    def __init__(self, message: str, text: str) -> None:
        super().__init__(text)
        self.message = message


def check(it: Debuggee, row: RequestRow | None, command: str) -> RequestRow:
    """The row of a request that is allowed now. Raises `Refused`."""
    if row is None:
        raise Refused(f"{command[:100] or 'a request without a command'} is not supported")
    if row.needs_session and it.session is None:
        raise Refused("there is no session yet: launch or attach first")
    return row


def failed(error: BaseException) -> Json:
    """The response for an error."""
    is_expected = isinstance(error, Refused | ZvmdError)
    text = str(error) if is_expected else f"a bug in the adapter: {type(error).__name__}: {error}"
    details = {"id": 1, "format": "{text}", "variables": {"text": text}, "showUser": True}
    message = error.message if isinstance(error, ProtocolRefusal) else text
    return {"success": False, "message": message, "body": {"error": details}}

