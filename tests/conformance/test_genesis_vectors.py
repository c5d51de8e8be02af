"""GenesisTests, and the genesis and chain of execution-apis."""

from __future__ import annotations

import json

import pytest

from chain import rlp
from chain.blocks import (
    Block,
    decode_block,
    encode_block,
    encode_header,
    transactions_root,
    uncles_hash,
    withdrawals_root,
)
from chain.genesis import Genesis
from chain.hashing import keccak256
from node.conformance.blocktest import BlockTree
from node.conformance.memory_state import MemoryState
from node.machine.assembly import build_machine
from node.machine.object_cache import FileObjectCache
from tests.conformance.archives import cases, files
from tests.conformance.matrix import ENGINES
from tests.paths import OBJECTS

RPC_COMPAT = {
    path.rsplit("/")[-1]: data for path, data in files("execution-apis-rpc-compat") if ".io" not in path
}


def chain_blocks() -> list[Block]:
    """The blocks of chain.rlp, each checked to encode to the bytes it came from."""
    data = RPC_COMPAT["chain.rlp"]
    payload = rlp.encode_length(len(data), 0xC0) + data
    blocks = []
    for raw in rlp.split_items(payload):
        block = decode_block(raw)
        assert encode_block(block) == raw
        blocks.append(block)
    return blocks


def test_genesis_is_the_parent_of_block_one() -> None:
    genesis = Genesis.from_json(json.loads(RPC_COMPAT["genesis.json"]))
    assert genesis.header().hash == chain_blocks()[0].header.parent_hash


def test_genesis_round_trips() -> None:
    genesis = Genesis.from_json(json.loads(RPC_COMPAT["genesis.json"]))
    assert Genesis.from_json(genesis.to_json()) == genesis
    assert Genesis.from_json(genesis.to_json()).header() == genesis.header()


def test_chain_links_and_roots() -> None:
    genesis = Genesis.from_json(json.loads(RPC_COMPAT["genesis.json"]))
    parent = genesis.header()
    for block in chain_blocks():
        header = block.header
        assert header.parent_hash == parent.hash
        assert header.hash == keccak256(encode_header(header))
        assert header.transactions_root == transactions_root(block.transactions)
        assert header.uncles_hash == uncles_hash(block.uncles)
        if header.withdrawals_root is not None:
            assert block.withdrawals is not None
            assert header.withdrawals_root == withdrawals_root(block.withdrawals)
        parent = header
    assert parent.number == 54


def test_forks_of_the_chain_show_in_its_headers() -> None:
    config = Genesis.from_json(json.loads(RPC_COMPAT["genesis.json"])).config
    for block in chain_blocks():
        fork = config.fork_at(block.header.number, block.header.timestamp).name
        fields = len(rlp.decode_list(encode_header(block.header)))
        expected = {"LONDON": 16, "PARIS": 16, "SHANGHAI": 17, "CANCUN": 20, "PRAGUE": 21, "OSAKA": 21}
        assert fields == expected.get(fork, 15), fork
        assert (block.header.difficulty == 0) == (fork == "PARIS" or fields > 16)


@pytest.mark.parametrize("engine", ENGINES)
def test_the_chain_imports_through_every_fork(engine: str) -> None:
    """Frontier to Osaka and two changes of the blob schedule, mined, merged and withdrawn from."""
    document = json.loads(RPC_COMPAT["genesis.json"])
    genesis = Genesis.from_json(document)
    accounts = {
        f"0x{address.removeprefix('0x')}": {"code": "0x", "nonce": "0x0", "storage": {}, **account}
        for address, account in document["alloc"].items()
    }
    state = MemoryState.from_json(accounts)
    assert state.root() == genesis.header().state_root
    machine = build_machine(engine=engine, cache=FileObjectCache(OBJECTS))
    tree = BlockTree(machine, genesis.config, Block(genesis.header(), withdrawals=None), state)
    for block in chain_blocks():
        tree.add(encode_block(block))
    head = json.loads(RPC_COMPAT["headfcu.json"])["params"][0]["headBlockHash"]
    assert tree.head.block.hash.hex() == head.removeprefix("0x")


def test_basic_genesis_tests() -> None:
    count = 0
    for _, name, case in cases("ethtests-v14.1-small", "GenesisTests/"):
        genesis = Genesis.from_json({**case, "config": {"chainId": 1}})
        assert encode_block(Block(genesis.header())).hex() == case["result"], name
        count += 1
    assert count
