"""The DAO fork on chains that ask for it: balances move at its block, and ten blocks say which side they are on."""

from __future__ import annotations

import subprocess
from dataclasses import replace
from typing import Any

import pytest

from chain.blocks import Block, encode_block
from chain.config_json import config_from_json, config_to_json
from chain.dao import DRAINED_ACCOUNTS, EXTRA_DATA, EXTRA_DATA_BLOCKS, REFUND_CONTRACT
from chain.errors import InvalidHeader
from chain.forks import Fork
from chain.genesis import GenesisAccount, dev_genesis
from chain.state import Account, StateDelta
from chain.types import ZERO_HASH
from node.conformance.blocktest import BlockTree
from tests.programs import find_oracle
from tests.unit.vm.test_importing import MACHINE, MINER, draft, tree_of_genesis
from tests.unit.vm.test_transaction import SENDER
from vm.block import BlockExecution, build_header
from vm.importing import environment_of
from vm.rewards import ETHER, rewards_of

FORK_BLOCK = 2
HELD = {DRAINED_ACCOUNTS[0]: 7 * ETHER, DRAINED_ACCOUNTS[115]: 3}


def chain(**dao: Any) -> BlockTree:
    genesis = dev_genesis(1, [SENDER], Fork.HOMESTEAD)
    config = config_from_json(config_to_json(genesis.config) | dao)
    alloc = genesis.alloc | {address: GenesisAccount(wei) for address, wei in HELD.items()}
    return tree_of_genesis(replace(genesis, difficulty=131_072, config=config, alloc=alloc))


def block_on(tree: BlockTree, parent: Block, extra_data: bytes, moved: StateDelta | None = None) -> Block:
    """An empty block whose state has the change, made here without the rule that is tested."""
    header = replace(draft(tree.config, parent.header, 12, MINER), extra_data=extra_data)
    state = tree._known[parent.hash].state
    after = state if moved is None else state.after(moved)
    environment = environment_of(header, tree.config)
    execution = BlockExecution(MACHINE, environment, after, lambda _: ZERO_HASH, root_of=after.root_after)
    execution.begin()
    result = execution.finish(rewards_of(header, (), environment.fork))
    return Block(build_header(environment, result, after.root_after(result.delta), ()))


def the_move() -> StateDelta:
    emptied = {address: Account() for address in HELD}
    return StateDelta({**emptied, REFUND_CONTRACT: Account(0, sum(HELD.values()))})


def test_balances_move_once_and_blocks_say_so() -> None:
    tree = chain(daoForkBlock=FORK_BLOCK, daoForkSupport=True)
    block = tree.add(encode_block(block_on(tree, tree.head.block, b"before")))
    with pytest.raises(InvalidHeader, match="DAO"):
        tree.add(encode_block(block_on(tree, block, b"", the_move())))
    for number in range(FORK_BLOCK, FORK_BLOCK + EXTRA_DATA_BLOCKS):
        moved = the_move() if number == FORK_BLOCK else None
        block = tree.add(encode_block(block_on(tree, block, EXTRA_DATA, moved)))
        assert tree.head.block.hash == block.hash
        refund = tree.head.state.account(REFUND_CONTRACT)
        assert refund is not None
        assert refund.balance == sum(HELD.values())
        assert all(tree.head.state.accounts[address].balance == 0 for address in HELD)
    tree.add(encode_block(block_on(tree, block, b"after")))


def test_a_chain_that_did_not_go_along_refuses_those_blocks() -> None:
    tree = chain(daoForkBlock=FORK_BLOCK, daoForkSupport=False)
    block = tree.add(encode_block(block_on(tree, tree.head.block, EXTRA_DATA)))
    with pytest.raises(InvalidHeader, match="DAO"):
        tree.add(encode_block(block_on(tree, block, EXTRA_DATA)))
    tree.add(encode_block(block_on(tree, block, b"")))
    assert tree.head.state.accounts[DRAINED_ACCOUNTS[0]].balance == 7 * ETHER


def test_other_chains_do_not_care() -> None:
    tree = chain()
    assert (tree.config.dao_fork, tree.config.dao_support) == (None, False)
    tree.add(encode_block(block_on(tree, tree.head.block, EXTRA_DATA)))


def test_the_accounts_are_those_of_the_execution_specification() -> None:
    python = find_oracle("python")
    if python is None:
        pytest.skip("no execution specification here: `make oracles` installs it")
    text = "from ethereum.forks.dao_fork.dao import *; print(DAO_RECOVERY.hex(), *(a.hex() for a in DAO_ACCOUNTS))"
    said = subprocess.run([python, "-c", text], capture_output=True, text=True, check=True, timeout=60).stdout.split()
    assert said == [REFUND_CONTRACT.hex(), *(address.hex() for address in DRAINED_ACCOUNTS)]
