"""Headers and blocks: round trips and refusals."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chain import rlp
from chain.blocks import (
    EMPTY_REQUESTS_HASH,
    EMPTY_UNCLES_HASH,
    Block,
    Header,
    decode_block,
    decode_header,
    decode_withdrawal,
    encode_block,
    encode_header,
    encode_withdrawal,
    requests_hash_of,
    transactions_root,
    uncles_hash,
    withdrawals_root,
)
from chain.environment import Withdrawal
from chain.errors import InvalidRlp
from chain.forks import Fork
from chain.genesis import dev_genesis
from chain.hashing import EMPTY_ROOT, keccak256
from chain.types import Address
from tests.unit.chain.strategies import addresses, transactions, uint64
from tests.unit.chain.test_transactions import example

withdrawals = st.builds(Withdrawal, uint64, uint64, addresses, uint64)


def header_of(fork: Fork) -> Header:
    return dev_genesis(1, [Address(bytes(20))], fork).header()


@pytest.mark.parametrize(
    ("fork", "fields"),
    [(Fork.FRONTIER, 15), (Fork.LONDON, 16), (Fork.SHANGHAI, 17), (Fork.CANCUN, 20), (Fork.OSAKA, 21)],
)
def test_headers_of_every_length(fork: Fork, fields: int) -> None:
    header = header_of(fork)
    raw = encode_header(header)
    assert len(rlp.decode_list(raw)) == fields
    assert decode_header(raw) == header
    assert decode_header(raw).hash == header.hash == keccak256(raw)
    with pytest.raises(InvalidRlp):
        decode_header(rlp.encode(rlp.decode_list(raw)[:14]))
    for index, item in enumerate(rlp.decode_list(raw)):
        for bad in ([], b"\0") if index != 12 else ([],):
            damaged = [*rlp.decode_list(raw)[:index], bad, *rlp.decode_list(raw)[index + 1 :]]
            if item != bad:
                with pytest.raises(InvalidRlp):
                    decode_header(rlp.encode(damaged))


@settings(deadline=None, max_examples=30)
@given(st.lists(transactions(), max_size=5), st.none() | st.lists(withdrawals, max_size=3), st.booleans())
def test_blocks_round_trip(txs: list, entries: list | None, has_uncle: bool) -> None:
    uncles = (header_of(Fork.HOMESTEAD),) if has_uncle else ()
    block = Block(header_of(Fork.OSAKA), tuple(txs), uncles, None if entries is None else tuple(entries))
    raw = encode_block(block)
    assert decode_block(raw) == block
    assert encode_block(decode_block(raw)) == raw
    assert decode_block(raw).hash == block.hash


def test_typed_transactions_are_byte_strings() -> None:
    block = Block(header_of(Fork.LONDON), (example(0), example(2)))
    parts = rlp.decode_list(encode_block(block))
    assert isinstance(parts[1][0], list)
    assert isinstance(parts[1][1], bytes)


def test_refused_blocks() -> None:
    raw = encode_block(Block(header_of(Fork.LONDON), (example(0),)))
    header, _, uncles = rlp.decode_list(raw)
    legacy = rlp.encode(rlp.decode_list(raw)[1][0])
    for parts in ([header], [header, [legacy], uncles], [header, [b""], uncles], [header, b"", uncles]):
        with pytest.raises(InvalidRlp):
            decode_block(rlp.encode(parts))


def test_refused_withdrawals() -> None:
    good = rlp.decode_list(encode_withdrawal(Withdrawal(1, 2, Address(bytes(20)), 3)))
    for bad in (good[:3], [*good[:2], b"", good[3]], [b"\0", *good[1:]], [[], *good[1:]]):
        with pytest.raises(InvalidRlp):
            decode_withdrawal(rlp.encode(bad))


def test_roots_of_nothing() -> None:
    assert transactions_root([]) == withdrawals_root([]) == EMPTY_ROOT
    assert uncles_hash([]) == EMPTY_UNCLES_HASH
    assert requests_hash_of([]) == EMPTY_REQUESTS_HASH == requests_hash_of([b"\0"])
    assert requests_hash_of([b"\0\1"]) != EMPTY_REQUESTS_HASH


def test_hash_follows_the_fields() -> None:
    header = header_of(Fork.OSAKA)
    assert header.hash is header.hash
    assert replace(header, number=5).hash != header.hash
