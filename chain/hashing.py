"""Keccak-256, and the hashes of empty bytes, lists and tries."""

from __future__ import annotations

from chain.types import Hash32

try:
    # Ten times faster than pycryptodome on short input, which is what trie nodes and transactions are.
    from sha3 import keccak_256 as _keccak_256
except ImportError:  # pragma: no cover - a platform without a compiled safe-pysha3
    from Crypto.Hash import keccak as _cryptodome_keccak

    def _keccak_256(data: bytes) -> _cryptodome_keccak.Keccak_Hash:
        return _cryptodome_keccak.new(digest_bits=256, data=data)


def keccak256(data: bytes) -> Hash32:
    """Keccak-256 (the original padding, not SHA-3's) of ``data``.

    >>> keccak256(b"").hex()
    'c5d2460186f7233c927e7db2dcc703c0e500b653ca82273b7bfad8045d85a470'
    """
    digest: Hash32 = _keccak_256(data).digest()
    return digest


EMPTY_ROOT = keccak256(b"\x80")
"""Root of a trie without entries: the hash of the RLP of no bytes."""

EMPTY_LIST_HASH = keccak256(b"\xc0")
"""Hash of the RLP of an empty list: what a block without uncles and a transaction without logs carry."""
