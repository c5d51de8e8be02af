"""Receipts, blooms and logs."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chain import rlp
from chain.errors import InvalidRlp
from chain.hashing import EMPTY_LIST_HASH, EMPTY_ROOT, keccak256
from chain.receipts import (
    EMPTY_BLOOM,
    Log,
    Receipt,
    bloom_bits,
    bloom_of,
    combine_blooms,
    decode_receipt,
    encode_logs,
    encode_receipt,
    logs_hash,
    receipts_root,
)
from chain.types import Address, Hash32
from tests.unit.chain.strategies import logs, receipts


@settings(deadline=None)
@given(receipts())
def test_round_trip(receipt: Receipt) -> None:
    raw = encode_receipt(receipt)
    assert decode_receipt(raw) == receipt
    assert encode_receipt(decode_receipt(raw)) == raw


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
    assert replace(receipt, gas_used=1).bloom == receipt.bloom


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"\0\xc0",
        b"\x80",
        b"\xc0",
        rlp.encode([b"\2", b"", EMPTY_BLOOM, []]),
        rlp.encode([[], b"", EMPTY_BLOOM, []]),
        rlp.encode([b"\1", b"", EMPTY_BLOOM, b""]),
        rlp.encode([b"\1", b"", b"\1" * 256, []]),
        rlp.encode([b"\1", b"", EMPTY_BLOOM, [b""]]),
        rlp.encode([b"\1", b"", EMPTY_BLOOM, [[b"", [], b""]]]),
        rlp.encode([b"\1", b"", EMPTY_BLOOM, [[bytes(20), [b"\1"], b""]]]),
        rlp.encode([b"\1", b"", EMPTY_BLOOM, [[bytes(20), [Hash32(bytes(32))] * 5, b""]]]),
    ],
)
def test_refusals(raw: bytes) -> None:
    with pytest.raises(InvalidRlp):
        decode_receipt(raw)
