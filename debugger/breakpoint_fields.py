"""Converts a breakpoint as users type it, a kind and a value, into the API's form."""

from __future__ import annotations

from typing import Any

_FIELD = {"slot_write": "slot", "slot_read": "slot", "log": "topic", "call": "target"}
_FIELD |= {"memory_write": "offset", "memory_read": "offset"}
"""The field that holds the value, for kinds whose field has another name."""
_NUMBERS = frozenset(("pc", "line", "depth", "gas"))


def breakpoint_of(
    kind: str,
    value: str | None,
    address: str | None = None,
    length: str | None = None,
    *,
    code: str | None = None,
    init: bool | None = None,
    condition: str | None = None,
) -> dict[str, Any]:
    """
    >>> breakpoint_of("slot_write", "0x1")
    {'kind': 'slot_write', 'slot': '0x1'}
    >>> breakpoint_of("memory_write", "0x40", length="64")
    {'kind': 'memory_write', 'offset': '0x40', 'length': '64'}

    Raises ValueError for what should be a number and is not.
    """
    point: dict[str, Any] = {"kind": kind}
    if value is not None:
        point[_FIELD.get(kind, kind)] = int(value, 0) if kind in _NUMBERS else value
    more = {"address": address, "length": length, "code": code, "init": init, "condition": condition}
    return point | {name: given for name, given in more.items() if given is not None}
