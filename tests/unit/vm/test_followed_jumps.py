"""Compiled functions go on at the targets of jumps: whatever path a program takes, it ends as interpreted."""

from __future__ import annotations

import random

import pytest

from chain.forks import Fork
from node.machine.assembly import build_machine
from tests.bytecode import code
from tests.effort import tries
from tests.unit.vm.programs import World
from vm.evm.jit.module import compile_ir
from vm.evm.jit.program import SegmentedCode
from vm.machine import Machine
from vm.message import Outcome

INTERPRETER, COMPILED = build_machine(), build_machine(engine="jit")
FAILS = code(0, 0, "REVERT")
ENDS = code(0, "MSTORE GAS", 32, "MSTORE", 64, 0, "RETURN")


class Labels:
    """Code whose blocks name each other before they have a place: each name is pushed by a PUSH2."""

    def __init__(self) -> None:
        self._code = bytearray()
        self._places: dict[int, int] = {}
        self._uses: list[tuple[int, int]] = []

    def add(self, *parts: str | int | bytes) -> None:
        self._code += code(*parts)

    def push(self, label: int) -> None:
        self._code += code(b"\x61\0\0")
        self._uses.append((len(self._code) - 2, label))

    def place(self, label: int) -> None:
        self._places[label] = len(self._code)
        self.add("JUMPDEST")

    def bytes(self) -> bytes:
        for at, label in self._uses:
            self._code[at : at + 2] = self._places[label].to_bytes(2, "big")
        return bytes(self._code)


WORK = (
    *("DUP1", "DUP2", "DUP3", "DUP5", "SWAP1", "SWAP2", "SWAP4", "ADD", "MUL", "SUB", "LT", "GT", "ISZERO", "POP"),
    *("GAS", "PC", "CALLER", "MSIZE", "AND", "XOR"),
)
MEMORY = (
    code("DUP1", 200, "AND MLOAD"),
    code("DUP1 DUP1", 500, "AND MSTORE"),
    code("DUP1 SLOAD"),
    code(64, 32, "KECCAK256"),
)


def random_program(choice: random.Random, blocks: int) -> bytes:
    """Blocks that jump to each other by constants, call each other, fail behind checks, and fall through."""
    program = Labels()
    program.add(*(choice.randrange(2**choice.choice((3, 64, 256))) for _ in range(6)))
    for label in range(blocks):
        program.place(label)
        for _ in range(choice.randrange(8)):
            program.add(choice.choice(WORK) if choice.random() < 0.85 else choice.choice(MEMORY))
        to, back = choice.randrange(blocks), choice.randrange(blocks)
        match choice.randrange(8):
            case 0:
                program.push(to)
                program.add("JUMP")
            case 1 | 2:
                program.push(back)
                program.push(to)
                program.add("JUMP")
            case 3:
                program.add("JUMP")
            case 4:
                program.add("DUP2 DUP2 GT")
                program.push(to)
                program.add("JUMPI", FAILS)
            case 5:
                program.add("DUP1", 1, "AND")
                program.push(to)
                program.add("JUMPI")
            case 6:
                program.add(ENDS)
    program.add(ENDS)
    return program.bytes()


def run(machine: Machine, program: bytes, gas: int) -> Outcome:
    world = World()
    message = world.message(gas)
    world.journal.set_code(message.to, program)
    return machine.execute(message, world.context)


@pytest.mark.parametrize("seed", range(tries(20, 1_000)))
def test_programs_of_jumps_end_as_interpreted(seed: int) -> None:
    choice = random.Random(seed)
    program = random_program(choice, choice.choice((3, 6, 20)))
    for gas in (*(choice.randrange(400) for _ in range(10)), 3_000, 3_030, 20_000, 200_000):
        assert run(COMPILED, program, gas) == run(INTERPRETER, program, gas), f"{program.hex()} with {gas} gas"


def test_a_loop_with_calls_of_its_own_is_one_function() -> None:
    program = Labels()
    program.add(5_000)
    program.place(0)  # loop: n -> f(n), again while not 0
    program.push(1)
    program.add("SWAP1")
    program.push(2)
    program.add("JUMP")
    program.place(1)
    program.add("DUP1")
    program.push(0)
    program.add("JUMPI", ENDS)
    program.place(2)  # f: back, n -> n - 1, checked
    program.add(1, "DUP2 LT ISZERO")
    program.push(3)
    program.add("JUMPI", FAILS)
    program.place(3)
    program.add(1, "SWAP1 SUB SWAP1 JUMP")
    text = compile_ir(program.bytes(), Fork.CANCUN, None).ir
    loop = next(part for part in text.split("define ") if part.startswith("internal") and "@at3(" in part)
    assert "@at3(ptr" in loop.split("\n", 1)[1], "the loop leads to itself"
    assert run(COMPILED, program.bytes(), 2_000_000) == run(INTERPRETER, program.bytes(), 2_000_000)


@pytest.mark.parametrize(
    ("behind", "fails"),
    [
        (FAILS, True),
        (b"\xfe", True),
        (code(9, "JUMP", b"\0" * 6, "JUMPDEST", 0, 0, "REVERT"), True),
        (code(9, "JUMP", b"\0" * 6, "JUMPDEST STOP"), False),
        (code(9, "JUMP"), False),
        (code(0, "JUMPDEST", 1, "JUMP"), False),
        (code("CALLER JUMP"), False),
        (code(1, 0, "JUMPI") + FAILS, False),
        (code("GAS POP") + FAILS, False),
        (b"", False),
    ],
)
def test_code_that_only_fails(behind: bytes, fails: bool) -> None:
    assert SegmentedCode(behind, Fork.CANCUN).fails_at(0) is fails
