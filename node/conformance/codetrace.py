"""Runs code on an empty state and traces every opcode."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from chain.environment import BlockEnvironment
from chain.forks import BPO_BLOBS, CANCUN_BLOBS, LATEST_FORK, PRAGUE_BLOBS, Fork
from chain.hashing import keccak256
from chain.state import Account
from chain.types import ZERO_HASH, Address
from node.conformance.memory_state import MemoryState
from node.conformance.running import INTERPRETED, MachineChoice
from node.conformance.trace import TracedMachine, TraceWriter
from vm.context import ExecutionContext
from vm.journal import Journal
from vm.message import CallKind, Message, Outcome

CODE_ADDRESS = Address(bytes.fromhex("c0de00000000000000000000000000000000c0de"))
"""Address of the code."""
CALLER = Address(bytes.fromhex("ca11e400000000000000000000000000000ca11e"))
CALLER_BALANCE = 10**24
"""Wei."""
DEFAULT_GAS = 10_000_000


@dataclass(frozen=True, slots=True)
class CodeCall:
    """The code and the call to run."""

    code: bytes
    calldata: bytes = b""
    value: int = 0
    """Wei, at most `CALLER_BALANCE` or the call fails."""
    gas: int = DEFAULT_GAS
    """Gas of the call itself: there is no transaction, so no intrinsic gas."""
    fork: Fork = LATEST_FORK
    fork_name: str = "Osaka"


def trace_code(
    call: CodeCall,
    write: Callable[[str], None],
    *,
    memory: bool = False,
    choice: MachineChoice = INTERPRETED,
) -> Outcome:
    """Run the code as a call from outside and write its trace; ``memory`` adds it to every line."""
    state = MemoryState()
    code_hash = keccak256(call.code)
    state.codes[code_hash] = call.code
    state.accounts[CODE_ADDRESS] = Account(1, 0, code_hash)
    state.accounts[CALLER] = Account(0, CALLER_BALANCE)
    fork = call.fork
    blobs = CANCUN_BLOBS if fork <= Fork.CANCUN else PRAGUE_BLOBS
    if call.fork_name.startswith("BPO"):
        blobs = BPO_BLOBS[int(call.fork_name[3:]) - 1]
    environment = BlockEnvironment(
        fork, chain_id=1, number=1, timestamp=1_000, gas_limit=max(call.gas, 30_000_000), blob_schedule=blobs
    )
    journal = Journal(state, fork)
    writer = TraceWriter(write, memory=memory)
    context = ExecutionContext(environment, lambda _: ZERO_HASH, journal, CALLER, gas_price=0)
    message = Message(CallKind.CALL, CALLER, CODE_ADDRESS, CODE_ADDRESS, call.value, call.calldata, call.gas)
    journal.begin_transaction()
    if fork >= Fork.BERLIN:
        for address in (CALLER, CODE_ADDRESS):
            journal.warm_account(address)
    outcome = TracedMachine(writer, choice.parts()).execute(message, context)
    journal.end_transaction()
    writer.finish(call.fork_name, state.root_after(journal.delta()))
    return outcome
