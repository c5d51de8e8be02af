"""Ed25519 signatures of session files, with a library that takes 10 MiB: imported when the first one is verified."""

from __future__ import annotations

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey


def is_signed(message: bytes, public: bytes, signature: bytes) -> bool:
    """Whether a signature of 64 bytes is that of a message by a public key of 32."""
    try:
        Ed25519PublicKey.from_public_bytes(public).verify(signature, message)
    except (InvalidSignature, ValueError):
        return False
    return True
