"""How a run ended, in words: the reason, the output, and what a revert says (Error, Panic, or raw)."""

from __future__ import annotations

from typing import Final

import msgspec

from debugger.words import hex_of
from vm.message import Halt, Outcome

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


class HaltState(msgspec.Struct, frozen=True, rename="camel", omit_defaults=True):
    """The end of a run, or of one message."""

    reason: str
    """Name of `vm.message.Halt` in lower case: stop, return, selfdestruct, revert, out_of_gas ..."""
    success: bool
    gas_left: int
    output: str = "0x"
    """Return or revert data."""
    message: str | None = None
    """What a revert says, decoded."""
    created: str | None = None
    gas_used: int | None = None
    """For a transaction: gas paid for, refunds and intrinsic gas included."""


def decode_revert(data: bytes) -> str | None:
    """What Error(string), Panic(uint256) or a custom error says; None for data of no known form.

    >>> decode_revert(bytes.fromhex("4e487b71") + (0x11).to_bytes(32, "big"))
    'Panic(0x11): arithmetic overflow or underflow'
    """
    if data[:4] == _PANIC and len(data) == 36:
        code = int.from_bytes(data[4:], "big")
        return f"Panic({code:#04x}): {_PANICS.get(code, 'unknown code')}"
    if data[:4] == _ERROR and len(data) >= 68:
        offset = int.from_bytes(data[4:36], "big")
        if offset <= len(data) - 36:
            length = int.from_bytes(data[4 + offset : 36 + offset], "big")
            text = data[36 + offset : 36 + offset + length]
            if length == len(text):
                return f"Error({text.decode(errors='replace')!r})"
    if len(data) >= 4 and len(data) % 32 == 4:
        return f"custom error 0x{data[:4].hex()}"
    return None


def halt_name(halt: Halt) -> str:
    """The name the API uses."""
    return halt.name.lower()


def halt_state(outcome: Outcome, gas_used: int | None = None) -> HaltState:
    """The outcome as plain data."""
    return HaltState(
        halt_name(outcome.halt),
        outcome.success,
        outcome.gas_left,
        hex_of(outcome.output),
        decode_revert(outcome.output) if outcome.halt is Halt.REVERT else None,
        None if outcome.created is None else hex_of(outcome.created),
        gas_used,
    )
