"""Importing the chain of execution-apis: 54 blocks through every fork from Homestead to BPO2."""

from __future__ import annotations

import json

import pytest

from chain.blocks import Block, encode_block
from chain.errors import InvalidBlock
from chain.forks import Fork
from chain.genesis import Genesis
from node.conformance.blocktest import BlockTree
from node.conformance.memory_state import MemoryState
from tests.conformance.test_genesis_vectors import RPC_COMPAT, chain_blocks
from tests.unit.vm.programs import MACHINE


def test_the_chain_imports_block_by_block() -> None:
    genesis = Genesis.from_json(json.loads(RPC_COMPAT["genesis.json"]))
    state = MemoryState().after(genesis.delta())
    tree = BlockTree(MACHINE, genesis.config, Block(genesis.header()), state)
    forks, blob_targets = set(), set()
    for block in chain_blocks():
        assert tree.add(encode_block(block)).hash == block.hash
        assert tree.head.block.hash == block.hash
        assert tree.head.state.root() == block.header.state_root
        forks.add(genesis.config.fork_at(block.header.number, block.header.timestamp))
        blob_targets.add(genesis.config.blobs_at(block.header.timestamp).target)
    assert forks == set(Fork) - {Fork.FRONTIER}
    assert blob_targets == {3, 6, 10, 14}
    wanted = json.loads(RPC_COMPAT["headfcu.json"])["params"][0]["headBlockHash"]
    assert "0x" + tree.head.block.hash.hex() == wanted


def test_a_chain_with_other_rules_refuses_it() -> None:
    document = json.loads(RPC_COMPAT["genesis.json"])
    document["config"]["byzantiumBlock"] = 8
    genesis = Genesis.from_json(document)
    tree = BlockTree(
        MACHINE, genesis.config, Block(genesis.header()), MemoryState().after(genesis.delta())
    )
    *before, eighth = (encode_block(block) for block in chain_blocks()[:8])
    for raw in before:
        tree.add(raw)
    with pytest.raises(InvalidBlock):
        tree.add(eighth)
