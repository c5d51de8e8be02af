"""A case run by zvmd in one of its ways, and what two runs of it differ in."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from itertools import zip_longest
from typing import TYPE_CHECKING, Any

from chain.environment import BlockEnvironment
from chain.errors import InvalidTransaction
from chain.fees import intrinsic_gas
from chain.forks import Fork
from chain.hashing import keccak256
from chain.transactions import LEGACY, Transaction
from chain.types import Address, Hash32
from node.conformance.trace import TraceWriter
from node.machine.assembly import machine_parts
from tests.differential.programs import CALLER, CONTRACTS, NOBODY, Case
from tests.unit.vm.programs import MemoryState
from vm.context import ExecutionContext
from vm.evm.trace import Tracer
from vm.journal import Journal
from vm.machine import Machine
from vm.message import Message, Outcome
from vm.transaction import simulate_call

if TYPE_CHECKING:
    from vm.evm.frame import Frame

WATCHED = (*CONTRACTS, NOBODY, "c0ffee".rjust(40, "0"))
NUMBER = 1_000
"""Of the block."""
STACK_SHOWN = 40
"""Words of the stack kept besides its height: nothing reaches below seventeen."""

Step = tuple[int, int, int, int | None, int, int, tuple[int | str, ...], str | None, int, str | None]
"""A line of EIP-3155: pc, opcode, gas, its cost (None above 64 bits), depth, bytes of memory, stack, returned data
(None: not told), refund counter, error."""


@dataclass
class Run:
    """What one implementation made of a case. What another does not tell is None."""

    steps: list[Step] | None = None
    output: str = ""
    success: bool = False
    gas_used: int | None = None
    """Of the transaction."""
    gas_left: int | None = None
    """Of the message."""
    refund: int | None = None
    """The counter at the end."""
    logs: list[tuple[str, list[str], str]] = field(default_factory=list)
    accounts: list[tuple[str, str]] = field(default_factory=list)
    """Balance and nonce of the watched ones."""
    storage: list[list[str]] = field(default_factory=list)
    """First slots of each contract."""


class Steps(TraceWriter):
    """A tracer that keeps every line."""

    def __init__(self) -> None:
        super().__init__(lambda _: None, words=STACK_SHOWN)
        self.steps: list[Step] = []

    def step(self, frame: Frame) -> None:
        line = self.line(frame)
        if line is None:
            return
        cost = line.get("gasCost")
        self.steps.append(
            (
                *(line["pc"], line["op"], int(line["gas"], 16)),
                *(None if cost is None else int(cost, 16), line["depth"], line["memSize"]),
                *((frame.depth, *line["stack"]), line["returnData"], line["refund"], line.get("error")),
            )
        )


class Way(Machine):
    """A machine that runs messages in one way, and remembers what a transaction's result does not tell."""

    def __init__(self, engine: str = "interpreter", **options: Any) -> None:
        super().__init__(machine_parts(engine=engine, **options))
        self.steps_before = 0
        """Opcodes run one by one before the rest runs at full speed."""
        self.gas_left = self.refund = 0

    def execute(self, message: Message, context: ExecutionContext, tracer: Tracer | None = None) -> Outcome:
        if isinstance(tracer, Steps):
            tracer.begin(context)
        if self.steps_before:
            execution = self.begin(message, context)
            outcome = execution.step(self.steps_before) or execution.run()
            execution.close()
        else:
            outcome = super().execute(message, context, tracer)
        self.gas_left, self.refund = outcome.gas_left, context.journal.refund
        return outcome


def block_hash(number: int) -> Hash32:
    """Hashes of the blocks before."""
    return keccak256(str(number).encode())


def environment(fork: Fork) -> BlockEnvironment:
    """The block of all cases."""
    return BlockEnvironment(
        fork=fork,
        chain_id=1,
        number=NUMBER,
        timestamp=1_700_000_000,
        gas_limit=30_000_000,
        coinbase=Address(b"\xc0" * 20),
        base_fee=0,
        prevrandao=Hash32(bytes(31) + b"\x05"),
        difficulty=6,
    )


def run_case(case: Case, way: Way, *, trace: bool = False, steps_before: int = 0) -> Run | None:
    """Run a case; None if the transaction is refused (too little gas to begin)."""
    fork = Fork[case.fork]
    state = MemoryState()
    state.put(Address(bytes.fromhex(CALLER)), balance=10**18)
    for address, code in zip(CONTRACTS, case.codes, strict=True):
        state.put(Address(bytes.fromhex(address)), bytes.fromhex(code), balance=5, nonce=1)
    journal = Journal(state, fork)
    caller, to = Address(bytes.fromhex(CALLER)), Address(bytes.fromhex(CONTRACTS[0]))
    call = Transaction(LEGACY, None, 0, 0, 0, 0, case.gas, to, case.value, bytes.fromhex(case.data))
    tracer = Steps() if trace else None
    way.steps_before = steps_before
    try:
        result = simulate_call(way, environment(fork), block_hash, journal, call, caller, tracer)
    except InvalidTransaction:
        return None
    accounts = [journal.account(Address(bytes.fromhex(name))) for name in WATCHED]
    return Run(
        steps=None if tracer is None else tracer.steps,
        output=result.outcome.output.hex(),
        success=result.outcome.success,
        gas_used=result.gas_used,
        gas_left=way.gas_left,
        refund=way.refund,
        logs=[(log.address.hex(), [topic.hex() for topic in log.topics], log.data.hex()) for log in result.logs()],
        accounts=[(hex(account.balance), hex(account.nonce)) for account in accounts],
        storage=[
            [hex(journal.storage(Address(bytes.fromhex(name)), slot)) for slot in range(6)] for name in CONTRACTS
        ],
    )


def message_gas(case: Case) -> int:
    """Gas the first message begins with; negative if the transaction cannot begin."""
    tx = Transaction(
        type=LEGACY,
        chain_id=None,
        nonce=0,
        gas_price=0,
        max_priority_fee_per_gas=0,
        max_fee_per_gas=0,
        gas_limit=case.gas,
        to=Address(bytes.fromhex(CONTRACTS[0])),
        value=case.value,
        data=bytes.fromhex(case.data),
    )
    return case.gas - intrinsic_gas(tx, Fork[case.fork])


def differences(ours: Run | None, theirs: Run | None, *, destroyed_too: bool = True) -> Iterator[str]:
    """What differs of what both tell, the first step first.

    ``destroyed_too`` is False for pyrevm: it shows destroyed accounts as they were, so those are left to the steps.
    """
    if ours is None or theirs is None:
        if ours is not theirs:
            yield f"refused by {'zvmd' if ours is None else 'the other'} only"
        return
    if ours.steps is not None and theirs.steps is not None:
        for number, (our, their) in enumerate(zip_longest(ours.steps, theirs.steps)):
            if our != their and not _is_same(our, their):
                yield f"step {number}: zvmd {our}, the other {their}"
                break
    there = [destroyed_too or nonce != "0x0" for _, nonce in ours.accounts]
    for name in ("output", "success", "gas_used", "gas_left", "refund", "logs", "accounts", "storage"):
        mine, other = getattr(ours, name), getattr(theirs, name)
        if name in ("accounts", "storage"):
            mine, other = ([x for x, lives in zip(rows, there, strict=False) if lives] for rows in (mine, other))
        if mine != other and mine is not None and other is not None:
            yield f"{name}: zvmd {mine}, the other {other}"


def _is_same(our: Step | None, their: Step | None) -> bool:
    """Whether lines agree in what both tell."""
    if our is None or their is None:
        return False
    return all(mine == other for place, (mine, other) in enumerate(zip(our, their, strict=True)) if place != 7 or other)


def starved(case: Case, run: Run, chance: float) -> Case:
    """The case with so much gas that it runs out somewhere in the middle; ``chance`` says where, from 0 to 1."""
    begin = case.gas - message_gas(case)
    used = (run.gas_used or 0) - begin
    return replace(case, gas=begin + int(max(used, 0) * chance))


def gas_limits(case: Case, run: Run, most: int) -> list[int]:
    """Gas limits at which the traced case runs out at each of its steps, in calls too; at most so many of them.

    What is missing to a step in a call is scaled up by the share of the gas the callers kept (EIP-150), so that there
    the limit is a good guess.
    """
    assert run.steps is not None
    limits = {}
    for _, _, gas, cost, depth, *_ in run.steps:
        missing = gas - min(cost or 0, gas) + 1
        for _ in range(depth - 1 if case.fork not in ("FRONTIER", "HOMESTEAD") else 0):
            missing += missing // 63 + 1
        limits[case.gas - missing] = None
    least = case.gas - message_gas(case)
    found = [limit for limit in limits if least <= limit]
    return found[:: -(-len(found) // most)] if found else []
