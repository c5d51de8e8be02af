"""The precompiled contracts sha256, ripemd160 and identity (Yellow Paper, appendix E)."""

from __future__ import annotations

import hashlib
from typing import Final, Protocol

from chain.gas_schedule import Price, words_in
from vm.interruption import checkpoint

_BYTES_AT_ONCE: Final = 1 << 20
"""Some 5 milliseconds of the slower hash; between two such parts a call can be stopped."""


class _Hash(Protocol):
    def update(self, data: bytes, /) -> object: ...


def gas(price: Price, data: bytes) -> int:
    """Paid for each word."""
    return price.base + price.each * words_in(len(data))


def sha256(data: bytes) -> bytes:
    """SHA-256. May be stopped (`vm.interruption`)."""
    hashed = hashlib.sha256(data[:_BYTES_AT_ONCE])
    _take_rest(hashed, data)
    return hashed.digest()


def ripemd160(data: bytes) -> bytes:
    """RIPEMD-160, padded on the left to a word. May be stopped (`vm.interruption`)."""
    from Crypto.Hash import RIPEMD160  # here: it takes longer to import than most of the machine, and is rarely called

    hashed = RIPEMD160.new(data[:_BYTES_AT_ONCE])
    _take_rest(hashed, data)
    return bytes(12) + hashed.digest()


def _take_rest(hashed: _Hash, data: bytes) -> None:
    """Hash what follows the first part, as which `data` was given already."""
    for at in range(_BYTES_AT_ONCE, len(data), _BYTES_AT_ONCE):
        checkpoint()
        hashed.update(data[at : at + _BYTES_AT_ONCE])


def identity(data: bytes) -> bytes:
    """The input."""
    return data
