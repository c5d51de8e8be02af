"""Calls of the console are collected in every engine, in order, whatever becomes of the frames that made them."""

from __future__ import annotations

import pytest

from chain.console_log import CONSOLE
from node.machine.assembly import build_machine
from node.machine.object_cache import FileObjectCache
from tests.paths import OBJECTS
from tests.unit.vm.programs import OTHER, World, code
from vm.console import BYTES_MAX, CALLS_MAX, ConsoleCalls
from vm.machine import ENGINES

REVERT = code(0, 0, "REVERT")


def log(kind: str = "STATICCALL", size: int = 32, value: int = 0) -> bytes:
    """Calls the console with what is in memory."""
    values = (value,) if kind in ("CALL", "CALLCODE") else ()
    return code(0, 0, size, 0, *values, b"\x73" + CONSOLE, f"GAS {kind} POP")


def put(word: int) -> bytes:
    return code(word, 0, "MSTORE")


def other() -> bytes:
    """Calls `OTHER`."""
    return code(0, 0, 0, 0, 0, b"\x73" + OTHER, "GAS CALL POP")


def heard(program: bytes, engine: str, below: bytes = b"") -> ConsoleCalls:
    world = World()
    world.state.put(OTHER, below)
    world.context.console = ConsoleCalls()
    world.journal.set_code(world.message().to, program)
    build_machine(engine=engine, cache=FileObjectCache(OBJECTS)).execute(world.message(10_000_000), world.context)
    return world.context.console


def words(console: ConsoleCalls) -> list[int]:
    return [int.from_bytes(data, "big") for data in console.calls]


@pytest.mark.parametrize("engine", ENGINES)
def test_in_order_and_also_of_frames_that_fail(engine: str) -> None:
    program = put(1) + log() + other() + put(3) + log("CALL") + other() + REVERT
    assert words(heard(program, engine, put(2) + log() + REVERT)) == [1, 2, 3, 2]


@pytest.mark.parametrize("engine", ENGINES)
def test_in_a_loop_that_is_compiled(engine: str) -> None:
    """Calls that native code carries out by itself are those of accounts with code: the console has none."""
    loop = code(b"\x61" + (CALLS_MAX + 7).to_bytes(2, "big"), "JUMPDEST DUP1", 0, "MSTORE") + log()
    loop += code(1, "SWAP1 SUB DUP1", 3, "JUMPI STOP")
    console = heard(loop, engine)
    assert words(console) == list(range(CALLS_MAX + 7, 7, -1))
    assert console.dropped == 7


def test_what_does_not_run_at_the_console_is_not_collected() -> None:
    assert heard(put(1) + log("DELEGATECALL") + log("CALLCODE"), "interpreter").calls == []
    assert heard(put(1) + log("CALL", value=10**18), "interpreter").calls == [], "nobody has that much"


def test_bytes_are_bounded() -> None:
    console = heard(log(size=BYTES_MAX // 2) * 2 + log(size=1) + log(size=0), "interpreter")
    assert [len(data) for data in console.calls] == [BYTES_MAX // 2, BYTES_MAX // 2, 0]
    assert console.dropped == 1
