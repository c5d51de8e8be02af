"""The Debug Adapter Protocol: a request in, its response and events out; the session lives in the node."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

from chain.errors import ZvmdError
from node.dap import listing, stops, values
from node.dap.debuggee import Debuggee, Refused
from node.dap.protocol import CAPABILITIES
from zvmd.errors import ZvmdClientError
from zvmd.printable import printable
from zvmd.session_view import shown

Json = dict[str, Any]

THREAD = 1
PROGRAM = frozenset(
    ("code", "to", "transaction", "fork", "caller", "value", "calldata", "gas", "block", "state", "create", "address")
)
"""Fields of a launch that are the session's program."""
MOVES = {
    "next": "step_over",
    "stepIn": "step",
    "stepOut": "step_out",
    "stepBack": "step_over_back",
    "continue": "run",
    "reverseContinue": "reverse_run",
}
"""``stepBack`` undoes ``next``: what a call did is undone with the call."""
FORWARD = frozenset(("step_over", "step", "step_out", "run"))


class Then(NamedTuple):
    """A response's body, and events that come after it, perhaps much later."""

    body: Json
    events: Callable[[], list[Json]]


def _event(name: str, **body: Any) -> Json:
    return {"event": name, "body": body}


def _stopped(reason: str, **more: Any) -> Json:
    return _event("stopped", reason=reason, threadId=THREAD, allThreadsStopped=True, **more)


def _moved(it: Debuggee, name: str) -> list[Json]:
    """Perform a move; the events that tell where it ended."""
    answer = it.call(name)
    halt, hit = answer["halt"], list(answer.get("breakpoints", ()))
    it.exception = None
    if halt is not None and name in FORWARD:
        text = f"halted: {halt['reason']}" + (f" {halt['message']}" if halt.get("message") else "")
        output = _event("output", category="console", output=printable(text, lines=True) + "\n")
        if halt["success"]:
            return [output, _stopped("pause", description=text)]
        it.exception = {"exceptionId": halt["reason"], "description": halt.get("message") or text}
        return [output, _stopped("exception", description=text, text=text)]
    if answer.get("reason") == "breakpoint":
        reason = stops.reason_of(it, hit)
        if reason == "exception":
            text = f"{answer['opcode']} at pc {answer['pc']} fails"
            it.exception = {"exceptionId": "failure", "description": text}
        return [_stopped(reason, hitBreakpointIds=hit)]
    return [_stopped("pause" if answer.get("reason") == "paused" else "step")]


def initialize(it: Debuggee, arguments: Json) -> Json:  # noqa: ARG001
    return CAPABILITIES


def launch(it: Debuggee, arguments: Json) -> Then:
    """A session of its own of a program or a template, or ``session``: number or share token of one that is there."""
    if "session" in arguments:
        it.session = arguments["session"]
        it.call("timeline")
    elif "template" in arguments:
        it.session = int(it.ask("zvmd_session_from_template", arguments["template"])["id"])
    else:
        fields = {name: value for name, value in arguments.items() if name in PROGRAM}
        it.session = int(it.ask("zvmd_session_create", fields)["id"])
    it.is_own = "session" not in arguments and not arguments.get("keep", False)
    it.runs_at_once = not arguments.get("stopOnEntry", True)
    return Then({}, lambda: [{"event": "initialized"}])


def configuration_done(it: Debuggee, arguments: Json) -> Then:  # noqa: ARG001
    return Then({}, lambda: _moved(it, "run") if it.runs_at_once else [_stopped("entry")])


def threads(it: Debuggee, arguments: Json) -> Json:  # noqa: ARG001
    return {"threads": [{"id": THREAD, "name": f"session {shown(it.session)}"}]}


def _move(name: str) -> Callable[[Debuggee, Json], Then]:
    body: Json = {"allThreadsContinued": True} if name == "run" else {}
    return lambda it, _: Then(body, lambda: _moved(it, name))


def restart(it: Debuggee, arguments: Json) -> Then:  # noqa: ARG001
    """Back to the start, without edits; breakpoints stay."""
    it.call("reset")
    return Then({}, lambda: [_stopped("entry")])


def restart_frame(it: Debuggee, arguments: Json) -> Then:
    """Back to where the frame began."""
    it.call("seek", listing.first_step_of_frame(it, int(arguments["frameId"])))
    return Then({}, lambda: [_stopped("restart")])


def goto(it: Debuggee, arguments: Json) -> Then:
    """Go on at another instruction, without executing those between: an edit, on a branch of its own."""
    it.call("edit", {"kind": "pc", "value": int(arguments["targetId"])})
    return Then({}, lambda: [_stopped("goto")])


def exception_info(it: Debuggee, arguments: Json) -> Json:  # noqa: ARG001
    if it.exception is None:
        raise Refused("it did not stop at a failure")
    return {**it.exception, "breakMode": "always"}


def pause(it: Debuggee, arguments: Json) -> Json:  # noqa: ARG001
    """Ends a run in another thread, whose stopped event tells where."""
    it.call("pause")
    return {}


def disconnect(it: Debuggee, arguments: Json) -> Then:
    """Leave; a session made here is closed if that is wanted."""
    if it.is_own and arguments.get("terminateDebuggee", False):
        it.call("close")
    it.is_over = True
    return Then({}, lambda: [{"event": "terminated"}])


Handler = Callable[[Debuggee, Json], Json | Then]
HANDLERS: dict[str, Handler] = {
    "initialize": initialize,
    "launch": launch,
    "attach": launch,
    "configurationDone": configuration_done,
    "threads": threads,
    "restart": restart,
    "restartFrame": restart_frame,
    "goto": goto,
    "exceptionInfo": exception_info,
    "pause": pause,
    "disconnect": disconnect,
    **{command: _move(name) for command, name in MOVES.items()},
    **listing.HANDLERS,
    **stops.HANDLERS,
    **values.HANDLERS,
}
AT_ONCE = frozenset(("pause",))
"""Requests that do not wait for those before them."""


def answer(it: Debuggee, request: Json) -> Iterator[Json]:
    """The response, and the events after it as they come; without their ``seq``."""
    command, arguments = str(request.get("command", "")), request.get("arguments") or {}
    response: Json = {"type": "response", "request_seq": request.get("seq", 0), "command": command}
    handler = HANDLERS.get(command)
    later: Callable[[], list[Json]] = list
    try:
        if handler is None:
            raise Refused(f"{command} is not supported")
        body = handler(it, arguments)
        if isinstance(body, Then):
            body, later = body
        yield response | {"success": True, "body": body}
    except FAILURES as error:
        yield response | _failed(error)
        return
    try:
        events = later()
    except FAILURES as error:
        text = _failed(error)["message"]
        output = printable(text, lines=True) + "\n"
        events = [_event("output", category="stderr", output=output), _stopped("pause", description=text)]
    yield from ({"type": "event", **event} for event in events)


FAILURES = (ZvmdError, ZvmdClientError, Refused, LookupError, ValueError, TypeError)
"""What a request may fail with: errors of the node and of what was asked."""


def _failed(error: BaseException) -> Json:
    hint = getattr(error, "hint", "")
    text = (f"{error.args[0]!r} is missing" if isinstance(error, KeyError) else str(error)) or type(error).__name__
    shown = f"{text} ({hint})" if hint else text
    return {
        "success": False,
        "message": shown,
        "body": {"error": {"id": 1, "format": "{text}", "variables": {"text": shown}, "showUser": True}},
    }


