"""Receipts, logs and blooms."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import NamedTuple

from chain import rlp
from chain.hashing import keccak256
from chain.trie import ordered_root
from chain.types import Address, Hash32

BLOOM_BYTES = 256
EMPTY_BLOOM = bytes(BLOOM_BYTES)

BLOOM_CACHE_ENTRIES = 4096
"""Addresses and topics whose bloom bits are cached, as event signatures and busy contracts recur. About 2 MB."""


class Log(NamedTuple):
    """A log entry, as LOG0 to LOG4 emit it (Yellow Paper 4.3.1)."""

    address: Address
    topics: tuple[Hash32, ...]
    data: bytes


@dataclass(frozen=True, slots=True)
class Receipt:
    """A transaction's receipt (Yellow Paper 4.3.1). RPC answers use the fields after ``logs``."""

    type: int
    status: int | None
    """1 success, 0 failure; None before Byzantium."""
    post_state: bytes | None
    """State root after the transaction before Byzantium, else None (EIP-658)."""
    cumulative_gas_used: int
    """Gas of the block up to and including this transaction."""
    logs: tuple[Log, ...]
    gas_used: int = 0
    effective_gas_price: int = 0
    """Wei per gas."""
    contract_address: Address | None = None
    blob_gas_used: int | None = None
    blob_gas_price: int | None = None
    _bloom: bytes | None = field(init=False, default=None, repr=False, compare=False)

    @property
    def bloom(self) -> bytes:
        """The 256-byte bloom of the logs, computed when first asked for."""
        bloom = self._bloom
        if bloom is None:
            bloom = bloom_of(self.logs)
            object.__setattr__(self, "_bloom", bloom)
        return bloom


@lru_cache(maxsize=BLOOM_CACHE_ENTRIES)
def bloom_bits(data: bytes) -> int:
    """The three of 2048 bits that an address or topic sets (Yellow Paper 4.3.1), as an integer."""
    digest = keccak256(data)
    return (
        1 << ((digest[0] << 8 | digest[1]) & 2047)
        | 1 << ((digest[2] << 8 | digest[3]) & 2047)
        | 1 << ((digest[4] << 8 | digest[5]) & 2047)
    )


def bloom_of(logs: Iterable[Log]) -> bytes:
    """Bloom filter of the addresses and topics of these logs."""
    words = set()
    for log in logs:
        words.add(bytes(log.address))
        words.update(log.topics)
    if not words:
        return EMPTY_BLOOM
    bits = 0
    for word in words:
        bits |= bloom_bits(word)
    return bits.to_bytes(BLOOM_BYTES, "big")


def combine_blooms(blooms: Iterable[bytes]) -> bytes:
    """Union of blooms: the header's bloom of those of its receipts."""
    bits = 0
    for bloom in blooms:
        if bloom is not EMPTY_BLOOM:
            bits |= int.from_bytes(bloom, "big")
    return bits.to_bytes(BLOOM_BYTES, "big") if bits else EMPTY_BLOOM


def encode_logs(logs: Sequence[Log]) -> bytes:
    """RLP of a list of logs."""
    return rlp.encode(logs)


def logs_hash(logs: Sequence[Log]) -> Hash32:
    """Hash of the RLP of the logs, as state tests compare it."""
    return keccak256(encode_logs(logs))


def encode_receipt(receipt: Receipt) -> bytes:
    """The consensus encoding (EIP-2718), as in the receipts trie."""
    if receipt.status is not None:
        outcome = b"\x01" if receipt.status else b""
    else:
        outcome = receipt.post_state or b""
    fields = (outcome, rlp.encode_int(receipt.cumulative_gas_used), receipt.bloom, receipt.logs)
    encoded = rlp.encode(fields)
    return bytes((receipt.type,)) + encoded if receipt.type else encoded


def receipts_root(receipts: Iterable[Receipt]) -> Hash32:
    """Root of the trie of a block's receipts."""
    return ordered_root([encode_receipt(receipt) for receipt in receipts])
