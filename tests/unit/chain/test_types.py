"""Hex at the edge, accounts, and forks by number and time."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chain.errors import InvalidHex
from chain.forks import ChainConfig, Fork
from chain.hashing import keccak256
from chain.state import EMPTY_ACCOUNT, EMPTY_CODE_HASH, Account
from chain.types import Hash32, parse_hex


@given(st.binary(max_size=40))
def test_hex_round_trips(data: bytes) -> None:
    assert parse_hex("0x" + data.hex()) == data
    assert parse_hex("0x" + data.hex().upper(), len(data)) == data


@pytest.mark.parametrize("text", ["", "0x0", "00", "0xzz", "0x 00", "0x00 ", 5, None])
def test_bad_hex(text: str) -> None:
    with pytest.raises(InvalidHex):
        parse_hex(text)


def test_lengths() -> None:
    assert parse_hex("0x" + "11" * 20, 20) == b"\x11" * 20
    for length in (20, 22, 32):
        with pytest.raises(InvalidHex):
            parse_hex("0x" + "11" * 21, length)


def test_empty_accounts() -> None:
    assert keccak256(b"") == EMPTY_CODE_HASH
    assert EMPTY_ACCOUNT.is_empty
    for account in (Account(nonce=1), Account(balance=1), Account(code_hash=Hash32(bytes(32)))):
        assert not account.is_empty


def test_fork_at() -> None:
    config = ChainConfig(1, ((0, Fork.FRONTIER), (5, Fork.LONDON)), ((100, Fork.SHANGHAI), (200, Fork.OSAKA)))
    assert config.fork_at(4, 0) == Fork.FRONTIER
    assert config.fork_at(5, 99) == Fork.LONDON
    assert config.fork_at(6, 100) == Fork.SHANGHAI
    assert config.fork_at(6, 200) == Fork.OSAKA
    assert ChainConfig.all_at_genesis(1, Fork.LONDON).fork_at(0, 0) == Fork.LONDON
    assert ChainConfig.all_at_genesis(1).fork_at(0, 0) == Fork.OSAKA
