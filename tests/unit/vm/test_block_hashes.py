"""BLOCKHASH, which Python answers once for each block and native code from then on."""

from __future__ import annotations

from dataclasses import replace

import pytest

from chain.forks import Fork
from chain.hashing import keccak256
from node.machine.assembly import build_machine
from tests.unit.vm.programs import TARGET, World, code
from vm.machine import Machine

MACHINES = {"interpreter": build_machine(), "jit": build_machine(engine="jit")}
NUMBERS = (0, 1, 743, 744, 745, 998, 999, 1000, 1001, 1256, 2**63 - 1, 2**64 - 1, 2**64 + 999, 2**256 - 1)


def ask(machine: Machine, world: World, numbers: tuple[int, ...]) -> tuple[list[bytes], list[int]]:
    """The answers, and which blocks Python was asked for."""
    asked: list[int] = []

    def block_hash(number: int) -> bytes:
        asked.append(number)
        return keccak256(world.context.environment.number.to_bytes(8, "big") + number.to_bytes(8, "big"))

    world.context.block_hash = block_hash  # type: ignore[assignment]
    parts = b"".join(code(n, "BLOCKHASH", 32 * i, "MSTORE") for i, n in enumerate(numbers))
    world.journal.set_code(TARGET, parts + code(32 * len(numbers), 0, "RETURN"))
    output = machine.execute(world.message(), world.context).output
    return [output[i : i + 32] for i in range(0, len(output), 32)], asked


def wanted(current: int, number: int) -> bytes:
    if not 0 < current - number <= 256:
        return bytes(32)
    return keccak256(current.to_bytes(8, "big") + number.to_bytes(8, "big"))


@pytest.mark.parametrize("engine", MACHINES)
@pytest.mark.parametrize("current", [0, 1, 5, 255, 256, 257, 1000])
def test_the_last_256_blocks(engine: str, current: int) -> None:
    world = World(Fork.OSAKA)
    world.context.environment = replace(world.context.environment, number=current)
    answers, asked = ask(MACHINES[engine], world, NUMBERS * 2)
    assert answers == [wanted(current, number) for number in NUMBERS] * 2
    assert asked == [number for number in NUMBERS if 0 < current - number <= 256]


@pytest.mark.parametrize("engine", MACHINES)
def test_another_execution_asks_again(engine: str) -> None:
    world = World(Fork.OSAKA)
    for current in (1000, 1001, 1256, 1255):
        world.context.environment = replace(world.context.environment, number=current)
        answers, asked = ask(MACHINES[engine], world, (999, 1000))
        assert answers == [wanted(current, 999), wanted(current, 1000)]
        assert asked == [number for number in (999, 1000) if 0 < current - number <= 256]


@pytest.mark.parametrize("engine", MACHINES)
def test_all_of_them_share_the_table(engine: str) -> None:
    numbers = tuple(range(1000 - 258, 1002))
    answers, asked = ask(MACHINES[engine], World(Fork.OSAKA), numbers * 2)
    assert answers == [wanted(1000, number) for number in numbers] * 2
    assert asked == list(range(744, 1000))
