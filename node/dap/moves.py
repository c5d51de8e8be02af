"""An editor's moves of the session: to a stop, past log points and breakpoints with hit conditions."""

from __future__ import annotations

import re
import threading
from collections.abc import Iterator
from typing import Any

from node.dap.breakpoints import REASONS
from node.dap.debuggee import Debuggee
from node.dap.listing import THREAD, running_code
from node.dap.points import Point
from zvmd.errors import ZvmdError
from zvmd.printable import printable

Json = dict[str, Any]

MOVES = {
    "next": "step_over",
    "stepIn": "step",
    "stepOut": "step_out",
    "stepBack": "step_over_back",
    "continue": "run",
    "reverseContinue": "reverse_run",
}
"""``stepBack`` undoes ``next``: what a call did is undone with the call."""
BACKWARD = frozenset(("step_over_back", "reverse_run"))
_DEPTH_LOST = {"step_over": 0, "step_over_back": 0, "step_out": 1}
"""By how many frames the depth is lower where a move has ended."""
LOG_LINES_MAX = 10_000
"""Most lines of log points in one move, which then stops."""
_INSERT = re.compile(r"\{([^{}]*)\}")


def event(name: str, **body: Any) -> Json:
    """An event of the protocol."""
    return {"event": name, "body": body}


def stopped(reason: str, **more: Any) -> Json:
    """The event with the position where a move ended."""
    return event("stopped", reason=reason, threadId=THREAD, allThreadsStopped=True, **more)


def output(text: str, category: str = "console", **more: Any) -> Json:
    """A line for the user."""
    return event("output", category=category, output=printable(text, lines=True) + "\n", **more)


class MoveInterruption:
    """Lets other requests use the session during a move, which pauses for them and then continues."""

    def __init__(self) -> None:
        self._condition = threading.Condition()
        self._wanted = 0
        self._is_parked = False
        self.pause_wanted = False
        """Set when the user wants the move to stop."""

    def pause(self) -> None:
        """Make the move stop, because the user wants it."""
        self.pause_wanted = True

    @property
    def is_wanted(self) -> bool:
        """Whether a request waits for the session."""
        return self._wanted > 0

    def want(self, change: int) -> None:
        """Count one request more, or one fewer, that waits for the session."""
        with self._condition:
            self._wanted += change
            self._condition.notify_all()

    def park(self) -> None:
        """Release the session for the requests that wait for it."""
        with self._condition:
            self._is_parked = True
            self._condition.notify_all()
            self._condition.wait_for(lambda: not self._wanted)
            self._is_parked = False

    def wait_parked(self, seconds: float) -> bool:
        """Wait until the move has released the session; returns whether it has."""
        with self._condition:
            return self._condition.wait_for(lambda: self._is_parked, seconds)


def travel(it: Debuggee, name: str, interruption: MoveInterruption) -> Iterator[Json]:
    """Perform a move; yields its events, the last with the position where it ended."""
    it.stop_at(None)
    goal = it.state(None)["depth"] - _DEPTH_LOST.get(name, 0) if name in _DEPTH_LOST else None
    onward = {"step_over": "step_out", "step_over_back": "step_out_back"}.get(name, name)
    command, lines = name, 0
    while True:
        if interruption.is_wanted:
            interruption.park()
        answer = it.call(command)
        points, others = it.points.hit(answer.get("breakpoints", ()))
        yield from met(it)
        if answer.get("reason") == "breakpoint":
            is_stop = others
            for point in points:
                wants_stop = point.is_met()
                if wants_stop and point.asked.log:
                    lines += 1
                    yield _log_line(it, point)
                else:
                    is_stop |= wants_stop
            if is_stop or lines >= LOG_LINES_MAX:
                yield _at_breakpoint(it, answer, points, others)
                return
        elif answer.get("reason") != "paused" or interruption.pause_wanted or not interruption.is_wanted:
            yield from ended(it, answer, is_forward=name not in BACKWARD)
            return
        if interruption.pause_wanted or (goal is not None and answer["depth"] <= goal):
            yield stopped("pause" if interruption.pause_wanted else "step")
            return
        command = onward


def met(it: Debuggee) -> list[Json]:
    """Register the codes of the frames; yields the events of pending breakpoints that can be set now."""
    known = len(it.codes)
    if not it.frames():
        it.code_at_the_end()
    sources = [event("loadedSource", reason="new", source=code.source) for code in it.codes[known:]]
    return [*sources, *it.points.settle(it)]


def _at_breakpoint(it: Debuggee, answer: Json, points: list[Point], others: bool) -> Json:
    ids = [point.id for point in points if not point.asked.log]
    reason = next((REASONS[point.group.partition(" ")[0]] for point in points if not point.asked.log), "breakpoint")
    if reason == "exception":
        text = f"{answer['opcode']} at pc {answer['pc']} fails"
        it.stop_at({"exceptionId": "failure", "description": text})
        return stopped(reason, hitBreakpointIds=ids, description=text, text=text)
    more = {"description": "a breakpoint set by somebody else"} if others and not ids else {}
    return stopped(reason, hitBreakpointIds=ids, **more)


def ended(it: Debuggee, answer: Json, is_forward: bool) -> list[Json]:
    """The stopped event of a move that no breakpoint ended."""
    halt = answer["halt"]
    if halt is None or not is_forward:
        return [stopped("pause" if answer.get("reason") == "paused" else "step")]
    text = f"halted: {halt['reason']}" + (f" {halt['message']}" if halt.get("message") else "")
    if halt["success"]:
        return [output(text), stopped("pause", description=text)]
    it.stop_at({"exceptionId": halt["reason"], "description": halt.get("message") or text})
    return [output(text), stopped("exception", description=text, text=text)]


def _log_line(it: Debuggee, point: Point) -> Json:
    text = _INSERT.sub(lambda found: _inserted(it, found[1]), point.asked.log)
    code = running_code(it)
    pc = point.pc_in(code)
    where: Json = {} if pc is None else {"source": code.source, "line": it.line_out(code.row_of(pc))}
    return output(text, **where)


def _inserted(it: Debuggee, expression: str) -> str:
    try:
        value = it.call("evaluate", expression)
    except ZvmdError as error:
        return "{" + f"{expression}: {error.message}" + "}"
    return "{no value}" if value is None else value["bytes"] if isinstance(value, dict) else str(value)


def run_to_the_end(it: Debuggee) -> Iterator[Json]:
    """A run without debugging: past all breakpoints."""
    while (answer := it.call("run"))["halt"] is None and answer["reason"] == "breakpoint":
        pass
    if answer["halt"] is None:
        yield output(f"ended by {answer['reason']}")
    else:
        yield from (found for found in ended(it, answer, is_forward=True) if found["event"] == "output")
    yield event("exited", exitCode=0 if answer["halt"] and answer["halt"]["success"] else 1)
    yield event("terminated")


def at_entry(it: Debuggee) -> Json | None:
    """The stopped event of a run that begins at a breakpoint of the editor: a move never stops where it begins."""
    holding = [point["id"] for point in it.call("breakpoint_list") if point["holds"]]
    points, _ = it.points.hit(holding)
    stops = [point for point in points if point.is_met() and not point.asked.log]
    if not stops:
        return None
    return stopped(REASONS[stops[0].group.partition(" ")[0]], hitBreakpointIds=[point.id for point in stops])


def begin(it: Debuggee, runs: bool, interruption: MoveInterruption) -> Iterator[Json]:
    """Stop at the start of a program, or run it."""
    yield from met(it)
    at_once = at_entry(it) if runs else stopped("entry")
    if at_once is not None:
        yield at_once
    else:
        yield from travel(it, "run", interruption)

