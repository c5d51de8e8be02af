"""Encodes JSON nested too deeply for a recursive encoder: call trees have up to 1,025 levels."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec

_encode = msgspec.json.Encoder().encode


def encode(value: Any) -> bytes:
    """As `msgspec.json.encode` for dicts, lists and what those hold, at any depth.

    >>> encode({"a": [1, {"b": []}]})
    b'{"a":[1,{"b":[]}]}'
    """
    pieces: list[bytes] = []
    open_ones: list[tuple[bytes, Iterator[tuple[bytes, Any]]]] = [(b"", iter([(b"", value)]))]
    while open_ones:
        end, members = open_ones[-1]
        member = next(members, None)
        if member is None:
            pieces.append(end)
            open_ones.pop()
            continue
        before, item = member
        pieces.append(before)
        if isinstance(item, dict):
            pieces.append(b"{")
            names = (_encode(str(name)) for name in item)
            open_ones.append((b"}", _members(item.values(), (name + b":" for name in names))))
        elif isinstance(item, list):
            pieces.append(b"[")
            open_ones.append((b"]", _members(item, (b"" for _ in item))))
        else:
            pieces.append(_encode(item))
    return b"".join(pieces)


def _members(values: Any, labels: Iterator[bytes]) -> Iterator[tuple[bytes, Any]]:
    """Each value with the text that precedes it."""
    for place, (value, label) in enumerate(zip(values, labels, strict=True)):
        yield (b"," if place else b"") + label, value
