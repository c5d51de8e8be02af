"""Trie roots against py-trie, and the node words."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from trie import HexaryTrie

from chain import rlp
from chain.errors import InvalidRlp
from chain.hashing import EMPTY_ROOT, keccak256
from chain.state import Account
from chain.trie import (
    decode_path,
    encode_account,
    encode_path,
    ordered_root,
    reference,
    secure_trie_root,
    state_root_of,
    storage_root_of,
    trie_root,
)
from chain.types import Address

# Few letters and short keys give long common prefixes and keys that are prefixes of others.
short_keys = st.lists(st.sampled_from([0x00, 0x01, 0x10, 0x11, 0xFF]), max_size=5).map(bytes)
values = st.binary(max_size=50)


def root_of_py_trie(mapping: dict[bytes, bytes]) -> bytes:
    trie = HexaryTrie({})
    for key, value in mapping.items():
        trie[key] = value
    return bytes(trie.root_hash)


@settings(deadline=None)
@given(st.dictionaries(short_keys | st.binary(min_size=32, max_size=32), values, max_size=40))
def test_root_agrees_with_py_trie(mapping: dict[bytes, bytes]) -> None:
    assert trie_root(mapping) == root_of_py_trie(mapping)
    hashed = {keccak256(key): value for key, value in mapping.items()}
    assert secure_trie_root(mapping) == root_of_py_trie(hashed)


@settings(deadline=None, max_examples=20)
@given(st.lists(st.binary(min_size=1, max_size=120), max_size=300))
def test_ordered_root_agrees_with_py_trie(items: list[bytes]) -> None:
    assert ordered_root(items) == root_of_py_trie(
        {rlp.encode(rlp.encode_int(i)): x for i, x in enumerate(items)}
    )


@given(st.text("0123456789abcdef", max_size=64), st.booleans())
def test_paths_round_trip(path: str, is_leaf: bool) -> None:
    assert decode_path(encode_path(path, is_leaf)) == (path, is_leaf)


@pytest.mark.parametrize("text", ["", "40", "01", "2f", "f0"])
def test_bad_paths(text: str) -> None:
    with pytest.raises(InvalidRlp):
        decode_path(bytes.fromhex(text))


def test_reference() -> None:
    assert reference(b"x" * 31) == b"x" * 31
    assert reference(b"x" * 32) == b"\xa0" + keccak256(b"x" * 32)


def test_long_keys_are_a_bug() -> None:
    with pytest.raises(AssertionError):
        trie_root({bytes(129): b"x"})


def test_accounts() -> None:
    assert rlp.decode(encode_account(Account(1, 2))) == [b"\1", b"\2", EMPTY_ROOT, Account().code_hash]


def test_state_root() -> None:
    rich, plain = Address(b"\1" * 20), Address(b"\2" * 20)
    storage = {0: 1, 2**256 - 1: 2**255, 7: 0}
    slots = {
        keccak256(slot.to_bytes(32, "big")): rlp.encode(rlp.encode_int(x)) for slot, x in storage.items() if x
    }
    assert storage_root_of(storage) == root_of_py_trie(slots)
    expected = root_of_py_trie(
        {
            keccak256(rich): encode_account(Account(1, 5), storage_root_of(storage)),
            keccak256(plain): encode_account(Account()),
        }
    )
    assert state_root_of({rich: (Account(1, 5), storage), plain: (Account(), {})}) == expected
    assert state_root_of({}) == EMPTY_ROOT
    assert storage_root_of({1: 0}) == EMPTY_ROOT
