"""The transactions of state tests as calls, quickly and in full."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from chain.environment import BlockEnvironment
from chain.errors import InvalidTransaction
from chain.state import BlockHashes, StateReader
from chain.transactions import LEGACY, Transaction
from chain.types import Address, Hash32
from node.conformance.memory_state import MemoryState
from node.conformance.running import MachineChoice
from node.conformance.state_case import Indexes, block_hashes_of, environment_of, signed_transaction
from node.conformance.statetest import StateTestRunner
from vm.journal import Journal
from vm.machine import Machine
from vm.transaction import simulate_call, simulate_quickly

Call = tuple[Address, Address, bytes, int]
"""Sender, recipient, data, gas."""


def difference(
    machine: Machine, environment: BlockEnvironment, hashes: BlockHashes, state: StateReader, call: Call
) -> str | None:
    """What differs between the two ways; empty if nothing does, None if the quick one gave no answer."""
    sender, to, data, gas = call
    transaction = Transaction(LEGACY, None, 0, 0, 0, 0, gas, to, 0, data)
    try:
        full = simulate_call(machine, environment, hashes, Journal(state, environment.fork), transaction, sender)
        in_full: object = (full.outcome.halt, full.outcome.output, full.gas_used)
    except InvalidTransaction as error:
        in_full = error
    free = replace(environment, base_fee=0)
    quick = simulate_quickly(machine, free, state, sender, to, data, gas)  # now that the code is analysed
    if quick is None:
        return None
    return "" if quick == in_full else f"quickly {quick}, in full {in_full}"


class QuickRunner(StateTestRunner):
    """Runs each subtest's transaction as a call, before the subtest itself."""

    def __init__(self, choice: MachineChoice) -> None:
        super().__init__(choice)
        self.calls = 0
        self.answered = 0
        self.differences: list[str] = []

    def _execute(
        self, case: dict[str, Any], fork_name: str, expected: dict[str, Any], indexes: Indexes, state: MemoryState
    ) -> tuple[Hash32, Hash32, str | None]:
        environment = environment_of(case, fork_name)
        try:
            tx, sender = signed_transaction(case, expected, indexes, environment.fork, environment.chain_id)
        except (InvalidTransaction, ValueError):
            return super()._execute(case, fork_name, expected, indexes, state)
        if tx.to is not None:
            call = (sender, tx.to, tx.data, tx.gas_limit)
            found = difference(self.machine, environment, block_hashes_of(case), state, call)
            self.calls += 1
            self.answered += found is not None
            if found:
                self.differences.append(f"{case.get('_info', {}).get('comment', '')} {indexes}: {found}")
        return super()._execute(case, fork_name, expected, indexes, state)
