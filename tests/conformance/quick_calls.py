"""The transactions of state and block tests and the frames of VM tests as calls, quickly and in full."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from chain.blocks import Block, decode_block
from chain.environment import BlockEnvironment
from chain.errors import InvalidTransaction, ZvmdError
from chain.forks import Fork
from chain.state import BlockHashes, StateReader
from chain.transactions import LEGACY, Transaction, recover_sender
from chain.types import Address, Hash32
from node.conformance import vmtest
from node.conformance.blocktest import BlockTestRunner, BlockTree
from node.conformance.memory_state import MemoryState
from node.conformance.running import MachineChoice
from node.conformance.state_case import Indexes, block_hashes_of, environment_of, signed_transaction
from node.conformance.statetest import StateTestRunner
from vm import importing
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


class Tally:
    """What was compared."""

    def __init__(self) -> None:
        self.calls = 0
        self.answered = 0
        self.differences: list[str] = []

    def add(self, name: str, found: str | None) -> None:
        """Count what `difference` said."""
        self.calls += 1
        self.answered += found is not None
        if found:
            self.differences.append(f"{name}: {found}")


class QuickRunner(StateTestRunner):
    """Runs each subtest's transaction as a call, before the subtest itself."""

    def __init__(self, choice: MachineChoice) -> None:
        super().__init__(choice)
        self.tally = Tally()

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
            self.tally.add(f"{case.get('_info', {}).get('comment', '')} {indexes}", found)
        return super()._execute(case, fork_name, expected, indexes, state)


class QuickTree(BlockTree):
    """Runs each transaction of a block as a call of the state before the block, then imports it."""

    def __init__(self, tally: Tally, *parts: Any) -> None:
        super().__init__(*parts)
        self._tally = tally

    def add(self, raw: bytes) -> Block:
        try:
            block = decode_block(raw)
            parent = self._known[block.header.parent_hash]
            environment = importing.environment_of(block.header, self.config, block.withdrawals or ())
            low = environment.fork < Fork.HOMESTEAD
            calls = [
                (recover_sender(tx, allow_high_s=low), tx.to, tx.data, tx.gas_limit)
                for tx in block.transactions
                if tx.to is not None
            ]
        except (ZvmdError, KeyError):
            return super().add(raw)  # a block that is refused
        for number, call in enumerate(calls):
            found = difference(self._machine, environment, self._hashes_before(parent.block), parent.state, call)
            self._tally.add(f"transaction {number} of block {block.header.number}", found)
        return super().add(raw)


class QuickBlockRunner(BlockTestRunner):
    """Runs block tests over a `QuickTree`."""

    def __init__(self, choice: MachineChoice) -> None:
        super().__init__(choice)
        self.tally = Tally()

    def _start(self, network: str, case: dict[str, Any]) -> BlockTree:
        tree = super()._start(network, case)
        return QuickTree(self.tally, self.machine, tree.config, tree.head.block, tree.head.state, tree.merge)


def compare_frame(machine: Machine, case: dict[str, Any], tally: Tally) -> None:
    """Run the frame of a VM test as a call, by the rules of every fork that calls can be made under."""
    frame, state = case["exec"], MemoryState.from_json(case["pre"])
    caller, to = (Address(bytes.fromhex(frame[name].removeprefix("0x"))) for name in ("caller", "address"))
    data, gas = bytes.fromhex(frame["data"].removeprefix("0x")), int(frame["gas"], 16)
    environment = vmtest.environment_of(case["env"])
    for fork in (Fork.FRONTIER, Fork.BERLIN, Fork.OSAKA):
        ruled = replace(environment, fork=fork)
        tally.add(fork.name, difference(machine, ruled, block_hashes_of(case), state, (caller, to, data, gas)))
