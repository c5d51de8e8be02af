"""Blocks: what the protocol does at their borders, and what makes them invalid."""

from __future__ import annotations

from dataclasses import replace

import pytest

from chain.blocks import EMPTY_REQUESTS_HASH, requests_hash_of
from chain.environment import BlockEnvironment, Withdrawal
from chain.errors import InsufficientFunds
from chain.forks import DEPOSIT_CONTRACT, Fork
from chain.genesis import dev_genesis
from chain.hashing import keccak256
from chain.receipts import Log
from chain.state import Account
from chain.system_contracts import (
    BEACON_ROOTS_ADDRESS,
    HISTORY_STORAGE_ADDRESS,
    WITHDRAWAL_REQUESTS_ADDRESS,
)
from chain.transactions import Transaction, sign_transaction
from chain.types import ZERO_HASH, Address, Hash32
from node.conformance.memory_state import MemoryState
from node.machine.assembly import build_machine
from tests.unit.vm.test_transaction import GWEI, SECRET, SENDER
from vm import system
from vm.block import BlockExecution, build_header
from vm.errors import InvalidDepositLog, SystemCallFailed, SystemContractMissing
from vm.machine import Machine

PARENT, BEACON = Hash32(b"\x11" * 32), Hash32(b"\x22" * 32)
ENVIRONMENT = BlockEnvironment(
    Fork.OSAKA,
    chain_id=1,
    number=9,
    timestamp=1_000,
    gas_limit=30_000_000,
    parent_hash=PARENT,
    base_fee=GWEI,
    parent_beacon_root=BEACON,
)
PLAIN = Address(b"\xbb" * 20)


@pytest.fixture(scope="module")
def machine() -> Machine:
    return build_machine()


def genesis_state() -> MemoryState:
    return MemoryState().after(dev_genesis(1, [SENDER], Fork.OSAKA).delta())


def execution(
    machine: Machine,
    state: MemoryState,
    environment: BlockEnvironment = ENVIRONMENT,
    *,
    required: bool = False,
) -> BlockExecution:
    block = BlockExecution(machine, environment, state, lambda _: ZERO_HASH, contracts_required=required)
    block.begin()
    return block


def transaction(nonce: int, to: Address, value: int = 0, data: bytes = b"") -> Transaction:
    return sign_transaction(Transaction(2, 1, nonce, 0, 0, GWEI, 500_000, to, value, data), SECRET)


def test_a_block_begins_with_the_parent_and_ends_with_withdrawals(machine: Machine) -> None:
    environment = replace(
        ENVIRONMENT, withdrawals=(Withdrawal(0, 0, PLAIN, 3), Withdrawal(1, 0, Address(b"\xcc" * 20), 0))
    )
    block = execution(machine, genesis_state(), environment)
    block.add(transaction(0, PLAIN, 7), SENDER)
    with pytest.raises(InsufficientFunds):
        block.add(transaction(1, PLAIN, 10**30), SENDER)
    receipt = block.add(transaction(1, PLAIN), SENDER)
    assert (receipt.gas_used, receipt.cumulative_gas_used, receipt.status) == (21_000, 42_000, 1)
    result = block.finish()
    assert result.delta.storage[HISTORY_STORAGE_ADDRESS] == {8: int.from_bytes(PARENT, "big")}
    assert result.delta.storage[BEACON_ROOTS_ADDRESS][1_000 % 8_191] == 1_000
    assert result.delta.accounts[PLAIN] == Account(0, 7 + 3 * GWEI)
    assert Address(b"\xcc" * 20) not in result.delta.accounts
    assert (result.gas_used, result.requests, result.requests_hash) == (42_000, [], EMPTY_REQUESTS_HASH)
    header = build_header(environment, result, ZERO_HASH, [transaction(0, PLAIN, 7), transaction(1, PLAIN)])
    assert (header.gas_used, header.number, header.requests_hash) == (42_000, 9, EMPTY_REQUESTS_HASH)


def test_a_withdrawal_request_leaves_the_queue_at_the_end(machine: Machine) -> None:
    block = execution(machine, genesis_state())
    data = b"\x05" * 48 + (1).to_bytes(8, "big")
    assert block.add(transaction(0, WITHDRAWAL_REQUESTS_ADDRESS, 1, data), SENDER).status == 1
    result = block.finish()
    assert result.requests == [b"\x01" + SENDER + b"\x05" * 48 + (1).to_bytes(8, "little")]
    assert result.requests_hash == requests_hash_of(result.requests)


def test_request_contracts_may_be_missing_only_on_own_chains(machine: Machine) -> None:
    state = MemoryState()
    assert execution(machine, state).finish().requests == []
    with pytest.raises(SystemContractMissing):
        execution(machine, state, required=True).finish()


def test_a_failing_request_contract_makes_the_block_invalid(machine: Machine) -> None:
    state, code = genesis_state(), b"\xfe"
    state.codes[keccak256(code)] = code
    state.accounts[WITHDRAWAL_REQUESTS_ADDRESS] = Account(1, 0, keccak256(code))
    with pytest.raises(SystemCallFailed):
        execution(machine, state).finish()


def test_deposits_are_read_from_logs() -> None:
    fields = [bytes([i]) * size for i, (_, size) in enumerate(system._DEPOSIT_FIELDS, 1)]
    data = b"".join(offset.to_bytes(32, "big") for offset, _ in system._DEPOSIT_FIELDS)
    for field in fields:
        data += len(field).to_bytes(32, "big") + field.ljust((len(field) + 31) // 32 * 32, b"\0")
    log = Log(DEPOSIT_CONTRACT, (Hash32(system._DEPOSIT_EVENT),), data)
    assert system._is_deposit(log, DEPOSIT_CONTRACT)
    assert system._deposit(log) == b"".join(fields)
    assert not system._is_deposit(log, PLAIN)
    assert not system._is_deposit(log._replace(topics=()), DEPOSIT_CONTRACT)
    for bad in (data[:-1], bytes(32) + data[32:], data[:160] + bytes(32) + data[192:]):
        with pytest.raises(InvalidDepositLog):
            system._deposit(log._replace(data=bad))
