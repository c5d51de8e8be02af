"""JSON as the RFC means it: what Python's decoder lets through silently is refused here.

Duplicate keys, NaN and Infinity, lone surrogates, deep nesting and endless integers each made two parsers
disagree somewhere before; a node answers them with -32700 or -32600.

Every step is linear in the body, whatever is in it. A body of millions of values would still hold the interpreter
lock for a second: one above `LARGE_BYTES` is decoded on another thread and may have so many of them only.
"""

from __future__ import annotations

import json
import math
import re
from functools import lru_cache
from typing import Any, Final, NoReturn

from node.rpc.errors import ParseError, RequestTooLarge
from node.rpc.limits import RpcLimits

LARGE_BYTES: Final = 8 * 1024
"""Bytes of the largest body that is parsed on the event loop: 1.5 ms, whatever is in it. Larger ones go to a thread."""
_STRINGS: Final = re.compile(rb'"(?:[^"\\]++|\\.)*+"?', re.DOTALL)
"""Possessive, and an unterminated string matches too: no byte is looked at twice."""
_BRACKETS: Final = re.compile(rb"[\[\]{}]")
_SURROGATE: Final = re.compile("[\ud800-\udfff]")
_COUNTED: Final = ((b"[", b"{"), (b",",), (b'"',), (b"\\",))


def decode(body: bytes, limits: RpcLimits) -> Any:
    """The JSON value of ``body``. Raises `ParseError` or `RequestTooLarge`.

    >>> decode(b'{"a": [1, "0x2"]}', RpcLimits())
    {'a': [1, '0x2']}
    """
    if len(body) > limits.body_size_max_bytes:
        raise RequestTooLarge(f"body of {len(body)} bytes; the limit is {limits.body_size_max_bytes}")
    if len(body) > LARGE_BYTES:
        _check_values(body, limits.json_values_max)
    _check_depth(body, limits.json_depth_max)
    try:
        text = body.decode("utf-8")
        value = _decoder(limits.integer_digits_max).decode(text)
    except UnicodeDecodeError as error:
        raise ParseError(f"not UTF-8 at byte {error.start}") from None
    except json.JSONDecodeError as error:
        raise ParseError(f"not JSON: {error.msg} at character {error.pos}") from None
    if "\\u" in text:
        _check_surrogates(value)
    return value


def is_within(body: bytes, limits: RpcLimits) -> bool:
    """Whether `decode` takes a body of that size, and as many values as it has."""
    if len(body) <= LARGE_BYTES:
        return True
    most = limits.json_values_max
    return len(body) <= limits.body_size_max_bytes and all(
        sum(map(body.count, marks)) <= most for marks in _COUNTED
    )


@lru_cache(maxsize=8)
def _decoder(digits_max: int) -> json.JSONDecoder:
    """Made once: that takes longer than decoding a small body."""

    def integer(text: str) -> int:
        if len(text) > digits_max:
            raise RequestTooLarge(f"a number of {len(text)} digits; the limit is {digits_max}")
        return int(text)

    return json.JSONDecoder(
        object_pairs_hook=_object, parse_constant=_constant, parse_int=integer, parse_float=_number
    )


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    result = dict(pairs)
    if len(result) != len(pairs):
        seen: set[str] = set()
        repeated = next(key for key, _ in pairs if key in seen or seen.add(key))  # type: ignore[func-returns-value]
        raise ParseError(f"key {repeated[:60]!r} occurs twice in one object")
    return result


def _constant(name: str) -> NoReturn:
    raise ParseError(f"{name} is not JSON")


def _number(text: str) -> float:
    value = float(text)
    if math.isinf(value):  # it would be answered as null, or as what is not JSON
        raise ParseError(f"{text[:20]} is out of range")
    return value


def _check_values(body: bytes, values_max: int) -> None:
    """Bound what decoding makes, by what the body has of each kind; in strings it counts too."""
    for marks in _COUNTED:
        found = sum(map(body.count, marks))
        if found > values_max:
            names = " and ".join(mark.decode() for mark in marks)
            raise RequestTooLarge(f"{found} of {names} in one body; the limit is {values_max}")


def _check_depth(body: bytes, depth_max: int) -> None:
    if body.count(b"[") + body.count(b"{") <= depth_max:
        return
    depth = 0
    for bracket in _BRACKETS.findall(_STRINGS.sub(b"", body)):
        depth += 1 if bracket in b"[{" else -1
        if depth > depth_max:
            raise RequestTooLarge(f"nested deeper than {depth_max}")


def _check_surrogates(value: Any) -> None:
    # Depth is bounded by `_check_depth`, so an explicit stack is for speed of mind, not for safety.
    stack = [value]
    while stack:
        item = stack.pop()
        if isinstance(item, str):
            if _SURROGATE.search(item):
                raise ParseError("a lone surrogate in a string")
        elif isinstance(item, dict):
            stack.extend(item)
            stack.extend(item.values())
        elif isinstance(item, list):
            stack.extend(item)
