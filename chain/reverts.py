"""What revert data says: Solidity's Error(string) and Panic(uint256), or the selector of a custom error."""

from __future__ import annotations

import codecs
from typing import Final, NamedTuple

_ERROR: Final = bytes.fromhex("08c379a0")
"""Error(string)"""
_PANIC: Final = bytes.fromhex("4e487b71")
"""Panic(uint256)"""
_PANICS: Final[dict[int, str]] = {
    0x00: "generic panic",
    0x01: "assert(false)",
    0x11: "arithmetic underflow or overflow",
    0x12: "division or modulo by zero",
    0x21: "enum overflow",
    0x22: "invalid encoded storage byte array accessed",
    0x31: "out-of-bounds array access; popping on an empty array",
    0x32: "out-of-bounds access of an array or bytesN",
    0x41: "out of memory",
    0x51: "uninitialized function",
}
"""As in geth's ``accounts/abi/abi.go``, which has them from ethers.js."""


class Revert(NamedTuple):
    """Decoded revert data."""

    reason: str
    """The reason: the string, or the meaning of the panic code; empty for a custom error."""
    shown: str
    """The error as Solidity writes it, such as ``Panic(0x11)``."""


def unpack_revert(data: bytes) -> str | None:
    """The reason as geth's ``abi.UnpackRevert`` gives it; None if the data is neither an Error nor a Panic.

    >>> unpack_revert(bytes.fromhex("4e487b71") + (0x11).to_bytes(32, "big"))
    'arithmetic underflow or overflow'
    """
    selector, arguments = data[:4], data[4:]
    if len(arguments) < 32:
        return None
    first = int.from_bytes(arguments[:32], "big")
    if selector == _PANIC:
        return _PANICS.get(first) or f"unknown panic code: {first:#x}"
    if selector != _ERROR or first + 32 > len(arguments):
        return None
    end = first + 32 + int.from_bytes(arguments[first : first + 32], "big")
    return None if end > len(arguments) else _text(arguments[first + 32 : end])


def _text(raw: bytes) -> str:
    """UTF-8 with a replacement character for each invalid byte, as Go writes it into JSON."""
    return raw.decode("utf-8", "replace-each-byte")


def _replace_each_byte(error: UnicodeError) -> tuple[str, int]:
    assert isinstance(error, UnicodeDecodeError)
    return "\ufffd" * (error.end - error.start), error.end


codecs.register_error("replace-each-byte", _replace_each_byte)


def decode_revert(data: bytes) -> Revert | None:
    """Decode revert data; None if it has no known form.

    >>> decode_revert(bytes.fromhex("4e487b71") + (0x11).to_bytes(32, "big")).shown
    'Panic(0x11): arithmetic underflow or overflow'
    """
    reason = unpack_revert(data)
    if reason is not None:
        is_panic = data[:4] == _PANIC
        code = int.from_bytes(data[4:36], "big")
        return Revert(reason, f"Panic({code:#04x}): {reason}" if is_panic else f"Error({reason!r})")
    if len(data) >= 4 and len(data) % 32 == 4:
        return Revert("", f"custom error 0x{data[:4].hex()}")
    return None
