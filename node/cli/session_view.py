"""Debug sessions as tables for people."""

from __future__ import annotations

import time
from typing import Any

from rich.console import Group
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from node.cli.output import show
from zvmd.printable import printable
from zvmd.session_view import calldata_rows

BYTES_A_ROW = 32


def show_summary(answer: dict[str, Any]) -> str:
    """
    >>> show_summary({"step": 2, "pc": 3, "opcode": "ADD", "gasLeft": 9, "depth": 1, "halt": None, "reason": "step"})
    'step 2  pc 3  ADD  gas 9  depth 1  (step)'
    """
    halt = answer["halt"]
    line = f"step {answer['step']}  pc {answer['pc']}  {answer['opcode']}  gas {answer['gasLeft']}"
    line += f"  depth {answer['depth']}"
    if halt:
        message = printable(halt.get("message") or "")
        return f"{line}  halted: {halt['reason']}" + (f" {message}" if message else "")
    points = "".join(f" {number}" for number in answer.get("breakpoints", ()))
    return f"{line}  ({answer['reason']}{points})" if "reason" in answer else line


def show_event(event: dict[str, Any]) -> str:
    """
    >>> position = {"step": 2, "pc": 3, "opcode": "ADD", "gasLeft": 9, "depth": 1, "halt": None}
    >>> change = {"stack": {"0": {"before": None, "after": "0x1"}}}
    >>> show_event({"cursor": 7, "command": "step", "driver": "owner", "position": position, "changed": change})
    '7  owner: step  step 2  pc 3  ADD  gas 9  depth 1  stack[0]: - > 0x1'
    """
    line = f"{event['cursor']}  {event['driver']}: {event['command']}"
    if "position" in event:
        line += f"  {show_summary(event['position'])}"
    changed = event.get("changed", {})
    for part in ("stack", "memory", "storage", "transientStorage"):
        for key, change in changed.get(part, {}).items():
            line += f"  {part}[{key}]: {change['before'] or '-'} > {change['after'] or '-'}"
    if changed.get("omitted"):
        line += f"  and {changed['omitted']} more"
    if event.get("missed"):
        line += f"  ({event['missed']} events missed)"
    return line


def _rows(title: str, rows: list[tuple[str, str]]) -> Table:
    table = Table(title=title, title_justify="left", show_header=False, box=None, pad_edge=False)
    for name, value in rows:
        table.add_row(Text(name, "dim"), Text(value, overflow="fold"))
    return table


def _memory(content: str) -> list[tuple[str, str]]:
    digits = content[2:]
    size = 2 * BYTES_A_ROW
    return [(f"{at // 2:#06x}", digits[at : at + size]) for at in range(0, len(digits), size)]


def show_state(state: dict[str, Any]) -> None:
    """A state as panels: position, stack, calldata, memory, storage, logs."""
    stack = state["stack"]
    parts: list[Any] = [_rows("stack (top first)", [(str(i), word) for i, word in enumerate(reversed(stack))])]
    if state["calldata"] != "0x":
        given = calldata_rows(state["calldata"], state["pages"]["calldata"]["total"])
        parts.append(_rows("calldata", list(given)))
    if state["memory"] != "0x":
        parts.append(_rows("memory", _memory(state["memory"])))
    for title, field in (("storage", "storage"), ("transient storage", "transientStorage")):
        if state[field]:
            parts.append(_rows(title, list(state[field].items())))
    if state["logs"]:
        parts.append(_rows("logs", [(log["address"], f"{log['topics']} {log['data']}") for log in state["logs"]]))
    if state["returnData"] != "0x":
        parts.append(_rows("return data", _memory(state["returnData"])))
    for name, page in state["pages"].items():
        if page["count"] < page["total"]:
            parts.append(Text(f"{name}: {page['count']} of {page['total']} shown", "yellow"))
    show(Panel(Group(*parts), title=Text(printable(show_summary(state))), title_align="left"))


def show_list(sessions: list[dict[str, Any]]) -> None:
    """Sessions as a table."""
    table = Table("id", "name", "fork", "step", "halt", "contract", "used", "tags", box=None, pad_edge=False)
    for line in sessions:
        used = time.strftime("%Y-%m-%d %H:%M", time.localtime(line["used"])) + (" pinned" if line["pinned"] else "")
        contract = line["contract"] or ""
        cells = [str(line["id"]), line["name"], line["fork"], str(line["position"]), line["halt"] or "", contract, used]
        table.add_row(*(Text(printable(cell)) for cell in (*cells, ", ".join(line["tags"]))))
    show(table)


def show_templates(templates: list[dict[str, Any]]) -> None:
    """Templates as a table."""
    table = Table("name", "title", "tags", box=None, pad_edge=False)
    for line in templates:
        tags = ", ".join([*line["tags"], *(["own"] if line["own"] else [])])
        table.add_row(Text(printable(line["name"])), Text(printable(line["title"])), Text(printable(tags)))
    show(table)


def show_template(template: dict[str, Any]) -> None:
    """A template's explanation, program and end."""
    program = (template.get("assembly") or template.get("code") or "").strip()
    expected = ", ".join(f"{field} {value}" for field, value in template["expected"].items())
    lines = f"{template['explanation'].strip()}\n\n{program}\n\nends: {expected}".splitlines()
    text = Text("\n".join(map(printable, lines)))
    show(Panel(text, title=Text(printable(template["title"])), title_align="left"))
