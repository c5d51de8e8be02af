"""Calls without journal and settlement give what calls in full give: over all state tests, and over random programs."""

from __future__ import annotations

from collections.abc import Iterable

import pytest

from chain.forks import Fork
from chain.types import Address
from node.conformance.running import MachineChoice, Selection
from node.conformance.vectors import VectorFile
from node.machine.assembly import machine_parts
from tests.conformance.matrix import ENGINES, STATE, SUITES
from tests.conformance.quick_calls import QuickRunner, difference
from tests.conformance.test_vector_matrix import CACHE, files_of, some_files
from tests.differential.programs import CALLER, CONTRACTS, random_case
from tests.differential.running import block_hash, environment
from tests.unit.vm.programs import MemoryState
from vm import machine as machines


@pytest.fixture(autouse=True)
def all_are_tried(monkeypatch: pytest.MonkeyPatch) -> None:
    """A contract that calls others is tried again each time."""
    monkeypatch.setattr(machines, "QUICK_LEFT_OUT", 0)


def check(files: Iterable[VectorFile], engine: str) -> QuickRunner:
    runner = QuickRunner(MachineChoice(engine, CACHE))
    failed = [result.name for file in files for result in runner.run_file(file, Selection()) if not result.passed]
    assert not runner.differences, runner.differences[:5]
    assert not failed, failed[:5]
    return runner


def test_some_state_tests() -> None:
    archives = [name for name in STATE if "VMTests" not in name]
    assert sum(check(some_files(archive), "interpreter").answered for archive in archives) > 50


@pytest.mark.full
@pytest.mark.timeout(3_600)
@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("archive", [name for name in STATE if "VMTests" not in name])
def test_all_state_tests(archive: str, engine: str) -> None:
    runner = check(files_of(SUITES[archive]), engine)
    print(f"{archive}, {engine}: {runner.answered} of {runner.calls} calls answered quickly")
    assert runner.answered


def check_programs(seed: int, count: int) -> int:
    """How many random programs were answered quickly; all like in full."""
    answered = 0
    machine = machines.Machine(machine_parts())
    for case in map(random_case, range(seed, seed + count)):
        state = MemoryState()
        state.put(Address(bytes.fromhex(CALLER)), balance=10**18)
        for address, code in zip(CONTRACTS, case.codes, strict=True):
            state.put(Address(bytes.fromhex(address)), bytes.fromhex(code), balance=5, nonce=1)
        sender, to = (Address(bytes.fromhex(name)) for name in (CALLER, CONTRACTS[0]))
        call = (sender, to, bytes.fromhex(case.data), case.gas)
        found = difference(machine, environment(Fork[case.fork]), block_hash, state, call)
        assert not found, (case, found)
        answered += found is not None
    return answered


def test_some_random_programs() -> None:
    assert check_programs(1_000, 300) > 30


@pytest.mark.full
def test_many_random_programs() -> None:
    assert check_programs(100_000, 20_000) > 2_000
