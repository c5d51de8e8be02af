"""The precompile vectors of EIP-2537 and EIP-7951 as contracts see them: called by code, in both engines."""

from __future__ import annotations

import json
import tarfile
from typing import Any

import pytest

from chain.forks import Fork
from tests.conformance.matrix import ENGINES
from tests.paths import FIXTURES
from tests.unit.vm.programs import TARGET, World, code
from vm.machine import Machine

ADDRESSES = {
    "add_G1": 0x0B,
    "mul_G1": 0x0C,
    "msm_G1": 0x0C,
    "add_G2": 0x0D,
    "mul_G2": 0x0E,
    "msm_G2": 0x0E,
    "pairing_check": 0x0F,
    "map_fp_to_G1": 0x10,
    "map_fp2_to_G2": 0x11,
    "test-vectors": 0x100,
}
"""By the name of the vectors' file."""
P256_GAS = 6_900
"""EIP-7951 doubled the price; its vectors carry RIP-7212's."""
COUNT = 280


def vectors() -> list[tuple[str, int, dict[str, Any]]]:
    """Name, address and vector."""
    path = FIXTURES / "eips-precompile-vectors.tar.xz"
    if not path.exists():
        pytest.skip(f"no fixtures at {FIXTURES}")
    found = []
    with tarfile.open(path, "r|xz") as archive:
        for member in archive:
            data = archive.extractfile(member)
            if data is not None:
                stem = member.name.rsplit("/", 1)[1].removesuffix(".json")
                stem = stem.removesuffix("_bls").removeprefix("fail-")
                found += [(f"{stem} {case['Name']}", ADDRESSES[stem], case) for case in json.load(data)]
    return found


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
    machine = Machine(engine=engine)
    wrong, cases = [], vectors()
    for name, address, case in cases:
        data, gas = bytes.fromhex(case["Input"]), P256_GAS if address == 0x100 else case.get("Gas", 10_000_000)
        expected = (False, b"") if "ExpectedError" in case else (True, bytes.fromhex(case["Expected"]))
        if call(machine, address, data, gas) != expected:
            wrong.append(name)
        if "ExpectedError" not in case and call(machine, address, data, gas - 1) != (False, b""):
            wrong.append(f"{name}: for too little gas")
    assert not wrong
    assert len(cases) == COUNT
    assert engine == "interpreter" or machine.metrics.entered >= COUNT
