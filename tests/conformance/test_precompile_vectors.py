"""The precompile vectors of EIP-2537 and EIP-7951 as contracts see them: called by code, in both engines."""

from __future__ import annotations

import pytest

from chain.forks import Fork
from node.machine.assembly import build_machine
from tests.conformance.archives import P256, precompile_cases
from tests.conformance.matrix import ENGINES
from tests.paths import FIXTURES
from tests.unit.vm.programs import TARGET, World, code
from vm.machine import Machine

P256_GAS = 6_900
"""EIP-7951 doubled the price; its vectors carry RIP-7212's."""
COUNT = 280


def call(machine: Machine, address: int, data: bytes, gas: int) -> tuple[bool, bytes]:
    """Whether the call with so much gas succeeded, and what it returned."""
    world = World(Fork.OSAKA)
    given = code("CALLDATASIZE", 0, 0, "CALLDATACOPY", 0, 0, "CALLDATASIZE", 0, address, gas, "STATICCALL")
    back = code(0, "MSTORE RETURNDATASIZE", 0, 32, "RETURNDATACOPY RETURNDATASIZE", 32, "ADD", 0, "RETURN")
    world.journal.set_code(TARGET, given + back)
    outcome = machine.execute(world.message(100_000_000, data), world.context)
    assert outcome.success
    return outcome.output[31] == 1, outcome.output[32:]


@pytest.mark.parametrize("engine", ENGINES)
def test_precompile_vectors(engine: str) -> None:
    machine = build_machine(engine=engine)
    wrong, cases = [], precompile_cases()
    if not cases:
        pytest.skip(f"no fixtures at {FIXTURES}")
    for name, address, case in cases:
        data, gas = bytes.fromhex(case["Input"]), P256_GAS if address == P256 else case.get("Gas", 10_000_000)
        expected = (False, b"") if "ExpectedError" in case else (True, bytes.fromhex(case["Expected"]))
        if call(machine, address, data, gas) != expected:
            wrong.append(name)
        if "ExpectedError" not in case and call(machine, address, data, gas - 1) != (False, b""):
            wrong.append(f"{name}: for too little gas")
    assert not wrong
    assert len(cases) == COUNT
    assert engine == "interpreter" or machine.metrics.entered >= COUNT
