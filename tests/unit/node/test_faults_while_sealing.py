"""Transactions that meet a bug or a missing library while they execute: each is refused once, and the block goes on."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest

import vm.transaction
from chain.forks import Fork
from chain.transactions import Transaction, encode_transaction, impersonate
from chain.types import Address
from node.api.errors import ExecutionFault
from node.engine.pool import PooledTransaction
from node.engine.requests import Cheat, Control, Mine, Submit
from tests.durability.nodes import LocalNode
from tests.signed import unsigned_transfer
from vm.block import BlockExecution
from vm.precompiles.contract import native

CALLER = Address(b"\x51" * 20)
WRITES_AND_CALLS = bytes.fromhex("600160005560016001556000600061010060006000600b61fffff100")
"""Sets slots 0 and 1, then adds two points of BLS12-381: what is missing is met in the middle of a transaction."""
PLAIN = Address(b"\x52" * 20)
SETTLES_BADLY = 666
"""Wei of a transfer that executes and then fails to be paid for."""
ETHER = 10**18


@pytest.fixture
def local(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """A node that does not seal by itself, on a machine without the library of BLS12-381."""
    node = LocalNode(tmp_path / "data")
    node.ask(lambda done: Control(done, "automine", False))
    node.ask(lambda done: Cheat(done, "impersonate_all", (True,)))
    node.ask(lambda done: Cheat(done, "amend", ([CALLER, None, None, WRITES_AND_CALLS, []],)))
    native.cache_clear()
    monkeypatch.setitem(sys.modules, "py_arkworks_bls12381", None)
    yield node
    node.close()
    native.cache_clear()


def sender(number: int) -> Address:
    return Address((0xABCD0000 + number).to_bytes(20, "big"))


def candidate(node: LocalNode, number: int, to: Address, wei: int = 1) -> PooledTransaction:
    """The first transaction of an account that nobody has a key of."""
    unsigned = unsigned_transfer(to, 0, wei=wei, gas=21_000 if to == PLAIN else 100_000)
    signed = impersonate(unsigned, sender(number))
    return PooledTransaction(signed, sender(number), encode_transaction(signed))


def submit_all(node: LocalNode, candidates: list[PooledTransaction]) -> list[object]:
    """Fund the senders and put everything into the pool; a list that fills when blocks or refusals come."""
    node.ask(lambda done: Cheat(done, "amend", tuple([c.sender, None, ETHER, None, []] for c in candidates)))
    answers: list[object] = [None] * len(candidates)

    def asks(at: int, one: PooledTransaction) -> Any:
        return lambda _: Submit(lambda answer: answers.__setitem__(at, answer), one, wait_mined=True)

    node.ask(*(asks(at, one) for at, one in enumerate(candidates)))
    return answers


def test_a_thousand_faults_in_one_block(local: LocalNode, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Nothing is executed twice, the good ones keep their order, and the log replays to the same state."""
    runs: list[Transaction] = []
    run = BlockExecution.run

    def counted(self: BlockExecution, tx: Transaction, *rest: Any, **named: Any) -> Any:
        runs.append(tx)
        return run(self, tx, *rest, **named)

    monkeypatch.setattr(BlockExecution, "run", counted)
    candidates = [candidate(local, number, CALLER if number % 2 else PLAIN) for number in range(2_000)]
    answers = submit_all(local, candidates)
    local.mine()
    good = [one.transaction.hash for one in candidates[::2]]
    assert answers[::2] == good
    assert all(isinstance(answer, ExecutionFault) for answer in answers[1::2])
    assert len(runs) == len(candidates)
    block = local.store.chain.block(local.store.head.number)
    assert block is not None
    assert [transaction.hash for transaction in block.transactions] == good
    state = local.applied.newest_state()
    assert [state.storage(CALLER, slot) for slot in (0, 1)] == [0, 0]
    for one in candidates[1::2]:
        account = state.account(one.sender)
        assert account is not None
        assert (account.nonce, account.balance) == (0, ETHER)
    assert len(local.pool) == 0
    before = local.digest()
    local.close()
    again = LocalNode(tmp_path / "data")
    assert again.digest() == before
    local.opened = again.opened
    local.store = again.store


def test_a_fault_after_execution_leaves_nothing_behind(local: LocalNode, monkeypatch: pytest.MonkeyPatch) -> None:
    gas_of = vm.transaction.gas_of

    def failing(fork: Fork, tx: Transaction, *rest: int) -> tuple[int, int]:
        if tx.value == SETTLES_BADLY:
            raise RuntimeError("settling")
        return gas_of(fork, tx, *rest)

    monkeypatch.setattr(vm.transaction, "gas_of", failing)
    answers = submit_all(local, [candidate(local, n, PLAIN, SETTLES_BADLY if n == 1 else 5) for n in range(3)])
    local.mine()
    assert isinstance(answers[1], ExecutionFault)
    state = local.applied.newest_state()
    received = state.account(PLAIN)
    assert received is not None
    assert received.balance == 10
    kept = state.account(sender(1))
    assert kept is not None
    assert (kept.nonce, kept.balance) == (0, ETHER)


def test_what_still_waits_keeps_its_place(local: LocalNode) -> None:
    """A block with room for three; faults before, between and behind them."""
    local.ask(lambda done: Cheat(done, "set_gas_limit", (100_000,)))
    kinds = [CALLER, PLAIN, CALLER, PLAIN, PLAIN, CALLER, PLAIN, PLAIN, CALLER, PLAIN]
    candidates = [candidate(local, number, to) for number, to in enumerate(kinds)]
    submit_all(local, candidates)
    places = {entry.transaction.hash: entry.arrival for entry in local.pool.entries()}
    order: list[Any] = []
    for _ in range(10):
        local.ask(Mine)
        waiting = [entry.transaction.hash for entry in local.pool.entries()]
        assert [places[digest] for digest in waiting] == [e.arrival for e in local.pool.entries()]
        block = local.store.chain.block(local.store.head.number)
        assert block is not None
        order += [transaction.hash for transaction in block.transactions]
    assert order == [one.transaction.hash for one in candidates if one.transaction.to == PLAIN]
