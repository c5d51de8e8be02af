"""Proofs of every kept block are accepted by py-trie."""

from __future__ import annotations

import random

import pytest
import rlp
from trie import HexaryTrie

from chain.hashing import EMPTY_ROOT, keccak256
from chain.state import StateDelta
from chain.trie import state_root_of, storage_root_of
from chain.types import Address
from storage.state.apply import account_leaf
from storage.state.proof import SLOTS_MAX, prove
from storage.state.store import StateStore
from tests.simulation.simkv import SimKv
from tests.unit.storage.test_state import ADDRESSES, SLOTS, World, advance, random_delta, write_down


def proven(root: bytes, key: bytes, nodes: tuple[bytes, ...]) -> bytes:
    """What py-trie finds under a key, given these nodes only."""
    if root == EMPTY_ROOT:
        assert not nodes
        return b""
    found: bytes = HexaryTrie.get_from_proof(root, keccak256(key), [rlp.decode(node) for node in nodes])
    return found


@pytest.mark.parametrize("seed", range(4))
def test_proofs_of_all_blocks(seed: int) -> None:
    rng = random.Random(seed)
    kv = SimKv()
    store = StateStore(kv)
    store.apply(0, StateDelta())
    worlds: list[World] = [{}]
    for step in range(1, 25):
        delta = random_delta(rng)
        worlds.append(advance(worlds[-1], delta))
        store.apply(len(worlds) - 1, delta)
        if step in (6, 13, 14):
            write_down(store, kv)
        if step in (10, 17):
            del worlds[-3:]
            store.rewind(len(worlds) - 1)
    for number, world in enumerate(worlds):
        for address in (*ADDRESSES, Address(bytes(20))):
            proof = prove(store.view(number), address, SLOTS)
            assert proof.state_root == state_root_of(world)
            assert proven(proof.state_root, address, proof.nodes) == account_leaf(proof.stored)
            account, slots = world.get(address, (None, {}))
            assert proof.stored == (account, storage_root_of(slots))
            for item in proof.slots:
                assert item.value == slots.get(item.slot, 0)
                leaf = proven(proof.stored.root, item.slot.to_bytes(32, "big"), item.nodes)
                assert leaf == (rlp.encode(item.value) if item.value else b"")


def test_limit_of_slots() -> None:
    store = StateStore(SimKv())
    store.apply(0, StateDelta())
    with pytest.raises(ValueError, match="slots"):
        prove(store.view(0), ADDRESSES[0], range(SLOTS_MAX + 1))
