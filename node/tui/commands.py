"""The table of keys and their commands to the session, each of which returns a line of text."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

import msgspec

from node.tui.listings import is_in, letter_of
from node.tui.view import View
from node.tui.wishes import Unreadable, edit_of, point_of, step_of
from zvmd.async_session import AsyncSession
from zvmd.results import Position

Command = Callable[[AsyncSession, View, str], Awaitable[str]]
"""Takes the source, the view and the typed text; returns the text for the status line."""


Move = Callable[[AsyncSession], Awaitable[Position]]


def _stopped(position: Position) -> str:
    points = "".join(f" {number}" for number in position.breakpoints)
    return f"({position.reason}{points})" if position.reason not in (None, "step", "seek") else ""


def _count(text: str) -> int:
    return int(text or "1")


async def forward(session: AsyncSession, _: View, text: str) -> str:
    return _stopped(await session.step(_count(text)))


async def back(session: AsyncSession, _: View, text: str) -> str:
    return _stopped(await session.step_back(_count(text)))


def _repeated(move: Move) -> Command:
    async def command(session: AsyncSession, view: View, text: str) -> str:  # noqa: ARG001
        stopped = ""
        for _ in range(_count(text)):
            stopped = _stopped(await move(session))
        return stopped

    return command


async def start(session: AsyncSession, _: View, text: str) -> str:  # noqa: ARG001
    return _stopped(await session.seek(0))


async def end(session: AsyncSession, view: View, text: str) -> str:  # noqa: ARG001
    if view.length is None:
        raise Unreadable("the end is not known yet: r runs, Esc pauses")
    return _stopped(await session.seek(view.length))


async def _search(session: AsyncSession, opcodes: tuple[str, ...], move: Move) -> str:
    """Run to the next of some operations or to a breakpoint, whichever is first."""
    added = [await session.add_breakpoint("opcode", opcode=name, name="jump key") for name in opcodes]
    try:
        position = await move(session)
    finally:
        for number in added:
            await session.remove_breakpoint(number)
    others = tuple(number for number in position.breakpoints if number not in added)
    is_found = position.reason == "breakpoint" and not others
    return "" if is_found else _stopped(msgspec.structs.replace(position, breakpoints=others))


async def next_destination(session: AsyncSession, _: View, text: str) -> str:  # noqa: ARG001
    return await _search(session, ("JUMPDEST",), AsyncSession.run)


async def previous_jump(session: AsyncSession, _: View, text: str) -> str:  # noqa: ARG001
    return await _search(session, ("JUMP", "JUMPI"), AsyncSession.reverse_run)


def _call_steps(view: View) -> list[int]:
    if view.tree is None:
        raise Unreadable("the run is still being followed")
    return [node["firstStep"] - 1 for node in view.tree["nodes"] if node["parent"] is not None]


async def next_call(session: AsyncSession, view: View, text: str) -> str:  # noqa: ARG001
    later = [step for step in _call_steps(view) if step > view.step]
    if not later:
        raise Unreadable("no later call")
    return _stopped(await session.seek(min(later)))


async def previous_call(session: AsyncSession, view: View, text: str) -> str:  # noqa: ARG001
    earlier = [step for step in _call_steps(view) if step < view.step]
    if not earlier:
        raise Unreadable("no earlier call")
    return _stopped(await session.seek(max(earlier)))


async def seek(session: AsyncSession, view: View, text: str) -> str:
    return _stopped(await session.seek(step_of(text, view.step)))


async def toggle_breakpoint(session: AsyncSession, view: View, text: str) -> str:  # noqa: ARG001
    """Toggle a breakpoint at the shown frame's pc, in its code only: other codes have the same pc."""
    state, frames = view.state, view.state["callFrames"]
    pc, frame = state["pc"], frames[state["depth"] - 1] if frames else None
    same = [point for point in view.breakpoints if point.get("pc") == pc]
    there = [point["id"] for point in same if frame is None or is_in(point, frame)]
    for number in there:
        await session.remove_breakpoint(number)
    if there:
        return f"breakpoint {there[0]} removed"
    where = {}
    if frame is not None:
        is_init = frame["kind"].startswith("create")
        where = {"address": frame["codeAddress"], "code": frame["codeHash"], "init": is_init}
    return f"breakpoint {await session.add_breakpoint('pc', pc=pc, **where)}"


async def add_breakpoint(session: AsyncSession, _: View, text: str) -> str:
    return f"breakpoint {(await session.call('breakpoint_add', point_of(text)))['id']}"


async def add_expression(session: AsyncSession, _: View, text: str) -> str:
    return f"breakpoint {await session.add_breakpoint('expression', expression=text)}"


def _point(view: View, letter: str) -> int:
    for at, point in enumerate(view.breakpoints):
        if letter.strip() in (letter_of(at), str(point["id"])):
            return int(point["id"])
    raise Unreadable(f"no breakpoint {letter.strip()!r}")


async def remove_breakpoint(session: AsyncSession, view: View, text: str) -> str:
    number = _point(view, text)
    await session.remove_breakpoint(number)
    return f"breakpoint {number} removed"


async def to_breakpoint(session: AsyncSession, view: View, text: str) -> str:
    number = _point(view, text)
    while True:
        position = await session.run()
        if position.reason != "breakpoint" or number in position.breakpoints:
            return _stopped(position)


async def edit(session: AsyncSession, _: View, text: str) -> str:
    wanted = edit_of(text)
    return f"on branch {(await session.edit(wanted.pop('kind'), **wanted)).branch}"


async def checkout(session: AsyncSession, _: View, text: str) -> str:
    if not text.strip().isdecimal():
        ids = [str(branch["id"]) for branch in await session.call("branches")]
        raise Unreadable(f"there are branches {', '.join(ids)}")
    return f"on branch {(await session.call('checkout', int(text)))['branch']}"


async def evaluate(session: AsyncSession, view: View, text: str) -> str:
    value = await session.evaluate(text, view.options.frame)
    if isinstance(value, bytes):
        return f"{text} = 0x{value.hex()} ({len(value)} bytes)"
    return f"{text} has no value here" if value is None else f"{text} = {value:#x} ({value})"


async def save(session: AsyncSession, _: View, text: str) -> str:
    return f"saved as session {(await session.save(text or None)).id}"


async def export(session: AsyncSession, _: View, text: str) -> str:
    if not text.strip():
        raise Unreadable("the name of a file")
    try:
        return f"{await session.export(text.strip())} bytes in {text.strip()}"
    except OSError as error:
        raise Unreadable(str(error)) from None


@dataclass(frozen=True)
class Key:
    """A key and its command; with a ``prompt``, the command gets the typed text."""

    keys: str
    """Textual's names of the key."""
    shown: str
    meaning: str
    command: Command | None = None
    prompt: str = ""
    action: str = ""
    """A method of the screen instead of a command."""


KEYS = (
    Key("j,n", "j n", "one operation forward; digits before it count, as with most keys", forward),
    Key("k,p", "k p", "one operation back", back),
    Key("o", "o", "over a call, forward", _repeated(AsyncSession.step_over)),
    Key("O", "O", "over a call, back", _repeated(AsyncSession.step_over_back)),
    Key("u", "u", "out of the call, forward", _repeated(AsyncSession.step_out)),
    Key("U", "U", "out of the call, back", _repeated(AsyncSession.step_out_back)),
    Key("r", "r", "run to a breakpoint or the end", _repeated(AsyncSession.run)),
    Key("R", "R", "run backwards to a breakpoint or the start", _repeated(AsyncSession.reverse_run)),
    Key("escape", "Esc", "pause a run; leave a prompt", action="pause"),
    Key("g", "g", "to the start", start),
    Key("G", "G", "to the end", end),
    Key("colon", ":", "seek a step: 120, +5, -5", seek, "step"),
    Key("c", "c", "to the call before", previous_call),
    Key("C", "C", "to the next call", next_call),
    Key("a", "a", "to the JUMP or JUMPI before", previous_jump),
    Key("s", "s", "to the next JUMPDEST", next_destination),
    Key("b", "b", "breakpoint at this pc of this code, or none", toggle_breakpoint),
    Key("B", "B", "breakpoint of any kind", add_breakpoint, "breakpoint: kind value"),
    Key("e", "e", "breakpoint where an expression holds", add_expression, "break where"),
    Key("d", "d", "remove a breakpoint", remove_breakpoint, "remove breakpoint"),
    Key("apostrophe", "' a-z", "run to the breakpoint with the letter", to_breakpoint, "'"),
    Key("w", "w", "edit stack, memory, storage ... on a branch", edit, "what if"),
    Key("v", "v", "go to a branch", checkout, "branch"),
    Key("equals_sign", "=", "value of an expression", evaluate, "value of"),
    Key("S", "S", "save a copy under a name", save, "save as"),
    Key("X", "X", "export to a file", export, "export to"),
    Key("left_square_bracket", "[", "look at the calling frame", action="outer"),
    Key("right_square_bracket", "]", "look at the called frame", action="inner"),
    Key("J", "J", "scroll the stack down", action="scroll('stack', 1)"),
    Key("K", "K", "scroll the stack up", action="scroll('stack', -1)"),
    Key("ctrl+j", "^j", "scroll the memory down", action="scroll('memory', 1)"),
    Key("ctrl+k", "^k", "scroll the memory up", action="scroll('memory', -1)"),
    Key("m", "m", "memory as text, too", action="toggle_text"),
    Key("t", "t", "mark what the operation takes from the stack", action="toggle_operands"),
    Key("tab", "Tab", "to the next pane: arrows, PgUp, PgDn, Home, End scroll it", action="next_pane"),
    Key("h,question_mark", "h ?", "these keys", action="keys"),
    Key("q", "q", "leave; the session stays", action="quit"),
)
"""All keys; those of ``forge debug`` mean what they mean there."""

LETTER_PROMPT = "'"
"""The prompt that a single letter answers."""

SUMMED = (forward, back)
"""Commands whose repetitions are merged into one with the sum of their counts."""
