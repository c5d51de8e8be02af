"""Importing blocks: a block made by the rules is accepted, and refused after any change of one of its parts."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import Any

import pytest

from chain.blocks import Block, Header, encode_block, transactions_root, uncles_hash, withdrawals_root
from chain.body_rules import MAX_BLOCK_BYTES, check_size
from chain.difficulty import next_difficulty
from chain.environment import Withdrawal
from chain.errors import (
    BlockTooLarge,
    InvalidBlock,
    InvalidBody,
    InvalidHeader,
    InvalidUncles,
    NonceTooHigh,
    WrongResult,
)
from chain.fees import INITIAL_BASE_FEE, next_base_fee, next_excess_blob_gas
from chain.forks import ChainConfig, Fork
from chain.genesis import Genesis, dev_genesis
from chain.transactions import Transaction, sign_transaction
from chain.types import ZERO_HASH, Address, Hash32
from node.conformance.blocktest import BlockTree
from node.conformance.memory_state import MemoryState
from node.machine.assembly import build_machine
from tests.unit.vm.test_transaction import SECRET, SENDER
from vm.block import BlockExecution, build_header
from vm.importing import environment_of
from vm.rewards import ETHER, block_reward, rewards_of

MINER, UNCLE = Address(b"\xc0" * 20), Address(b"\xc1" * 20)
MACHINE = build_machine()


def tree_of(fork: Fork) -> BlockTree:
    genesis = dev_genesis(1, [SENDER], fork)
    if fork < Fork.PARIS:
        genesis = replace(genesis, difficulty=131_072)
    return tree_of_genesis(genesis)


def tree_of_genesis(genesis: Genesis) -> BlockTree:
    state = MemoryState().after(genesis.delta())
    return BlockTree(MACHINE, genesis.config, Block(genesis.header()), state)


def transfer(nonce: int, *, protected: bool = True) -> Transaction:
    price, chain_id = 10**10, 1 if protected else None
    return sign_transaction(
        Transaction(0, chain_id, nonce, price, price, price, 21_000, MINER, 1, b""), SECRET
    )


def draft(config: ChainConfig, parent: Header, seconds: int, coinbase: Address) -> Header:
    """A header with all that follows from the parent; the rest is filled in by `mint`."""
    number, timestamp = parent.number + 1, parent.timestamp + seconds
    fork = config.fork_at(number, timestamp)
    gas_limit, base_fee = parent.gas_limit, None
    if fork >= Fork.LONDON:
        begins = parent.base_fee is None
        gas_limit *= 2 if begins else 1
        base_fee = (
            INITIAL_BASE_FEE
            if parent.base_fee is None
            else next_base_fee(parent.gas_limit, parent.gas_used, parent.base_fee)
        )
    excess = next_excess_blob_gas(
        parent.excess_blob_gas or 0,
        parent.blob_gas_used or 0,
        parent.base_fee or 0,
        config.blobs_at(timestamp),
        fork,
    )
    return replace(
        parent,
        parent_hash=parent.hash,
        coinbase=coinbase,
        number=number,
        timestamp=timestamp,
        difficulty=next_difficulty(config, number, timestamp, parent) if fork < Fork.PARIS else 0,
        gas_limit=gas_limit,
        base_fee=base_fee,
        excess_blob_gas=excess if fork >= Fork.CANCUN else None,
        parent_beacon_root=ZERO_HASH if fork >= Fork.CANCUN else None,
    )


def mint(
    tree: BlockTree,
    parent: Block,
    transactions: Iterable[Transaction] = (),
    uncles: tuple[Header, ...] = (),
    *,
    seconds: int = 12,
    coinbase: Address = MINER,
    withdrawals: tuple[Withdrawal, ...] = (),
) -> Block:
    """A right block on the parent."""
    header = draft(tree.config, parent.header, seconds, coinbase)
    fork = tree.config.fork_at(header.number, header.timestamp)
    block = Block(header, tuple(transactions), uncles, withdrawals if fork >= Fork.SHANGHAI else None)
    state = tree._known[parent.hash].state
    environment = environment_of(block.header, tree.config, block.withdrawals or ())
    execution = BlockExecution(MACHINE, environment, state, lambda _: ZERO_HASH, root_of=state.root_after)
    execution.begin()
    for tx in block.transactions:
        execution.add(tx, SENDER)
    result = execution.finish(rewards_of(header, uncles, fork))
    built = build_header(environment, result, state.root_after(result.delta), block.transactions, uncles)
    return replace(block, header=built)


def add(tree: BlockTree, block: Block) -> Block:
    return tree.add(encode_block(block))


@pytest.mark.parametrize("fork", list(Fork))
def test_right_blocks_are_accepted(fork: Fork) -> None:
    tree = tree_of(fork)
    tx = transfer(0, protected=fork >= Fork.SPURIOUS_DRAGON)
    first = add(tree, mint(tree, tree.head.block, [tx], withdrawals=(Withdrawal(0, 0, UNCLE, 5),)))
    second = add(tree, mint(tree, first))
    assert tree.head.block.hash == second.hash
    paid = 2 * block_reward(fork) + 1 + 21_000 * (10**10 - (first.header.base_fee or 0))
    assert tree.head.state.accounts[MINER].balance == paid


def test_rewards() -> None:
    rewards = [block_reward(fork) // ETHER for fork in Fork]
    assert rewards == [5, 5, 5, 5, 3, 2, 2, 2, 2, 2, 0, 0, 0, 0, 0]


HEADER_CHANGES: list[tuple[str, Any]] = [
    ("number", 2),
    ("timestamp", 0),
    ("gas_limit", 31_000_000),
    ("gas_limit", 4_999),
    ("gas_used", 30_000_001),
    ("extra_data", bytes(33)),
    ("base_fee", 1),
    ("base_fee", None),
    ("difficulty", 1),
    ("nonce", bytes(7) + b"\1"),
    ("excess_blob_gas", 131_072),
    ("blob_gas_used", 1),
    ("blob_gas_used", 131_072 * 10),
]


@pytest.mark.parametrize(("field", "value"), HEADER_CHANGES)
def test_wrong_headers_are_refused(field: str, value: Any) -> None:
    tree = tree_of(Fork.OSAKA)
    block = mint(tree, tree.head.block, [transfer(0)])
    header = replace(block.header, **{field: value})
    if value is None:
        header = replace(header, withdrawals_root=None, blob_gas_used=None, requests_hash=None)
    with pytest.raises(InvalidBlock) as caught:
        add(tree, replace(block, header=header))
    assert isinstance(caught.value, InvalidHeader)
    assert caught.value.field == field


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("gas_used", 21_001),
        ("blob_gas_used", 131_072),
        ("bloom", b"\1" * 256),
        ("receipts_root", ZERO_HASH),
        ("requests_hash", ZERO_HASH),
        ("state_root", ZERO_HASH),
    ],
)
def test_wrong_results_are_refused(field: str, value: Any) -> None:
    tree = tree_of(Fork.OSAKA)
    block = mint(tree, tree.head.block, [transfer(0)])
    with pytest.raises(WrongResult) as caught:
        add(tree, replace(block, header=replace(block.header, **{field: value})))
    assert caught.value.field == field
    add(tree, block)


def test_wrong_bodies_are_refused() -> None:
    tree = tree_of(Fork.OSAKA)
    block = mint(tree, tree.head.block, [transfer(0)])
    for changed in (
        replace(block, transactions=()),
        replace(block, withdrawals=(Withdrawal(0, 0, UNCLE, 1),)),
        replace(block, withdrawals=None),
        replace(block, uncles=(block.header,)),
    ):
        with pytest.raises(InvalidBody):
            add(tree, changed)
    late = (transfer(1),)
    header = replace(block.header, transactions_root=transactions_root(late))
    with pytest.raises(NonceTooHigh):
        add(tree, replace(block, header=header, transactions=late))
    with pytest.raises(InvalidBlock, match="not known"):
        add(tree, replace(block, header=replace(block.header, parent_hash=Hash32(b"\1" * 32))))


def test_uncles_after_the_merge_are_refused() -> None:
    tree = tree_of(Fork.OSAKA)
    first = mint(tree, tree.head.block)
    uncles = (first.header,)
    with pytest.raises(InvalidHeader, match="after the merge"):
        add(
            tree, replace(first, header=replace(first.header, uncles_hash=uncles_hash(uncles)), uncles=uncles)
        )
    assert first.header.withdrawals_root == withdrawals_root(())


def test_block_size_has_a_limit_from_osaka_on() -> None:
    check_size(MAX_BLOCK_BYTES, Fork.OSAKA)
    check_size(MAX_BLOCK_BYTES + 1, Fork.PRAGUE)
    with pytest.raises(BlockTooLarge):
        check_size(MAX_BLOCK_BYTES + 1, Fork.OSAKA)


def test_uncles_are_paid_once_and_checked() -> None:
    tree = tree_of(Fork.LONDON)
    genesis = tree.head.block
    first = add(tree, mint(tree, genesis))
    uncle = mint(tree, genesis, seconds=13, coinbase=UNCLE).header
    second = add(tree, mint(tree, first, uncles=(uncle,)))
    state = tree.head.state
    assert state.accounts[UNCLE].balance == 2 * ETHER * 7 // 8
    assert state.accounts[MINER].balance == 4 * ETHER + 2 * ETHER // 32
    bad_uncle = replace(uncle, gas_limit=uncle.gas_limit + uncle.gas_limit // 1_024, extra_data=b"x")
    sibling = mint(tree, first, seconds=14).header
    third = mint(tree, second)
    cases: list[tuple[tuple[Header, ...], str]] = [
        ((uncle,), "in the chain already"),
        ((first.header,), "in the chain already"),
        ((replace(uncle, extra_data=b"1"), replace(uncle, extra_data=b"1")), "in the chain already"),
        ((bad_uncle,), "gas_limit"),
        ((replace(uncle, parent_hash=ZERO_HASH),), "not a child of an ancestor"),
        ((replace(sibling, parent_hash=second.hash),), "not a child of an ancestor"),
        (tuple(replace(sibling, extra_data=bytes([n])) for n in range(3)), "3 uncles"),
    ]
    for uncles, reason in cases:
        header = replace(third.header, uncles_hash=uncles_hash(uncles))
        with pytest.raises(InvalidUncles, match=reason):
            add(tree, replace(third, header=header, uncles=uncles))
    add(tree, mint(tree, second, uncles=(sibling,)))


def test_an_uncle_may_be_six_blocks_late_and_no_more() -> None:
    tree = tree_of(Fork.BYZANTIUM)
    uncle = mint(tree, tree.head.block, seconds=13, coinbase=UNCLE).header
    for _ in range(6):
        add(tree, mint(tree, tree.head.block))
    sixth = tree.head.block
    add(tree, mint(tree, sixth, uncles=(uncle,)))
    assert tree.head.state.accounts[UNCLE].balance == 3 * ETHER * 2 // 8
    late = add(tree, mint(tree, sixth, seconds=100))
    with pytest.raises(InvalidUncles, match="2 to 7 blocks back"):
        add(tree, mint(tree, late, uncles=(uncle,)))


def test_the_heavier_chain_is_the_head() -> None:
    tree = tree_of(Fork.LONDON)
    genesis = tree.head.block
    slow = add(tree, mint(tree, genesis, seconds=30))
    add(tree, mint(tree, genesis, seconds=31))
    assert tree.head.block.hash == slow.hash  # the first of equals
    fast = add(tree, mint(tree, genesis, seconds=1))
    assert fast.header.difficulty > slow.header.difficulty
    assert tree.head.block.hash == fast.hash
    slower = add(tree, mint(tree, slow))
    assert tree.head.block.hash == slower.hash
    assert tree.head.total_difficulty == sum(b.header.difficulty for b in (genesis, slow, slower))


def test_london_doubles_the_gas_limit_and_begins_with_a_known_base_fee() -> None:
    genesis = dev_genesis(1, [SENDER], Fork.BERLIN)
    config = replace(genesis.config, block_forks=(*genesis.config.block_forks, (1, Fork.LONDON)))
    tree = tree_of_genesis(replace(genesis, config=config, difficulty=131_072))
    block = mint(tree, tree.head.block)
    assert (block.header.base_fee, block.header.gas_limit) == (INITIAL_BASE_FEE, 60_000_000)
    with pytest.raises(InvalidHeader, match="gas_limit"):
        add(tree, replace(block, header=replace(block.header, gas_limit=30_000_000)))
    add(tree, block)
