"""Payload codecs: everything comes back, and only the canonical encoding is accepted."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from chain.environment import BlockEnvironment, Withdrawal
from chain.forks import BlobSchedule, Fork
from chain.types import ZERO_HASH, Hash32
from storage.errors import InvalidRecord
from storage.wal.records import (
    SCHEMAS,
    RecordType,
    Seal,
    decode_command,
    decode_environment,
    decode_genesis,
    decode_seal,
    encode_command,
    encode_environment,
    encode_genesis,
    encode_seal,
)

uint64 = st.integers(0, 2**64 - 1)
uint256 = st.integers(0, 2**256 - 1)
hashes = st.binary(min_size=32, max_size=32)
addresses = st.binary(min_size=20, max_size=20)
environments = st.builds(
    BlockEnvironment,
    fork=st.sampled_from(Fork),
    chain_id=uint64,
    number=uint64,
    timestamp=uint64,
    gas_limit=uint64,
    coinbase=addresses,
    parent_hash=hashes,
    base_fee=uint256,
    prevrandao=hashes,
    difficulty=uint256,
    excess_blob_gas=uint64,
    blob_schedule=st.builds(BlobSchedule, uint64, uint64, uint64),
    parent_beacon_root=hashes,
    withdrawals=st.lists(st.builds(Withdrawal, uint64, uint64, addresses, uint64), max_size=3).map(tuple),
    extra_data=st.binary(max_size=40),
    nonce=st.binary(min_size=8, max_size=8),
)
seals = st.builds(Seal, hashes, hashes, hashes, uint64, st.binary(max_size=20), st.text(max_size=30))
plain = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**300), 2**300) | st.text(max_size=9) | st.binary(max_size=9),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=12,
)


@given(environments)
def test_environments(environment: BlockEnvironment) -> None:
    payload = encode_environment(environment)
    assert decode_environment(payload) == environment
    for wrong in (payload[:-1], payload + b"\0", b"", b"\xc0"):
        with pytest.raises(InvalidRecord):
            decode_environment(wrong)


@given(seals)
def test_seals(seal: Seal) -> None:
    payload = encode_seal(seal)
    assert decode_seal(payload) == seal
    for wrong in (payload[:-1], payload + b"\0", b"\x90"):
        with pytest.raises(InvalidRecord):
            decode_seal(wrong)


@given(st.text(min_size=1, max_size=64), st.lists(plain, max_size=4))
def test_commands(name: str, arguments: list[Any]) -> None:
    assert decode_command(encode_command(name, arguments)) == (name, arguments)


values = st.integers() | st.text(max_size=5) | st.lists(st.none())


@given(st.dictionaries(st.text(max_size=5), values, max_size=5))
def test_genesis_documents(document: dict[str, Any]) -> None:
    payload = encode_genesis(document)
    assert decode_genesis(payload) == document
    assert encode_genesis(decode_genesis(payload)) == payload


NOT_CANONICAL = [
    b'{"a":1,"a":1}',
    b'{ "a":1}',
    b'{"b":1,"a":1}',
    b"[]",
    b'{"a":NaN}',
    b"\xff",
    b"",
    b"[" * 100_000,
]


@pytest.mark.parametrize("payload", NOT_CANONICAL, ids=lambda payload: repr(payload[:20]))
def test_genesis_documents_that_are_not_canonical(payload: bytes) -> None:
    with pytest.raises(InvalidRecord):
        decode_genesis(payload)


@given(st.binary(max_size=200))
def test_garbage_raises_only_the_declared_error(payload: bytes) -> None:
    for decode in (decode_environment, decode_seal, decode_command, decode_genesis):
        with suppress(InvalidRecord):
            decode(payload)


def test_encodings_that_are_not_canonical() -> None:
    seal = Seal(ZERO_HASH, ZERO_HASH, ZERO_HASH, 5, b"", "vm")
    payload = encode_seal(seal)
    wide = payload.replace(b"\x05\xc4", b"\xcc\x05\xc4")  # 5 as an 8-bit integer instead of a fixint
    assert msgspec.msgpack.decode(wide) == msgspec.msgpack.decode(payload)
    with pytest.raises(InvalidRecord):
        decode_seal(wide)


NESTED: list[Any] = [1]
for _ in range(20):
    NESTED = [NESTED]


@pytest.mark.parametrize("arguments", [[1.5], [{1: 2}], [2**600], [object()], ["\ud800"], NESTED])
def test_commands_take_plain_data_only(arguments: list[Any]) -> None:
    with pytest.raises(InvalidRecord):
        encode_command("name", arguments)


def test_deep_nesting_is_refused_without_recursing() -> None:
    with pytest.raises(InvalidRecord):
        decode_command(b"\x92\xa1n\x91" + b"\x91" * 500_000)


def test_wrong_lengths_are_refused_on_both_sides() -> None:
    with pytest.raises(InvalidRecord):
        encode_seal(Seal(Hash32(b"short"), ZERO_HASH, ZERO_HASH, 5, b"", "vm"))
    with pytest.raises(InvalidRecord):
        encode_environment(BlockEnvironment(Fork.OSAKA, 1, -1, 0, 0))
    with pytest.raises(InvalidRecord):
        encode_environment(BlockEnvironment(Fork.OSAKA, 2**64, 1, 0, 0))


def test_every_type_has_a_schema() -> None:
    assert set(SCHEMAS) == set(RecordType)
