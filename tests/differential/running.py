"""A case run by zvmd, and what two runs of it differ in."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from itertools import zip_longest
from typing import TYPE_CHECKING

from chain.environment import BlockEnvironment
from chain.errors import InvalidTransaction
from chain.forks import Fork
from chain.hashing import keccak256
from chain.receipts import Log
from chain.types import Address, Hash32
from tests.differential.programs import CALLER, CONTRACTS, NOBODY, Case
from tests.unit.vm.programs import MemoryState
from vm.evm.layout import Field
from vm.journal import Journal
from vm.machine import Machine
from vm.message import Message, Outcome
from vm.transaction import CallRequest, simulate_call

if TYPE_CHECKING:
    from vm.evm.frame import Frame

WATCHED = (*CONTRACTS, NOBODY, "c0ffee".rjust(40, "0"))
MACHINE = Machine(engine=os.environ.get("ZVMD_FUZZ_ENGINE", "interpreter"))

Step = tuple[int, int, int, int, int, tuple[str, ...]]
"""pc, opcode, gas, depth, bytes of memory, stack: of EIP-3155 what all implementations mean alike. The gas
cost is the difference of two lines' gas."""


@dataclass
class Run:
    """What one implementation made of a case."""

    steps: list[Step] = field(default_factory=list)
    output: str = ""
    gas_used: int = 0
    success: bool = False
    logs: list[tuple[str, list[str], str]] = field(default_factory=list)
    accounts: list[tuple[str, str]] = field(default_factory=list)
    """Balance and nonce of the watched ones."""
    storage: list[list[str]] = field(default_factory=list)
    """First slots of each contract."""


class Steps:
    """A tracer that keeps every step."""

    def __init__(self, steps: list[Step]) -> None:
        self._steps = steps

    def enter(self, message: Message) -> None:
        """Nothing to keep."""

    def step(self, frame: Frame) -> None:
        """Keep it."""
        words = frame.words
        pc = words[Field.PC]
        stack = tuple([hex(word) for word in frame.stack()])
        depth = frame.message.depth + 1
        self._steps.append(
            (pc, frame.code.padded[pc], words[Field.GAS], depth, words[Field.MEMORY_SIZE], stack)
        )

    def leave(self, message: Message, outcome: Outcome) -> None:
        """Nothing to keep."""

    def log(self, log: Log) -> None:
        """Nothing to keep: receipts have them."""


def environment(fork: Fork) -> BlockEnvironment:
    """The block of all cases."""
    return BlockEnvironment(
        fork=fork,
        chain_id=1,
        number=1_000,
        timestamp=1_700_000_000,
        gas_limit=30_000_000,
        coinbase=Address(b"\xc0" * 20),
        base_fee=0,
        prevrandao=Hash32(bytes(31) + b"\x05"),
        difficulty=6,
    )


def run_case(case: Case, *, trace: bool, machine: Machine = MACHINE) -> Run | None:
    """Run a case; None if the transaction is refused (too little gas to begin)."""
    fork = Fork[case.fork]
    state = MemoryState()
    state.put(Address(bytes.fromhex(CALLER)), balance=10**18)
    for address, code in zip(CONTRACTS, case.codes, strict=True):
        state.put(Address(bytes.fromhex(address)), bytes.fromhex(code), balance=5, nonce=1)
    journal = Journal(state, fork)
    run = Run()
    request = CallRequest(
        Address(bytes.fromhex(CALLER)),
        Address(bytes.fromhex(CONTRACTS[0])),
        case.gas,
        bytes.fromhex(case.data),
        case.value,
    )
    try:
        result = simulate_call(
            machine,
            environment(fork),
            lambda number: keccak256(str(number).encode()),
            journal,
            request,
            Steps(run.steps) if trace else None,
        )
    except InvalidTransaction:
        return None
    run.output = result.outcome.output.hex()
    run.gas_used, run.success = result.gas_used, result.outcome.success
    run.logs = [
        (log.address.hex(), [topic.hex() for topic in log.topics], log.data.hex()) for log in result.logs
    ]
    for name in WATCHED:
        account = journal.account(Address(bytes.fromhex(name)))
        run.accounts.append((hex(account.balance), hex(account.nonce)))
    run.storage = [
        [hex(journal.storage(Address(bytes.fromhex(name)), slot)) for slot in range(6)] for name in CONTRACTS
    ]
    return run


def differences(ours: Run | None, theirs: Run | None) -> Iterator[str]:
    """What differs, the first step first."""
    if ours is None or theirs is None:
        if ours is not theirs:
            yield f"refused by {'zvmd' if ours is None else 'the other'} only"
        return
    if ours.steps != theirs.steps:
        for number, (our, their) in enumerate(zip_longest(ours.steps, theirs.steps)):
            if our != their:
                yield f"step {number}: zvmd {our}, the other {their}"
                break
    # pyrevm shows destroyed accounts as they were: those are compared by what the steps saw.
    there = [nonce != "0x0" for _, nonce in ours.accounts]
    for name in ("output", "gas_used", "success", "logs", "accounts", "storage"):
        mine, other = getattr(ours, name), getattr(theirs, name)
        if name in ("accounts", "storage"):
            mine, other = (
                [x for x, lives in zip(rows, there, strict=False) if lives] for rows in (mine, other)
            )
        if mine != other:
            yield f"{name}: zvmd {mine}, the other {other}"


def starved(case: Case, run: Run, chance: float) -> Case:
    """The case with so much gas that it runs out somewhere in the middle; ``chance`` says where, from 0 to 1."""
    used = run.gas_used - 21_000
    return replace(case, gas=21_000 + int(max(used, 0) * chance))
