"""The BLAKE2b compression function F (EIP-152)."""

from __future__ import annotations

import struct

from vm.errors import PrecompileError
from vm.precompiles.contract import native

_INPUT_BYTES = 213
_LAYOUT = struct.Struct("<8Q16Q2Q")


def gas(data: bytes) -> int:
    """One per round."""
    return int.from_bytes(data[:4], "big") if len(data) == _INPUT_BYTES else 0


def blake2f(data: bytes) -> bytes:
    """The state after ``rounds`` rounds: rounds, h[8], m[16], t[2], final flag."""
    if len(data) != _INPUT_BYTES:
        raise PrecompileError("invalid input length")
    if data[212] not in (0, 1):
        raise PrecompileError("invalid final flag")
    compress = native("blake2b", "blake2f", 0x09).compress
    words = _LAYOUT.unpack(data[4:212])
    return bytes(compress(int.from_bytes(data[:4], "big"), words[:8], words[8:24], words[24:], data[212] == 1))
