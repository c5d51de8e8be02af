"""``console.log`` of Hardhat and Foundry: calls of contracts to an address without code, decoded and formatted.

Both libraries call `CONSOLE` with the selector of a signature
``log(...)``. Early versions hashed ``uint`` and ``int`` where the ABI says ``uint256`` and ``int256``; both are known.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from functools import cache
from itertools import product
from typing import Final

from chain.hashing import keccak256
from chain.types import Address

CONSOLE: Final = Address(bytes.fromhex("000000000000000000636f6e736f6c652e6c6f67"))
"""Address that ``console.log`` calls."""

ARGUMENTS_MAX: Final = 4
TYPES: Final = ("uint256", "int256", "string", "bool", "address")
"""Of which up to four may be given in any order."""
SINGLE_TYPES: Final = ("bytes", *(f"bytes{size}" for size in range(1, 33)))
"""Taken alone: logBytes, logBytes1 ..."""

LINE_BYTES_MAX: Final = 65_536
"""Longer arguments are cut; the transaction's trace has all of them."""

_PLACEHOLDER: Final = re.compile(r"%(?:[sdioxecj%]|\d{1,3}[ef])")


def decode(data: bytes) -> str | None:
    """The line that a call with this calldata prints; None if its signature is unknown or its arguments are malformed.

    >>> decode(bytes.fromhex("f82c50f1") + (42).to_bytes(32, "big"))
    '42'
    """
    types = _signatures().get(data[:4])
    if types is None:
        return None
    try:
        values = [_value(kind, data[4:], 32 * at) for at, kind in enumerate(types)]
    except IndexError:
        return None
    return _formatted(values)


def shown(data: bytes) -> str:
    """The line that a call of the console prints; calldata with an unknown signature is shown as hex."""
    line = decode(data)
    return "0x" + data.hex() if line is None else line


@cache
def _signatures() -> dict[bytes, tuple[str, ...]]:
    """Argument types by selector."""
    return {keccak256(spelled.encode())[:4]: types for types in _types() for spelled in _spellings(types)}


def _types() -> Iterator[tuple[str, ...]]:
    for count in range(ARGUMENTS_MAX + 1):
        yield from product(TYPES, repeat=count)
    yield from ((kind,) for kind in SINGLE_TYPES)


def _spellings(types: Sequence[str]) -> set[str]:
    signature = f"log({','.join(types)})"
    return {signature, signature.replace("int256", "int")}


Value = str | int | bool | bytes
"""Addresses are text already."""


def _value(kind: str, data: bytes, at: int) -> Value:
    """One argument of the ABI encoding. Raises `IndexError` if it is outside the data."""
    word = _slice(data, at, 32)
    if kind in {"string", "bytes"}:
        start = int.from_bytes(word, "big")
        length = int.from_bytes(_slice(data, start, 32), "big")
        content = _slice(data, start + 32, length)
        cut = content[:LINE_BYTES_MAX]
        return cut if kind == "bytes" else cut.decode("utf-8", "replace")
    if kind == "bool":
        return any(word)
    if kind == "address":
        return checksummed(Address(word[12:]))
    if kind == "int256":
        return int.from_bytes(word, "big", signed=True)
    if kind == "uint256":
        return int.from_bytes(word, "big")
    return word[: int(kind.removeprefix("bytes"))]


def _slice(data: bytes, start: int, length: int) -> bytes:
    if start + length > len(data):
        raise IndexError(f"{length} bytes at {start} of {len(data)}")
    return data[start : start + length]


def _formatted(values: Sequence[Value]) -> str:
    """Like Node's ``util.format``: values fill the placeholders of a first string, and those left over follow it."""
    if not values or not isinstance(values[0], str) or "%" not in values[0]:
        return " ".join(map(_text, values))
    rest = list(values[1:])

    def fill(found: re.Match[str]) -> str:
        placeholder = found.group()
        if placeholder == "%%":
            return "%"
        return _text_as(placeholder, rest.pop(0)) if rest else placeholder

    return " ".join([_PLACEHOLDER.sub(fill, values[0]), *map(_text, rest)])


def _text(value: Value) -> str:
    """A value that no placeholder formats: hex for bytes, decimal for numbers."""
    if isinstance(value, bool):
        return "true" if value else "false"
    return "0x" + value.hex() if isinstance(value, bytes) else str(value)


def _text_as(placeholder: str, value: Value) -> str:
    """A value for ``%s``, ``%d``, ``%i``, ``%o``, ``%j``, ``%c``, ``%x``, ``%e`` or ``%18e`` (forge-std)."""
    kind = placeholder[-1]
    if kind == "x":
        return hex(value) if isinstance(value, int) else _text(value)
    if kind in "di":
        return _number(value)
    if kind in "ef" and isinstance(value, int) and not isinstance(value, bool):
        return _scaled(value, int(placeholder[1:-1])) if placeholder[1:-1] else f"{value:e}"
    return _text(value)


def _number(value: Value) -> str:
    """``%d``: numbers and booleans as numbers, anything else as NaN, as in Node."""
    if isinstance(value, int):
        return str(int(value))
    if isinstance(value, str):
        return value if value.lstrip("-").isascii() and value.lstrip("-").isdigit() else "NaN"
    return str(int.from_bytes(value, "big"))


def _scaled(value: int, decimals: int) -> str:
    """A number of units of 10 ** -decimals, exactly: 1500000 with 6 decimals is 1.5."""
    digits = str(abs(value)).rjust(decimals + 1, "0")
    whole, fraction = digits[: len(digits) - decimals], digits[len(digits) - decimals :].rstrip("0")
    return "-" * (value < 0) + whole + ("." + fraction if fraction else "")


def checksummed(address: Address) -> str:
    """The address with the checksum of EIP-55."""
    plain = address.hex()
    nibbles = keccak256(plain.encode()).hex()
    return "0x" + "".join(c.upper() if int(n, 16) > 7 else c for c, n in zip(plain, nibbles, strict=False))
