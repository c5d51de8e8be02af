"""What revert data says: Solidity's Error(string) and Panic(uint256), or the selector of a custom error."""

from __future__ import annotations

from typing import Final, NamedTuple

_ERROR: Final = bytes.fromhex("08c379a0")
"""Error(string)"""
_PANIC: Final = bytes.fromhex("4e487b71")
"""Panic(uint256)"""
_PANICS: Final[dict[int, str]] = {
    0x00: "generic panic",
    0x01: "assertion failed",
    0x11: "arithmetic overflow or underflow",
    0x12: "division or modulo by zero",
    0x21: "value outside the enumeration",
    0x22: "incorrectly encoded storage byte array",
    0x31: "pop of an empty array",
    0x32: "array index out of bounds",
    0x41: "too much memory allocated",
    0x51: "call of an uninitialised internal function",
}


class Revert(NamedTuple):
    """Decoded revert data."""

    reason: str
    """What it says in plain words: the string, or the panic; empty for a custom error."""
    shown: str
    """The same in the form of the call that made it."""


def decode_revert(data: bytes) -> Revert | None:
    """What the data says; None for data of no known form.

    >>> decode_revert(bytes.fromhex("4e487b71") + (0x11).to_bytes(32, "big")).shown
    'Panic(0x11): arithmetic overflow or underflow'
    """
    if data[:4] == _PANIC and len(data) == 36:
        code = int.from_bytes(data[4:], "big")
        text = f"Panic({code:#04x}): {_PANICS.get(code, 'unknown code')}"
        return Revert(text, text)
    if data[:4] == _ERROR and len(data) >= 68:
        offset = int.from_bytes(data[4:36], "big")
        if offset <= len(data) - 36:
            length = int.from_bytes(data[4 + offset : 36 + offset], "big")
            text = data[36 + offset : 36 + offset + length].decode(errors="replace")
            if length <= len(data) - 36 - offset:
                return Revert(text, f"Error({text!r})")
    if len(data) >= 4 and len(data) % 32 == 4:
        return Revert("", f"custom error 0x{data[:4].hex()}")
    return None
