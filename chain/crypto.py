"""Signatures on secp256k1, and the addresses made from keys, nonces and salts."""

from __future__ import annotations

from coincurve import PrivateKey, PublicKey

from chain import rlp
from chain.errors import InvalidSignature
from chain.hashing import keccak256
from chain.types import Address, Hash32

CURVE_ORDER = 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141
"""Number of points of secp256k1; r, s and secrets are in [1, CURVE_ORDER)."""

HALF_CURVE_ORDER = CURVE_ORDER // 2
"""The largest s that is not malleable (EIP-2)."""


def recover(digest: bytes, y_parity: int, r: int, s: int) -> Address:
    """Address of the key that signed the 32-byte ``digest``. Accepts high s. Raises `InvalidSignature`."""
    if not (0 < r < CURVE_ORDER and 0 < s < CURVE_ORDER):
        raise InvalidSignature("r or s is out of range")
    if y_parity not in (0, 1):
        raise InvalidSignature(f"y parity is {y_parity}, not 0 or 1")
    compact = r.to_bytes(32, "big") + s.to_bytes(32, "big") + bytes((y_parity,))
    try:
        key = PublicKey.from_signature_and_message(compact, digest, hasher=None)
    except Exception:  # coincurve raises bare Exception and ValueError
        raise InvalidSignature("the signature recovers no key") from None
    return Address(keccak256(key.format(compressed=False)[1:])[12:])


def sign(digest: bytes, secret: bytes) -> tuple[int, int, int]:
    """Deterministic (RFC 6979) low-s signature of a 32-byte digest: y parity, r, s.

    Raises `InvalidSignature` for a bad secret.
    """
    compact = _private_key(secret).sign_recoverable(digest, hasher=None)
    return compact[64], int.from_bytes(compact[:32], "big"), int.from_bytes(compact[32:64], "big")


def address_of_secret(secret: bytes) -> Address:
    """Address of the account a 32-byte secret key controls. Raises `InvalidSignature`.

    >>> address_of_secret(bytes(31) + b"\\x01").hex()
    '7e5f4552091a69125d5dfcb7b8c2659029395bdf'
    """
    return Address(keccak256(_private_key(secret).public_key.format(compressed=False)[1:])[12:])


def create_address(sender: Address, nonce: int) -> Address:
    """Address of the contract that ``sender`` creates with ``nonce`` (Yellow Paper, section 7)."""
    return Address(keccak256(rlp.encode((sender, rlp.encode_int(nonce))))[12:])


def create2_address(sender: Address, salt: int, initcode: bytes) -> Address:
    """Address of a contract created with CREATE2 (EIP-1014). ``salt`` is in [0, 2**256)."""
    return create2_address_of_hash(sender, salt, keccak256(initcode))


def create2_address_of_hash(sender: Address, salt: int, initcode_hash: Hash32) -> Address:
    """`create2_address` where the hash of the initcode is known."""
    return Address(keccak256(b"\xff" + sender + salt.to_bytes(32, "big") + initcode_hash)[12:])


def _private_key(secret: bytes) -> PrivateKey:
    if len(secret) != 32 or not 0 < int.from_bytes(secret, "big") < CURVE_ORDER:
        raise InvalidSignature("a secret key is 32 bytes, above zero and below the curve order")
    return PrivateKey(secret)
