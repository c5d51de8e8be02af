"""Runs VM tests: one frame of code by the rules of Frontier, without a transaction around it."""

from __future__ import annotations

from typing import Any

from chain.environment import BlockEnvironment
from chain.forks import Fork
from chain.receipts import logs_hash
from chain.types import Address
from node.conformance.memory_state import MemoryState
from node.conformance.running import CaseResult
from node.conformance.state_case import block_hashes_of
from vm.context import ExecutionContext
from vm.journal import Journal
from vm.machine import Machine
from vm.message import CallKind, Message

FORK_NAME = "Frontier"
"""VM tests name no fork: they were made when Frontier was the only one."""

KEYS = frozenset({"env", "pre", "exec"})
"""Keys that identify a VM test."""


def environment_of(env: dict[str, Any]) -> BlockEnvironment:
    """The block of a case."""
    return BlockEnvironment(
        fork=Fork.FRONTIER,
        chain_id=1,
        number=_number(env["currentNumber"]),
        timestamp=_number(env["currentTimestamp"]),
        gas_limit=_number(env["currentGasLimit"]),
        coinbase=_address(env["currentCoinbase"]),
        difficulty=_number(env["currentDifficulty"]),
    )


def run_vm_case(machine: Machine, name: str, case: dict[str, Any]) -> CaseResult:
    """Run a case: gas left, output, logs and state must match; without ``post``, the frame must fail."""
    result = CaseResult(name, FORK_NAME, passed=False)
    state = MemoryState.from_json(case["pre"])
    frame, environment = case["exec"], environment_of(case["env"])
    journal = Journal(state, Fork.FRONTIER)
    address = _address(frame["address"])
    if journal.code(address) != _bytes(frame["code"]):
        result.error = "the code to run is not the account's"
        return result
    origin, gas_price = _address(frame["origin"]), _number(frame["gasPrice"])
    context = ExecutionContext(environment, block_hashes_of(case), journal, origin, gas_price)
    # Of all kinds of calls, a delegated one moves no value: the state before the test has it moved.
    message = Message(
        CallKind.DELEGATECALL,
        _address(frame["caller"]),
        address,
        address,
        _number(frame["value"]),
        _bytes(frame["data"]),
        _number(frame["gas"]),
        transfers_value=False,
    )
    journal.begin_transaction()
    outcome = machine.execute(message, context)
    logs = logs_hash(journal.logs)
    journal.end_transaction()
    if "post" not in case:
        result.passed = outcome.halt.is_exceptional
        result.error = "" if result.passed else f"ended with {outcome.halt.name}, but must fail"
        return result
    expected = MemoryState.from_json(case["post"])
    result.got_root, result.want_root = (
        "0x" + root.hex() for root in (state.root_after(journal.delta()), expected.root())
    )
    differences = (
        ("outcome", outcome.halt.is_success, True),
        ("state", result.got_root, result.want_root),
        ("gas left", outcome.gas_left, _number(case["gas"])),
        ("output", outcome.output, _bytes(case["out"])),
        ("logs", logs, _bytes(case["logs"])),
    )
    result.error = ", ".join(what for what, got, want in differences if got != want)
    result.passed = not result.error
    result.error = result.error and result.error + " differs"
    return result


def _number(text: str) -> int:
    return int(text, 16)


def _bytes(text: str) -> bytes:
    return bytes.fromhex(text.removeprefix("0x"))


def _address(text: str) -> Address:
    return Address(_bytes(text))
