"""The content of each pane as rows of styled text: pure functions of a view, called for the visible rows only."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from node.tui.view import PAGES, Json, View
from vm.evm.opcodes import BY_NAME
from zvmd.printable import printable
from zvmd.session_view import selector_bytes, shown

Row = list[tuple[str, str]]
"""Pieces of text, each with the name of its style: plain, dim, here, mark, good, bad."""

WORD_BYTES = 32
NOT_HERE = "…"
"""Shown for a row whose page is on its way."""


@dataclass(frozen=True)
class Listing:
    """The content of a pane."""

    title: str
    rows: int
    row: Callable[[int], Row | None]
    """Returns a row; None if its page is not loaded."""
    focus: int | None = None
    """The row to keep in sight."""
    page_of: Callable[[int], tuple[str, int]] | None = None
    """Returns field and page number of a row."""


def _lines(title: str, rows: list[Row], focus: int | None = None) -> Listing:
    return Listing(title, len(rows), rows.__getitem__, focus)


def code(view: View) -> Listing:
    """The frame's listing: ``▶`` at the pc, ``●`` at breakpoints on a pc."""
    assert view.code is not None
    frames, state, lines = view.state["callFrames"], view.state, view.code.lines
    index = len(frames) - 1 if view.options.frame is None else view.options.frame
    here = [point for point in view.breakpoints if frames and is_in(point, frames[index])]
    stops = {lines[point["line"] - 1].pc for point in here if 0 < point.get("line", 0) <= len(lines)}
    stops |= {point["pc"] for point in here if "pc" in point}
    width = max(4, len(f"{state['codeSize']:x}"))

    def row(number: int) -> Row:
        line = lines[number]
        is_here = line.pc == state["pc"]
        marks = ("▶" if is_here else " ") + ("●" if line.pc in stops else " ")
        return [(marks, "mark"), (f" {line.pc:0{width}x} ", "dim"), (line.text, "here" if is_here else "plain")]

    focus = view.code.row_of_pc.get(state["pc"])
    return Listing(f"code {state['codeSize']} bytes", len(lines), row, focus)


def is_in(point: Json, frame: Json) -> bool:
    """Whether a breakpoint on a code's pc is on this frame's code."""
    return (
        point["kind"] in ("pc", "line")
        and point.get("enabled", True)
        and point.get("address") in (None, frame["codeAddress"])
        and point.get("code") in (None, frame["codeHash"])
        and point.get("init") in (None, frame["kind"].startswith("create"))
    )


def stack(view: View) -> Listing:
    """Words, the top first; ``◂`` marks the next operation's operands."""
    words = view.state["stack"][::-1]
    opcode = BY_NAME.get(view.state["opcode"])
    taken = 0 if opcode is None or not view.options.marks_operands or view.state["halt"] else opcode.pops

    def row(number: int) -> Row:
        if number < taken:
            return [(f"{number:4}", "dim"), ("◂", "mark"), (words[number], "here")]
        return [(f"{number:4} ", "dim"), (words[number], "plain")]

    return Listing(f"stack {view.total('stack')}, top first", len(words), row)


def _bytes(name: str, title: str) -> Callable[[View], Listing]:
    rows_a_page = PAGES[name] // WORD_BYTES

    def listing(view: View) -> Listing:
        total = view.total(name)

        def row(number: int) -> Row | None:
            content = view.page(name, number // rows_a_page)
            if content is None:
                return None
            at = 2 + 2 * WORD_BYTES * (number % rows_a_page)
            digits = content[at : at + 2 * WORD_BYTES]
            pieces = [(f"{number * WORD_BYTES:05x} ", "dim"), (digits, "dim" if not digits.strip("0") else "plain")]
            return [*pieces, (" " + _text(digits), "good")] if view.options.shows_text else pieces

        rows = -(-total // WORD_BYTES)
        return Listing(f"{title} {total} bytes", rows, row, page_of=lambda number: (name, number // rows_a_page))

    return listing


def calldata(view: View) -> Listing:
    """The frame's calldata: the selector if there is one, then words, each with the offset of its first byte."""
    total = view.total("calldata")
    start, page_bytes = selector_bytes(total), PAGES["calldata"]

    def digits(first: int, count: int) -> str | None:
        pieces = []
        while count > 0:
            content = view.page("calldata", first // page_bytes)
            if content is None:
                return None
            at = first % page_bytes
            taken = min(count, page_bytes - at)
            pieces.append(content[2 + 2 * at : 2 + 2 * (at + taken)])
            first, count = first + taken, count - taken
        return "".join(pieces)

    def row(number: int) -> Row | None:
        if start and not number:
            return [("selector ", "dim"), (f"0x{digits(0, start)}", "here")]
        first = start + WORD_BYTES * (number - bool(start))
        found = digits(first, min(WORD_BYTES, total - first))
        if found is None:
            return None
        pieces = [(f"{first:05x} ", "dim"), (found, "dim" if not found.strip("0") else "plain")]
        return [*pieces, (" " + _text(found), "good")] if view.options.shows_text else pieces

    def page_of(number: int) -> tuple[str, int]:
        first = max(0, start + WORD_BYTES * (number - bool(start)))
        here = first // page_bytes
        last = min(total, first + WORD_BYTES) - 1
        return "calldata", here if view.page("calldata", here) is None else last // page_bytes

    return Listing(f"calldata {total} bytes", bool(start) + -(-(total - start) // WORD_BYTES), row, page_of=page_of)


memory = _bytes("memory", "memory")
returned = _bytes("returnData", "return data")


def _text(digits: str) -> str:
    """
    >>> _text("48690a")
    'Hi.'
    """
    return "".join(chr(byte) if 32 <= byte < 127 else "." for byte in bytes.fromhex(digits))


def _slots(name: str, title: str) -> Callable[[View], Listing]:
    def listing(view: View) -> Listing:
        def row(number: int) -> Row | None:
            content = view.page(name, number // PAGES[name])
            if content is None:
                return None
            slot, value = _entry(content, number % PAGES[name])
            return [(f"{slot} ", "dim"), (value, "plain")]

        total = view.total(name)
        return Listing(f"{title} {total}", total, row, page_of=lambda number: (name, number // PAGES[name]))

    return listing


def _entry(content: dict[str, str], number: int) -> tuple[str, str]:
    return list(content.items())[number]  # at most a page


storage = _slots("storage", "storage")
transient = _slots("transientStorage", "transient")


def logs(view: View) -> Listing:
    """One log per row: address, topics, data."""

    def row(number: int) -> Row | None:
        content = view.page("logs", number // PAGES["logs"])
        if content is None:
            return None
        log = content[number % PAGES["logs"]]
        return [(f"{log['address']} ", "dim"), (" ".join([*log["topics"], log["data"]]), "plain")]

    total = view.total("logs")
    return Listing(f"logs {total}", total, row, page_of=lambda number: ("logs", number // PAGES["logs"]))


def calls(view: View) -> Listing:
    """The tree of messages of the whole run, the current one marked."""
    if view.tree is None:
        return _lines("calls", [[("following the run …", "dim")]])
    nodes = view.tree["nodes"]
    inside = [n for n in nodes if n["firstStep"] <= view.step and (n["endStep"] is None or view.step < n["endStep"])]
    here = max(inside, key=lambda node: node["depth"])["index"] if inside and not view.state["halt"] else None

    def row(number: int) -> Row:
        node = nodes[number]
        style = "here" if number == here else "plain"
        pieces = [("▶" if number == here else " ", "mark"), ("  " * (node["depth"] - 1) + node["kind"], style)]
        if node["console"] is not None:
            indent = "  " * (node["depth"] - 1)
            return [pieces[0], (f"{indent}console.log ", "dim"), (printable(node["console"]), style)]
        pieces.append((f" {node['address']} @{node['firstStep']} gas {node['gasUsed']}", "dim"))
        return [*pieces, *_ended(node["halt"])]

    omitted, rest = view.tree["omitted"], "" if view.tree["hasEnded"] else f", followed for {view.tree['steps']} steps"
    title = f"calls {len(nodes)}" + (f", {omitted} more not listed" if omitted else "") + rest
    return Listing(title, len(nodes), row, here)


def _ended(halt: dict[str, Any] | None) -> Row:
    if halt is None:
        return [(" not ended", "dim")]
    text = f" {halt['reason']}" + (f" {printable(halt['message'])}" if halt.get("message") else "")
    return [(text, "good" if halt["success"] else "bad")]


POINT_FIELDS = (
    "pc", "line", "opcode", "slot", "offset", "length", "topic", "target", "depth", "gas", "expression", "condition",
    "address", "code", "init", "name",
)  # fmt: skip
"""The fields shown of a breakpoint, by kind."""


def breakpoints(view: View) -> Listing:
    """One breakpoint per row, each with the letter by which ``'`` jumps to it."""
    rows: list[Row] = []
    for at, point in enumerate(view.breakpoints):
        value = " ".join(_shown(name, point[name]) for name in POINT_FIELDS if point.get(name) not in (None, ""))
        off = "" if point.get("enabled", True) else " off"
        rows.append(
            [
                ("●" if point["holds"] else " ", "mark"),
                (f"{letter_of(at)} {point['id']} ", "dim"),
                (f"{point['kind']} {printable(value)}{off}", "here" if point["holds"] else "plain"),
            ]
        )
    return _lines(f"breakpoints {len(rows)}", rows)


def _shown(name: str, value: object) -> str:
    return hex(value) if name == "pc" and isinstance(value, int) else str(value)


def letter_of(position: int) -> str:
    """The letter of a breakpoint by its position in the list; empty after z."""
    return chr(ord("a") + position) if position < 26 else " "


def timeline(view: View, width: int) -> Listing:
    """A bar of the whole run, ``▲`` position, ``┆`` keyframes, ``✗`` failed messages, ``◆`` edits; then as text."""
    length, step, marks = view.length, view.step, view.marks
    keyframes = f"keyframes {len(marks['keyframes'])}"
    edits = f"   edits at {', '.join(map(str, marks['edits']))}" if marks["edits"] else ""
    where = f"step {step} of {'?' if length is None else length}"
    words = f"{where}   branch {marks['branch']}   {keyframes}{edits}"
    span = max(length or 0, step, 1)
    cells = ["─"] * width

    def put(steps: list[int], sign: str) -> None:
        for at in steps:
            if at <= span:
                cells[at * (width - 1) // span] = sign

    put(marks["keyframes"], "┆")
    nodes = [] if view.tree is None else view.tree["nodes"]
    put([n["endStep"] for n in nodes if n["halt"] is not None and not n["halt"]["success"]], "✗")
    put(marks["edits"], "◆")
    put([step], "▲")
    return _lines(f"session {shown(view.session)}", [[("".join(cells), "plain")], [(words, "dim")]])


def status(view: View) -> Row:
    """The bottom lines: the position, and the last answer."""
    if not view.is_loaded:
        return [(printable(view.message) or "looking …", "plain")]
    state = view.state
    where = f"step {view.step}  pc {state['pc']:#x}  {state['opcode']}"
    where += f"  gas {state['gasLeft']}  depth {state['depth']}"
    if state["callFrames"]:
        where += f" in {state['callFrames'][state['depth'] - 1]['address']}"
    if view.options.frame is not None:
        where += f"  FRAME {view.options.frame}"
    halt: Row = _ended(state["halt"]) if state["halt"] else []
    busy: Row = [("  running, Esc pauses", "mark")] if view.is_busy else []
    count: Row = [(f"  {view.count}", "mark")] if view.count else []
    return [(where, "here"), *halt, *busy, *count, ("\n" + printable(view.message), "plain")]


LISTINGS: dict[str, Callable[[View], Listing]] = {
    "code": code,
    "stack": stack,
    "calldata": calldata,
    "memory": memory,
    "storage": storage,
    "transient": transient,
    "calls": calls,
    "breakpoints": breakpoints,
    "logs": logs,
    "returned": returned,
}
