"""The precompiled contracts ecrecover (Yellow Paper, appendix E) and P256VERIFY (EIP-7951)."""

from __future__ import annotations

from chain.crypto import recover
from chain.errors import InvalidSignature
from vm.precompiles.contract import padded, word


def ecrecover(data: bytes) -> bytes:
    """Address of the signer, padded to a word; nothing if the signature is bad. High s is accepted."""
    v = word(data, 32)
    if v not in (27, 28):
        return b""
    try:
        address = recover(padded(data, 0, 32), v - 27, word(data, 64), word(data, 96))
    except InvalidSignature:
        return b""
    return bytes(12) + address


def p256verify(data: bytes) -> bytes:
    """The word 1 if (hash, r, s, x, y) is a valid P-256 signature, else nothing."""
    if len(data) != 160:
        return b""
    from vm.precompiles.p256 import is_signed  # loads a library that few chains need

    r, s, x, y = (word(data, offset) for offset in range(32, 160, 32))
    return bytes(31) + b"\x01" if is_signed(data[:32], r, s, x, y) else b""
