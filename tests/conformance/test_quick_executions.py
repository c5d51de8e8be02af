"""Blocks executed on the short road, on the long one and under a tracer are the same block, over random programs.

The state tests and block tests run on the short road wherever it goes (`tests/conformance/test_vector_matrix.py`).
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest

from chain.environment import BlockEnvironment
from chain.errors import InvalidTransaction
from chain.forks import Fork
from chain.receipts import receipts_root
from chain.state import StateDelta, StateReader
from chain.transactions import LEGACY, Transaction, impersonate
from chain.types import Address
from node.machine.assembly import machine_parts
from tests.differential.programs import CALLER, CONTRACTS, Case, random_case
from tests.differential.running import block_hash, environment
from tests.unit.vm.programs import MemoryState
from vm import machine as machines
from vm.block import BlockExecution
from vm.evm.quick import QuickExecution
from vm.evm.trace import Tracer

SENDER = Address(bytes.fromhex(CALLER))
ALONE = 5
"""Transactions of a block."""


@pytest.fixture(autouse=True)
def all_are_tried(monkeypatch: pytest.MonkeyPatch) -> None:
    """A contract that calls others is tried again each time."""
    monkeypatch.setattr(machines, "QUICK_LEFT_OUT", 0)


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> list[bool]:
    """Whether each quick attempt came to an end."""
    ended, execute = [], QuickExecution._execute

    def counted(*given: Any) -> Any:
        outcome = execute(*given)
        ended.append(outcome is not None)
        return outcome

    monkeypatch.setattr(QuickExecution, "_execute", counted)
    return ended


def state_of(case: Case) -> MemoryState:
    state = MemoryState()
    state.put(SENDER, balance=10**30)
    for place, (address, code) in enumerate(zip(CONTRACTS, case.codes, strict=True)):
        state.put(Address(bytes.fromhex(address)), bytes.fromhex(code), balance=5, nonce=1)
        state.slots[Address(bytes.fromhex(address))] = {0: place, 1: 7, 5: 2**255}
    return state


def transactions_of(case: Case, seed: int) -> list[Transaction]:
    """Calls of the case's contracts and of accounts without code, some with value, some with little gas."""
    chance, made = random.Random(seed), []
    targets = [Address(bytes.fromhex(name)) for name in (*CONTRACTS, CONTRACTS[0], "99" * 20, "04".zfill(40))]
    for nonce in range(ALONE):
        data = bytes.fromhex(case.data) if nonce == 0 else chance.randbytes(chance.choice((0, 4, 36, 68)))
        gas = chance.choice((case.gas, 60_000, 22_500)) + 60_000 * (nonce == 0)
        to = targets[0] if nonce == 0 else chance.choice(targets)
        value, price = chance.choice((0, 0, 1, 10**9)), chance.choice((10**9, 2 * 10**9))
        made.append(impersonate(Transaction(LEGACY, None, nonce, price, price, price, gas, to, value, data), SENDER))
    return made


def executed(
    machine: machines.Machine,
    block: BlockEnvironment,
    state: StateReader,
    transactions: Sequence[Transaction],
    tracer: type[Tracer] | None = None,
) -> tuple[list[object], StateDelta, bytes | None, int]:
    """All that a block comes to: of each transaction, state, receipts root, gas."""
    execution = BlockExecution(machine, block, state, block_hash)
    said: list[object] = []
    for transaction in transactions:
        try:
            if tracer is None:
                receipt = execution.add(transaction, SENDER)
                said.append((receipt.gas_used, receipt.status, receipt.logs, receipt.contract_address))
            else:
                ran = execution.run(transaction, SENDER, tracer())
                status = int(ran.outcome.success) if block.fork >= Fork.BYZANTIUM else None
                said.append((ran.gas_used, status, ran.logs(), ran.contract_address))
        except InvalidTransaction as error:
            said.append(type(error))
    delta = execution.journal.delta()
    root = receipts_root(execution.receipts) if tracer is None else None
    return said, delta, root, execution.gas_used


def check(first: int, count: int) -> None:
    short, long = (machines.Machine(machine_parts(short_road=is_short)) for is_short in (True, False))
    for seed in range(first, first + count):
        case = random_case(seed)
        state, transactions = state_of(case), transactions_of(case, seed)
        block = replace(environment(Fork[case.fork]), gas_limit=2**40)
        in_full = executed(long, block, state, transactions)
        for _ in range(2):  # the second time all codes are analysed
            assert executed(short, block, state, transactions) == in_full, seed
        said, delta, _, gas = in_full
        assert executed(short, block, state, transactions, Tracer) == (said, delta, None, gas), seed


def test_some_random_blocks(quick: list[bool]) -> None:
    check(2_000, 150)
    assert sum(quick) > 300
    assert quick.count(False) > 50


@pytest.mark.full
@pytest.mark.timeout(7_200)
def test_many_random_blocks() -> None:
    check(200_000, 10_000)
