"""Converts the hex text of API structures to and from numbers and bytes: words, addresses, data."""

from __future__ import annotations

import re
from functools import lru_cache

from chain.errors import InvalidHex
from chain.hashing import keccak256
from chain.types import UINT256_MAX, Address, parse_hex
from debugger.errors import InvalidProgram
from debugger.limits import LISTINGS_KEPT

Number = int | str
"""An integer, or hex or decimal text: JSON numbers above 2**53 are not safe everywhere."""


_SAFE = 2**53 - 1
_TEXT = re.compile("0[xX][0-9a-fA-F]{1,64}|[0-9]{1,78}")


def hex_of(data: bytes) -> str:
    """``0x`` and the digits."""
    return "0x" + data.hex()


def word_text(number: int) -> str:
    """The number as quantity: ``0x`` and no leading zeros."""
    return hex(number)


def number_of(value: Number, field: str, largest: int = UINT256_MAX) -> int:
    """The number if it is in range.

    >>> number_of("0x10", "value"), number_of("16", "value"), number_of(16, "value")
    (16, 16, 16)

    Raises `InvalidProgram`.
    """
    if isinstance(value, str) and not _TEXT.fullmatch(value):
        raise InvalidProgram(f"{field}: not a number: {value!r}"[:200])
    number = value if isinstance(value, int) else int(value, 16 if value[:2] in ("0x", "0X") else 10)
    if not 0 <= number <= largest:
        raise InvalidProgram(f"{field}: outside 0 .. {hex(largest)}")
    return number


def storable(value: Number) -> Number:
    """The same number in a form that every encoding accepts: large ones as hex text."""
    return hex(value) if isinstance(value, int) and value > _SAFE else value


def data_of(text: str, field: str, longest: int, length: int | None = None) -> bytes:
    """Bytes of hex text, with or without ``0x``. Raises `InvalidProgram`."""
    if len(text) > 2 * longest + 2:
        raise InvalidProgram(f"{field}: more than {longest} bytes")
    try:
        return parse_hex(text if text[:2] == "0x" else "0x" + text, length)
    except InvalidHex as error:
        raise InvalidProgram(f"{field}: {error}") from None


def address_of(text: str, field: str) -> Address:
    """An address of hex text. Raises `InvalidProgram`."""
    return Address(data_of(text, field, 20, 20))


@lru_cache(LISTINGS_KEPT)
def code_hash(code: bytes) -> bytes:
    """Keccak-256 of a code, cached."""
    return keccak256(code)
