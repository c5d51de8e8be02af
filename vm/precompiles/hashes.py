"""sha256, ripemd160 and identity (Yellow Paper, appendix E)."""

from __future__ import annotations

import hashlib
from collections.abc import Callable


def gas_per_word(fixed: int, per_word: int) -> Callable[[bytes], int]:
    """Gas of the form ``fixed + per_word * ceil(len / 32)``."""

    def gas(data: bytes) -> int:
        return fixed + per_word * ((len(data) + 31) // 32)

    return gas


def sha256(data: bytes) -> bytes:
    """SHA-256."""
    return hashlib.sha256(data).digest()


def ripemd160(data: bytes) -> bytes:
    """RIPEMD-160, padded on the left to a word."""
    from Crypto.Hash import RIPEMD160  # here: it takes longer to import than most of the machine, and is rarely called

    return bytes(12) + RIPEMD160.new(data).digest()


def identity(data: bytes) -> bytes:
    """The input."""
    return data
