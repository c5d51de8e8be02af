"""Receipts, blooms and logs."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from chain.hashing import EMPTY_LIST_HASH, EMPTY_ROOT, keccak256
from chain.receipts import (
    EMPTY_BLOOM,
    Log,
    Receipt,
    bloom_bits,
    bloom_of,
    combine_blooms,
    encode_logs,
    logs_hash,
    receipts_root,
)
from chain.types import Address
from tests.unit.chain.strategies import logs


@given(st.lists(logs, max_size=5))
def test_bloom_holds_every_word(entries: list[Log]) -> None:
    bits = int.from_bytes(bloom_of(entries), "big")
    for log in entries:
        for word in (log.address, *log.topics):
            assert bloom_bits(word) & ~bits == 0
    assert combine_blooms(bloom_of([log]) for log in entries) == bloom_of(entries)


def test_bloom_example() -> None:
    """An address sets exactly the bits that the first three byte pairs of its hash name."""
    address = bytes.fromhex("095e7baea6a6c7c4c2dfeb977efac326af552d87")
    digest = keccak256(address)
    expected = {int.from_bytes(digest[i : i + 2], "big") % 2048 for i in (0, 2, 4)}
    assert {bit for bit in range(2048) if bloom_bits(address) >> bit & 1} == expected


def test_empty() -> None:
    assert bloom_of([]) == EMPTY_BLOOM == combine_blooms([])
    assert logs_hash([]) == EMPTY_LIST_HASH
    assert encode_logs([]) == b"\xc0"
    assert receipts_root([]) == EMPTY_ROOT


def test_bloom_is_computed_once() -> None:
    receipt = Receipt(2, 1, None, 21_000, (Log(Address(bytes(20)), (), b""),))
    assert receipt.bloom is receipt.bloom
