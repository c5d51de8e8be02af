"""`SessionView`: one look at a debug session as text, as HTML for notebooks, and for rich; nothing is cut unsaid."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from html import escape
from typing import TYPE_CHECKING, Any, NamedTuple

from zvmd.printable import printable
from zvmd.results import State

if TYPE_CHECKING:
    from rich.console import RenderableType

STACK_ROWS = 16
MEMORY_ROWS = 16
ENTRIES = 32
"""Slots, logs and call frames."""
BYTES_A_ROW = 32

QUERY: dict[str, dict[str, int]] = {
    "memory": {"offset": 0, "limit": MEMORY_ROWS * BYTES_A_ROW},
    "returnData": {"offset": 0, "limit": MEMORY_ROWS * BYTES_A_ROW},
    "calldata": {"offset": 0, "limit": 4 + MEMORY_ROWS * BYTES_A_ROW},
    "storage": {"offset": 0, "limit": ENTRIES},
    "transientStorage": {"offset": 0, "limit": ENTRIES},
    "logs": {"offset": 0, "limit": ENTRIES},
    "callFrames": {"offset": 0, "limit": ENTRIES},
}
"""What of a state a view asks for: the whole stack, whose top is at its end, and the beginning of all else."""


class Part(NamedTuple):
    """A table of a view."""

    title: str
    rows: list[tuple[str, str]]
    omitted: str
    """What is not shown, in words."""


@dataclass(frozen=True)
class SessionView:
    """A session as it was when it was looked at."""

    id: int | str
    state: State

    @property
    def head(self) -> str:
        """Its position, in a line."""
        state = self.state.json
        halt = state["halt"]
        line = f"session {shown(self.id)}  step {state['step']}  pc {state['pc']}  {state['opcode']}"
        line += f"  gas {state['gasLeft']}  depth {state['depth']}"
        if halt is None:
            return line
        return printable(f"{line}  halted: {halt['reason']}" + (f" {halt['message']}" if halt.get("message") else ""))

    def parts(self) -> Iterator[Part]:
        """The tables, without empty ones; the stack is always there."""
        state = self.state.json
        pages = state["pages"]
        words = state["stack"][::-1]
        top = [(str(at), word) for at, word in enumerate(words[:STACK_ROWS])]
        yield Part("stack, top first", top, _rest(len(top), len(words), "words"))
        given = calldata_rows(state["calldata"], pages["calldata"]["total"])
        pieces = (
            ("calldata", "calldata", given),
            ("memory", "memory", _bytes_rows(state["memory"])),
            ("return data", "returnData", _bytes_rows(state["returnData"])),
        )
        for title, field, lines in pieces:
            if pages[field]["total"]:
                omitted = _rest(pages[field]["count"], pages[field]["total"], "bytes")
                yield Part(title, list(lines), omitted)
        entries = (
            ("storage", "storage", list(state["storage"].items())),
            ("transient storage", "transientStorage", list(state["transientStorage"].items())),
            ("logs", "logs", [(log["address"], " ".join([*log["topics"], log["data"]])) for log in state["logs"]]),
            ("calls", "callFrames", [(str(f["depth"]), _call(f)) for f in state["callFrames"]]),
        )
        for title, field, rows in entries:
            if pages[field]["total"]:
                yield Part(title, rows, _rest(pages[field]["count"], pages[field]["total"], "entries"))

    def __str__(self) -> str:
        lines = [self.head]
        for part in self.parts():
            lines.append(f"{part.title}:" if part.rows else f"{part.title}: empty")
            width = max((len(name) for name, _ in part.rows), default=0)
            lines += [f"  {printable(name):>{width}}  {printable(value)}" for name, value in part.rows]
            lines += [f"  {part.omitted}"] if part.omitted else []
        return "\n".join(lines)

    def __rich__(self) -> RenderableType:
        from rich.console import Group
        from rich.panel import Panel
        from rich.table import Table
        from rich.text import Text

        blocks: list[RenderableType] = []
        for part in self.parts():
            table = Table(title=part.title, title_justify="left", show_header=False, box=None)
            for name, value in part.rows:
                table.add_row(Text(printable(name), "dim"), Text(printable(value), overflow="fold"))
            blocks.append(table if part.rows else Text(f"{part.title}: empty", "dim"))
            blocks += [Text(part.omitted)] if part.omitted else []
        return Panel(Group(*blocks), title=Text(self.head), title_align="left")

    def _repr_html_(self) -> str:
        cells = "style='text-align:left;font-family:monospace;word-break:break-all'"
        blocks = [f"<b>{escape(self.head)}</b>"]
        for part in self.parts():
            rows = "".join(
                f"<tr><td {cells}>{escape(printable(name))}</td><td {cells}>{escape(printable(value))}</td></tr>"
                for name, value in part.rows
            )
            omitted = f"<p>{escape(part.omitted)}</p>" if part.omitted else ""
            summary = f"<summary>{escape(part.title)} ({len(part.rows)})</summary>"
            blocks.append(f"<details open>{summary}<table>{rows}</table>{omitted}</details>")
        return f"<div>{''.join(blocks)}</div>"

    def _repr_mimebundle_(self, include: object = None, exclude: object = None) -> dict[str, str]:  # noqa: ARG002
        return {"text/plain": str(self), "text/html": self._repr_html_()}


def _rest(count: int, total: int, unit: str) -> str:
    return f"{total - count} more {unit}: ask state() for them" if count < total else ""


def _bytes_rows(content: str) -> Iterator[tuple[str, str]]:
    digits, size = content[2:], 2 * BYTES_A_ROW
    for at in range(0, len(digits), size):
        yield f"{at // 2:#06x}", digits[at : at + size]


def _call(frame: dict[str, Any]) -> str:
    line = f"{frame['kind']} {frame['address']}"
    if frame["codeAddress"] != frame["address"]:
        line += f" code of {frame['codeAddress']}"
    return f"{line} at pc {frame['pc']} {frame['opcode']}"


def selector_bytes(size: int) -> int:
    """How many bytes of calldata come before its words: 4 if all of it is a selector and words, as ABI calls are.

    >>> selector_bytes(68), selector_bytes(4), selector_bytes(64), selector_bytes(0)
    (4, 4, 0, 0)
    """
    return 4 if size % BYTES_A_ROW == 4 else 0


def calldata_rows(content: str, size: int) -> Iterator[tuple[str, str]]:
    """The beginning of calldata of ``size`` bytes: the selector if there is one, then words by their offset.

    >>> list(calldata_rows("0xa9059cbb" + "00" * 31 + "07", 36))[0]
    ('selector', '0xa9059cbb')
    """
    start = selector_bytes(size)
    if start:
        yield "selector", content[: 2 + 2 * start]
    for at, row in _bytes_rows("0x" + content[2 + 2 * start :]):
        yield f"{int(at, 16) + start:#06x}", row


def shown(number: int | str) -> str:
    """The session's number; of a share token only what is not secret.

    >>> shown(7), shown("zvs-7-1-secret")
    ('7', 'zvs-7-1')
    """
    return str(number).rpartition("-")[0] or str(number)


def value_of(answer: str | dict[str, str] | None) -> int | bytes | None:
    """An answer of ``zvmd_session_evaluate``: a word as a number, ``{bytes}`` as bytes.

    >>> value_of("0x2a"), value_of({"bytes": "0x0001"}), value_of(None)
    (42, b'\\x00\\x01', None)
    """
    if isinstance(answer, dict):
        return bytes.fromhex(answer["bytes"][2:])
    return None if answer is None else int(answer, 16)
