"""Signatures on the curve P-256, with a library that takes 10 MiB: imported when the first one is verified."""

from __future__ import annotations

from typing import Final

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, utils

_ORDER: Final = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
_FIELD: Final = 0xFFFFFFFF00000001000000000000000000000000FFFFFFFFFFFFFFFFFFFFFFFF
_CURVE: Final = ec.SECP256R1()
_PREHASHED: Final = ec.ECDSA(utils.Prehashed(hashes.SHA256()))


def is_signed(digest: bytes, r: int, s: int, x: int, y: int) -> bool:
    """Whether (r, s) signs a digest of 32 bytes by the key (x, y)."""
    if not (0 < r < _ORDER and 0 < s < _ORDER and x < _FIELD and y < _FIELD):
        return False
    try:
        key = ec.EllipticCurvePublicNumbers(x, y, _CURVE).public_key()
        key.verify(utils.encode_dss_signature(r, s), digest, _PREHASHED)
    except (ValueError, InvalidSignature):  # the point is not on the curve; the signature is another's
        return False
    return True
