"""Every opcode and every precompile at an expensive input: gas per second, slowest first.

``python -m benchmarks.worst_cases [--seconds 0.05]``. Rules of Osaka. An opcode is repeated in a straight run of
code with its operands; the gas and the time of operands and loop count too, as they do for an attacker. Answers are
checked before anything is timed. Time is the processor's, all threads together, so that other programs do not count;
only what reads from disk is timed by the clock on the wall.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Iterator
from typing import NamedTuple

from benchmarks.worst_inputs import (
    Program,
    opcode_programs,
    precompile_inputs,
    precompile_program,
    secondary_programs,
)
from benchmarks.worst_storage import cold_results
from chain.forks import Fork
from chain.types import Address
from node.machine.assembly import build_machine
from tests.unit.vm.programs import OTHER, TARGET, World
from vm.message import CallKind, Message
from vm.precompiles import precompile

BAR = 10.0
"""Mgas/s every case must reach."""
GAS = 8_000_000
MACHINE = build_machine()


class Result(NamedTuple):
    """One line of the table."""

    name: str
    mgas: float
    gas: int


def run(program: Program, gas: int = GAS) -> tuple[int, float, bytes, bool]:
    """Gas used, seconds, output, success, in a fresh world."""
    world = World(Fork.OSAKA)
    for address, code in program.accounts.items():
        world.state.put(address, code, balance=1)
    world.state.put(TARGET, program.code, balance=10**20)
    world.state.put(OTHER, b"\0", balance=1)
    message = Message(CallKind.CALL, Address(b"\xca" * 20), TARGET, TARGET, 0, program.data, gas)
    start = time.process_time()
    outcome = MACHINE.execute(message, world.context)
    spent = time.process_time() - start
    return gas - outcome.gas_left, spent, outcome.output, outcome.success


def measure(program: Program, seconds: float) -> Result:
    """The best of some runs."""
    best, total, gas = float("inf"), 0.0, 0
    while total < seconds:
        gas, spent, _, success = run(program)
        assert success is program.succeeds, f"{program.name} failed"
        best, total = min(best, spent), total + spent
    return Result(program.name, gas / best / 1e6, gas)


def measure_bare(
    name: str, address: int, data: bytes, answer: Callable[[bytes], bool], seconds: float
) -> Result:
    """A precompile without a call around it."""
    contract = precompile(Fork.OSAKA, Address(address.to_bytes(20, "big")))
    assert contract is not None
    assert answer(contract.run(data)), f"{name}: wrong answer"
    gas, best, total = contract.gas(data), float("inf"), 0.0
    while total < seconds:
        start = time.process_time()
        contract.run(data)
        spent = time.process_time() - start
        best, total = min(best, spent), total + spent
    return Result(f"{name} (bare)", gas / best / 1e6, gas)


def results(seconds: float) -> Iterator[Result]:
    """All of them."""
    run(Program("the interpreter is compiled before the clock starts", b""))
    for program in (*opcode_programs(), *secondary_programs()):
        yield measure(program, seconds)
    for case in precompile_inputs():
        bare = measure_bare(case.name, case.address, case.data, case.check, seconds)
        if bare.gas:
            yield bare
        program = precompile_program(case)
        _, _, output, success = run(program)
        assert success
        assert case.check(output) or len(output) == 0, case.name
        yield measure(program, seconds)
    for cold in cold_results(MACHINE):
        yield Result(cold.name, cold.gas / cold.seconds / 1e6, cold.gas)


def main() -> int:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=0.05)
    parser.add_argument("--below", type=float, default=float("inf"), help="show only lines below this")
    options = parser.parse_args()
    table = []
    for result in results(options.seconds):
        print(f"{result.name}: {result.mgas:.1f}", file=sys.stderr, flush=True)
        table.append(result)
    table.sort(key=lambda result: result.mgas)
    print("| case | Mgas/s | gas of a run |\n|---|---:|---:|")
    for result in table:
        if result.mgas < options.below:
            print(f"| {result.name} | {result.mgas:,.1f} | {result.gas:,} |")
    slow = [result.name for result in table if result.mgas < BAR]
    print(f"\n{len(table)} cases, {len(slow)} below {BAR:.0f} Mgas/s{': ' if slow else ''}{', '.join(slow)}")
    return bool(slow)


if __name__ == "__main__":
    raise SystemExit(main())
