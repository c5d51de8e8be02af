"""The precompiled contracts ecrecover (Yellow Paper, appendix E) and P256VERIFY (EIP-7951)."""

from __future__ import annotations

from cryptography.exceptions import InvalidSignature as P256Mismatch
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, utils

from chain.crypto import recover
from chain.errors import InvalidSignature
from vm.precompiles.contract import padded, word

_P256_ORDER = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
_P256_FIELD = 0xFFFFFFFF00000001000000000000000000000000FFFFFFFFFFFFFFFFFFFFFFFF
_P256 = ec.SECP256R1()
_PREHASHED = ec.ECDSA(utils.Prehashed(hashes.SHA256()))


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
    r, s, x, y = (word(data, offset) for offset in range(32, 160, 32))
    if not (0 < r < _P256_ORDER and 0 < s < _P256_ORDER and x < _P256_FIELD and y < _P256_FIELD):
        return b""
    try:
        key = ec.EllipticCurvePublicNumbers(x, y, _P256).public_key()
        key.verify(utils.encode_dss_signature(r, s), data[:32], _PREHASHED)
    except (ValueError, P256Mismatch):  # the point is not on the curve; the signature is another's
        return b""
    return bytes(31) + b"\x01"
