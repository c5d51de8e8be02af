"""The table against what the native code does: gas, stack effect, bounds and forks of every opcode."""

from __future__ import annotations

import pytest

from chain.forks import LATEST_FORK, Fork
from tests.unit.vm.programs import MACHINE, World, code
from vm.evm.emitters import EMITTERS
from vm.evm.opcodes import BY_NAME, Opcode, opcodes
from vm.message import Halt

ROWS = list(opcodes(LATEST_FORK).values())
names = pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)

JUMPING = {"JUMP", "JUMPI"}


def test_every_opcode_has_an_emitter() -> None:
    assert EMITTERS.keys() == BY_NAME.keys()


@names
def test_stack_effect(row: Opcode) -> None:
    if row.is_terminating or row.name in JUMPING:
        pytest.skip("control does not go on to the next opcode")
    program = b"\x5f" * row.pops + bytes([row.byte]) + bytes(row.immediate) + b"\x00"
    world = World(LATEST_FORK)
    world.journal.set_code(world.message().to, program)
    execution = MACHINE.begin(world.message(), world.context)
    outermost = execution.frames[0]
    try:
        execution.step(row.pops + 1)
        assert len(execution.frames) == (2 if row.name in {"CREATE", "CREATE2"} else 1)
        assert outermost.depth == row.pushes
        assert outermost.pc == row.pops + 1 + row.immediate
    finally:
        execution.close()


@names
def test_underflow(row: Opcode) -> None:
    if row.pops:
        outcome = World(LATEST_FORK).call(b"\x5f" * (row.pops - 1) + bytes([row.byte]))
        assert outcome.halt is Halt.STACK_UNDERFLOW
        assert outcome.gas_left == 0


@names
def test_overflow_at_1024_words(row: Opcode) -> None:
    grows = row.pushes - row.pops
    if grows > 0:
        room = 1024 - grows
        assert World(LATEST_FORK).call(b"\x5f" * room + bytes([row.byte]) + bytes(row.immediate)).success
        outcome = World(LATEST_FORK).call(b"\x5f" * (room + 1) + bytes([row.byte]) + bytes(row.immediate))
        assert outcome.halt is Halt.STACK_OVERFLOW


@names
def test_static_gas_is_the_least_that_suffices(row: Opcode) -> None:
    if row.name in {"JUMP", "JUMPI", "INVALID"} or row.gas == 0:
        return
    before = 2 * row.pops
    program = b"\x5f" * row.pops + bytes([row.byte]) + bytes(row.immediate)
    assert World(LATEST_FORK).call(program, before + row.gas - 1).halt is Halt.OUT_OF_GAS


@pytest.mark.parametrize("fork", Fork)
def test_opcodes_do_not_exist_before_their_fork(fork: Fork) -> None:
    known = opcodes(fork)
    for byte in range(256):
        if byte not in known:
            assert World(fork).call(b"\x60\x00" * 8 + bytes([byte])).halt is Halt.INVALID_OPCODE


def test_dup_and_swap_reach() -> None:
    words = list(range(100, 117))
    for n in range(1, 17):
        assert World().top(*words, f"DUP{n}") == words[-n]
        assert World().top(*words, f"SWAP{n}") == words[-1 - n]
        assert World().top(*words, f"SWAP{n}", *(["POP"] * n)) == words[-1]


@pytest.mark.parametrize("size", range(1, 33))
def test_push_reads_big_endian(size: int) -> None:
    data = bytes(range(1, size + 1))
    assert World().top(bytes([0x5F + size]) + data) == int.from_bytes(data, "big")


def test_push_at_the_end_of_code_reads_zeros() -> None:
    world = World()
    world.journal.set_code(world.message().to, code(1, "POP") + b"\x7f\xaa\xbb")
    execution = MACHINE.begin(world.message(), world.context)
    execution.step(3)
    assert execution.frames[0].stack() == [0xAABB << 240]
    execution.close()
