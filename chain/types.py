"""The few primitive types of the domain, and hex parsing at the edge.

Addresses and hashes are plain ``bytes`` inside the program: hex exists only at its borders.
"""

from __future__ import annotations

from typing import NewType

from chain.errors import InvalidHex

Address = NewType("Address", bytes)
"""20 bytes."""

Hash32 = NewType("Hash32", bytes)
"""32 bytes, a Keccak-256 digest unless said otherwise."""

ZERO_ADDRESS = Address(bytes(20))
ZERO_HASH = Hash32(bytes(32))
UINT64_MAX = 2**64 - 1
UINT256_MAX = 2**256 - 1


def parse_hex(text: str, length: int | None = None) -> bytes:
    """The bytes of a ``0x``-prefixed hex string, exactly ``length`` of them if given.

    >>> parse_hex("0x00ff")
    b'\\x00\\xff'

    Raises `InvalidHex`.
    """
    if not isinstance(text, str) or not text.startswith("0x"):
        raise InvalidHex(f"expected a 0x-prefixed hex string, got {text!r}"[:200])
    try:
        data = bytes.fromhex(text[2:])
    except ValueError:
        raise InvalidHex(f"not hex digits in pairs: {text!r}"[:200]) from None
    if len(data) * 2 != len(text) - 2:  # bytes.fromhex skips white space
        raise InvalidHex("white space inside a hex string")
    if length is not None and len(data) != length:
        raise InvalidHex(f"expected {length} bytes, got {len(data)}")
    return data
