"""Calls without journal and settlement give what calls in full give: over all tests and random programs."""

from __future__ import annotations

from collections.abc import Iterable

import pytest

from chain.forks import Fork
from chain.types import Address
from node.conformance.running import MachineChoice, Selection, cases_of
from node.conformance.vectors import VectorFile
from node.machine.assembly import build_machine
from node.machine.object_cache import FileObjectCache
from tests.bytecode import code
from tests.conformance.matrix import BLOCKS, ENGINES, STATE, SUITES
from tests.conformance.quick_calls import QuickBlockRunner, QuickRunner, Tally, compare_frame, difference
from tests.conformance.test_vector_matrix import CACHE, files_of, some_files
from tests.differential.programs import CALLER, CONTRACTS, random_case
from tests.differential.running import block_hash, environment
from tests.paths import OBJECTS
from tests.unit.vm.programs import MemoryState
from vm import machine as machines

VM_TESTS = "legacytests-VMTests"


@pytest.fixture(autouse=True)
def all_are_tried(monkeypatch: pytest.MonkeyPatch) -> None:
    """A contract that calls others is tried again each time."""
    monkeypatch.setattr(machines, "QUICK_LEFT_OUT", 0)


def check(archive: str, files: Iterable[VectorFile], engine: str) -> Tally:
    runner = (QuickRunner if archive in STATE else QuickBlockRunner)(MachineChoice(engine, CACHE))
    failed = [result.name for file in files for result in runner.run_file(file, Selection()) if not result.passed]
    tally = runner.tally
    assert not tally.differences, tally.differences[:5]
    assert not failed, failed[:5]
    print(f"{archive}, {engine}: {tally.answered} of {tally.calls} calls answered quickly")
    return tally


@pytest.mark.parametrize(("archives", "least"), [(STATE, 50), (BLOCKS, 10)])
def test_some_tests(archives: dict[str, int], least: int) -> None:
    names = [name for name in archives if name != VM_TESTS]
    assert sum(check(name, some_files(name), "interpreter").answered for name in names) > least


@pytest.mark.full
@pytest.mark.timeout(3_600)
@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("archive", [name for name in SUITES if name != VM_TESTS])
def test_all_tests(archive: str, engine: str) -> None:
    assert check(archive, files_of(SUITES[archive]), engine).calls


def check_frames(files: Iterable[VectorFile], engine: str) -> Tally:
    """The frames of VM tests."""
    machine, tally = machines.Machine(MachineChoice(engine, CACHE).parts()), Tally()
    for file in files:
        for case in cases_of(file).values():
            compare_frame(machine, case, tally)
    assert not tally.differences, tally.differences[:5]
    return tally


def test_some_frames() -> None:
    small = [file for file in some_files(VM_TESTS) if "Performance" not in file.name]
    assert check_frames(small, "interpreter").answered


@pytest.mark.full
@pytest.mark.parametrize("engine", ENGINES)
def test_all_frames(engine: str) -> None:
    tally = check_frames(files_of(SUITES[VM_TESTS]), engine)
    print(f"{VM_TESTS}, {engine}: {tally.answered} of {tally.calls} calls answered quickly")
    assert tally.calls == 3 * STATE[VM_TESTS]
    assert tally.answered > 100


def check_programs(seed: int, count: int, engine: str = "interpreter") -> int:
    """How many random programs were answered quickly; all like in full."""
    answered = 0
    machine = machines.Machine(MachineChoice(engine, CACHE).parts())
    for case in map(random_case, range(seed, seed + count)):
        state = MemoryState()
        state.put(Address(bytes.fromhex(CALLER)), balance=10**18)
        for address, program in zip(CONTRACTS, case.codes, strict=True):
            state.put(Address(bytes.fromhex(address)), bytes.fromhex(program), balance=5, nonce=1)
        sender, to = (Address(bytes.fromhex(name)) for name in (CALLER, CONTRACTS[0]))
        call = (sender, to, bytes.fromhex(case.data), case.gas)
        found = difference(machine, environment(Fork[case.fork]), block_hash, state, call)
        assert not found, (case, found)
        answered += found is not None
    return answered


def test_some_random_programs() -> None:
    assert check_programs(1_000, 300) > 60


@pytest.mark.full
@pytest.mark.timeout(3_600)
@pytest.mark.parametrize(("engine", "count"), [("interpreter", 20_000), ("jit", 500)])
def test_many_random_programs(engine: str, count: int) -> None:
    assert check_programs(100_000, count, engine) > count // 10


ENDS = {
    "revert": ("REVERT", code(7, 0, "MSTORE", 32, 0, "REVERT")),
    "revert after a store and a refund": ("REVERT", code(0, 5, "SSTORE", 1, 6, "SSTORE", 0, 0, "REVERT")),
    "out of gas": ("OUT_OF_GAS", code("JUMPDEST", 0, "JUMP")),
    "out of memory": ("OUT_OF_GAS", code(1, 2**63, "MSTORE")),
    "underflow": ("STACK_UNDERFLOW", code("POP")),
    "overflow": ("STACK_OVERFLOW", code("JUMPDEST", 0, 0, "JUMP")),
    "jump": ("INVALID_JUMP", code(3, "JUMP")),
    "opcode": ("INVALID_OPCODE", b"\xfe"),
    "return data": ("RETURN_DATA_OUT_OF_BOUNDS", code(1, 0, 0, "RETURNDATACOPY")),
}


@pytest.mark.parametrize("engine", ["interpreter", "jit"])
@pytest.mark.parametrize("end", ENDS)
def test_calls_that_fail(end: str, engine: str) -> None:
    machine, state = build_machine(engine=engine, cache=FileObjectCache(OBJECTS)), MemoryState()
    sender, to = Address(b"\x11" * 20), Address(b"\x22" * 20)
    state.put(sender, balance=10**18)
    state.put(to, ENDS[end][1], nonce=1)
    state.slots[to] = {5: 9}
    for _ in range(2):  # the second time its code is known
        assert difference(machine, environment(Fork.CANCUN), block_hash, state, (sender, to, b"\x01", 60_000)) == ""
    quick = machine.call_quickly(environment(Fork.CANCUN), state, sender, to, b"\x01", 39_000)
    assert quick is not None
    assert quick.halt.name == ENDS[end][0]
