"""The precompiled contracts sha256, ripemd160 and identity (Yellow Paper, appendix E)."""

from __future__ import annotations

import hashlib

from chain.gas_schedule import Price, words_in


def gas(price: Price, data: bytes) -> int:
    """Paid for each word."""
    return price.base + price.each * words_in(len(data))


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
