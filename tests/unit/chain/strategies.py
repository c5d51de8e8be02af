"""Hypothesis strategies for the words of the domain."""

from __future__ import annotations

from hypothesis import strategies as st

from chain.crypto import CURVE_ORDER
from chain.receipts import Log
from chain.transactions import ACCESS_LIST, BLOB, LEGACY, SET_CODE, Authorization, Transaction
from chain.types import Address, Hash32

uint64 = st.integers(0, 2**64 - 1)
uint256 = st.one_of(st.integers(0, 1000), st.integers(0, 2**256 - 1))
addresses = st.binary(min_size=20, max_size=20).map(Address)
hashes = st.binary(min_size=32, max_size=32).map(Hash32)
secrets = st.integers(1, CURVE_ORDER - 1).map(lambda n: n.to_bytes(32, "big"))
access_lists = st.lists(st.tuples(addresses, st.lists(uint256, max_size=3).map(tuple)), max_size=3).map(tuple)
authorizations = st.builds(Authorization, uint256, addresses, uint64, st.integers(0, 255), uint256, uint256)


@st.composite
def transactions(draw: st.DrawFn) -> Transaction:
    """An unsigned transaction of any type, also of kinds no block would take."""
    kind = draw(st.integers(LEGACY, SET_CODE))
    chain_ids = st.integers(0, 2**64)
    price = draw(uint256)
    priced = kind <= ACCESS_LIST
    return Transaction(
        kind,
        draw(st.none() | chain_ids) if kind == LEGACY else draw(chain_ids),
        draw(uint64),
        price if priced else 0,
        price,
        price if priced else draw(uint256),
        draw(uint64),
        draw(st.none() | addresses),
        draw(uint256),
        draw(st.binary(max_size=100)),
        draw(access_lists) if kind != LEGACY else (),
        draw(uint256) if kind == BLOB else 0,
        tuple(draw(st.lists(hashes, max_size=3))) if kind == BLOB else (),
        tuple(draw(st.lists(authorizations, max_size=2))) if kind == SET_CODE else (),
    )


logs = st.builds(Log, addresses, st.lists(hashes, max_size=4).map(tuple), st.binary(max_size=70))
