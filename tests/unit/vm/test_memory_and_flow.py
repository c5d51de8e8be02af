"""Memory growth and its gas, Keccak, copies, jumps, and running out of gas anywhere."""

from __future__ import annotations

import random

import pytest

from chain.forks import LATEST_FORK, Fork
from chain.gas_schedule import SCHEDULES
from chain.hashing import keccak256
from tests.unit.vm.programs import World, code, returning_top, run
from vm.code import Code
from vm.evm.native import load_interpreter
from vm.message import Halt

M = 2**256
PRICES = SCHEDULES[LATEST_FORK]


@pytest.mark.parametrize("length", [0, 1, 31, 32, 33, 135, 136, 137, 271, 272, 273, 1000, 5000])
def test_keccak(length: int) -> None:
    data = random.Random(length).randbytes(length)
    program = (length, 0, 0, "CALLDATACOPY", length, 0, "KECCAK256")
    assert World().top(*program, data=data) == int.from_bytes(keccak256(data), "big")
    words = (length + 31) // 32
    spent = 1_000_000 - World().call(code(*program), data=data).gas_left
    assert spent == 5 * 3 + 3 + 3 * words + 30 + 6 * words + PRICES.memory(words)


@pytest.mark.parametrize("offset", [0, 1, 31, 32, 1000, 4064, 4065, 5000, 100_000, 1_000_000])
def test_memory_grows_zeroed_and_is_paid_for_once(offset: int) -> None:
    outcome = run(offset, "MLOAD", offset, "MLOAD ADD", "POP MSIZE", 0, "MSTORE", 32, 0, "RETURN", gas=10**9)
    words = (offset + 32 + 31) // 32
    assert int.from_bytes(outcome.output, "big") == 32 * words
    assert 10**9 - outcome.gas_left == PRICES.memory(words) + 5 * 3 + 4 * 3 + 2 * 2


@pytest.mark.parametrize("offset", [2**30, 2**32, 2**63, 2**64 - 1, 2**64, M - 1])
@pytest.mark.parametrize("name", ["MLOAD", "MSTORE", "MSTORE8"])
def test_memory_nobody_can_pay(offset: int, name: str) -> None:
    assert run(1, offset, name, gas=2**40).halt is Halt.OUT_OF_GAS


@pytest.mark.parametrize("name", ["CALLDATACOPY", "CODECOPY", "MCOPY"])
def test_empty_copies_reach_nowhere(name: str) -> None:
    outcome = run(0, M - 1, M - 1, name, "MSIZE", 0, "MSTORE", 32, 0, "RETURN")
    assert outcome.output == bytes(32)


def test_used_memory_is_zero_for_the_next_frame() -> None:
    for size in (40, 4096, 300_000):
        assert run(M - 1, size, "MSTORE", gas=10**9).success
    assert run(320_000, 0, "RETURN", gas=10**9).output == bytes(320_000)


@pytest.mark.parametrize("offset", [0, 1, 31, 32, 33, 64, 2**63, 2**64, M - 1])
def test_calldata_is_padded_with_zeros(offset: int) -> None:
    data = bytes(range(1, 61))
    padded = data[offset : offset + 32].ljust(32, b"\0")
    assert World().top(offset, "CALLDATALOAD", data=data) == int.from_bytes(padded, "big")
    copied = run(32, offset, 5, "CALLDATACOPY", 37, 0, "RETURN", data=data).output
    assert copied == bytes(5) + padded


@pytest.mark.parametrize(
    ("to", "start", "size"), [(0, 32, 32), (32, 0, 40), (5, 0, 60), (0, 5, 60), (100, 0, 1)]
)
def test_mcopy_overlaps(to: int, start: int, size: int) -> None:
    memory = bytearray(bytes(range(1, 97)).ljust(200, b"\0"))
    data = bytes(memory[:96])
    memory[to : to + size] = memory[start : start + size]
    outcome = run(96, 0, 0, "CALLDATACOPY", size, start, to, "MCOPY", 200, 0, "RETURN", data=data)
    assert outcome.output == bytes(memory)


@pytest.mark.parametrize("target", [0, 1, 2, 5, 100, 2**32, 2**64 + 4, M - 1])
def test_jumps_land_only_on_jumpdests(target: int) -> None:
    program = code(
        bytes([0x7F]) + target.to_bytes(32, "big"), "JUMP", bytes([0x61, 0x5B, 0x5B]), "JUMPDEST STOP"
    )
    assert World().call(program).halt is Halt.INVALID_JUMP
    good = code(bytes([0x7F]) + (37).to_bytes(32, "big"), "JUMP", bytes([0x61, 0x5B, 0x5B]), "JUMPDEST STOP")
    assert World().call(good).success


def test_a_jumpi_not_taken_ignores_its_target() -> None:
    assert run(0, M - 1, "JUMPI").success


def test_jump_map_agrees_with_a_walk() -> None:
    interpreter = load_interpreter(Fork.CANCUN)
    source = random.Random(5)
    for _ in range(200):
        text = bytes(source.choice([0x5B, 0x60, 0x61, 0x7F, 0x5F, source.randrange(256)]) for _ in range(120))
        expected, pc = set(), 0
        while pc < len(text):
            if text[pc] == 0x5B:
                expected.add(pc)
            pc += text[pc] - 0x5E if 0x60 <= text[pc] <= 0x7F else 1
        analysed = Code(text, interpreter.map_jumps)
        assert {pc for pc in range(-1, 130) if analysed.is_jump_destination(pc)} == expected


def test_out_of_gas_at_every_limit() -> None:
    program = returning_top(
        5, 0, "MSTORE", 32, 0, "KECCAK256", 100, "MLOAD ADD", 7, 1, "SSTORE", 1, "SLOAD ADD", 300, 3, "EXP"
    )
    needed = 10**6 - World().call(program).gas_left
    for gas in [*range(200), *range(200, needed, 97), needed - 1]:
        world = World()
        outcome = world.call(program, gas)
        assert outcome.halt is Halt.OUT_OF_GAS, gas
        assert outcome.gas_left == 0
        assert world.journal.storage(world.message().to, 1) == 0
    assert World().call(program, needed).gas_left == 0


def test_revert_returns_output_and_gas() -> None:
    outcome = run(0xAB, 0, "MSTORE8", 1, 0, "REVERT")
    assert (outcome.halt, outcome.output) == (Halt.REVERT, b"\xab")
    assert outcome.gas_left > 0
