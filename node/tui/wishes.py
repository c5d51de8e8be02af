"""Parses what users type at a prompt: a step, a breakpoint, an edit."""

from __future__ import annotations

from typing import Any

from debugger.breakpoint_fields import breakpoint_of
from zvmd.errors import InvalidInput

Json = dict[str, Any]


class Unreadable(InvalidInput):
    """The typed text cannot be parsed; the message shows valid forms."""


def step_of(text: str, here: int) -> int:
    """Parse a step, or a number of steps forward or back.

    >>> step_of("1_000", 5), step_of("+3", 5), step_of("-0x2", 5)
    (1000, 8, 3)
    """
    wanted = text.strip()
    try:
        number = int(wanted.lstrip("+-"), 0)
    except ValueError:
        raise Unreadable(f"{wanted!r} is not a step: 120, +5 or -5") from None
    return max(0, here + number if wanted[:1] == "+" else here - number if wanted[:1] == "-" else number)


def point_of(text: str) -> Json:
    """Parse a breakpoint.

    >>> point_of("pc 0x10"), point_of("slot_write 3"), point_of("revert")
    ({'kind': 'pc', 'pc': 16}, {'kind': 'slot_write', 'slot': '3'}, {'kind': 'revert'})
    >>> point_of("memory_write 0x40 64")
    {'kind': 'memory_write', 'offset': '0x40', 'length': '64'}
    """
    kind, _, value = text.strip().partition(" ")
    if not kind:
        raise Unreadable("pc 16, opcode SSTORE, slot_write 3, memory_write 0x40 32, depth 2, call, revert, gas 9 ...")
    length = None
    if kind in ("memory_write", "memory_read"):
        value, _, length = value.strip().partition(" ")
    try:
        return breakpoint_of(kind, value.strip() or None, length=length or None)
    except ValueError:
        raise Unreadable(f"{value.strip()!r} is not a number") from None


_EDITS = {
    "stack": ("index", "value"),
    "push": ("value",),
    "pop": (),
    "memory": ("index", "data"),
    "storage": ("index", "value"),
    "transient": ("index", "value"),
    "calldata": ("data",),
    "gas": ("value",),
    "pc": ("value",),
    "balance": ("address", "value"),
}
"""The fields after each kind of edit."""


def edit_of(text: str) -> Json:
    """An edit; ``=`` may come before the new value.

    >>> edit_of("stack 0 = 0x5")
    {'kind': 'stack', 'index': '0', 'value': '0x5'}
    """
    kind, *words = text.replace("=", " ").split()[:4] or [""]
    fields = _EDITS.get(kind)
    if fields is None:
        raise Unreadable(f"there are {', '.join(_EDITS)}")
    if len(words) != len(fields):
        raise Unreadable(f"{kind} is followed by {' and '.join(fields) or 'nothing'}")
    return {"kind": kind, **dict(zip(fields, words, strict=True))}
