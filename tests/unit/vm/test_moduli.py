"""MULMOD by a modulus used before goes through its reciprocal: the result is Python's, in both engines."""

from __future__ import annotations

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from node.machine.assembly import build_machine
from tests.bytecode import code
from tests.effort import tries
from tests.unit.vm.programs import World
from vm.evm.layout import MODULUS_BYTES, MODULUS_USES, Modulus, StateBlock
from vm.machine import Machine

ENGINES = ("interpreter", "jit")
MULTIPLIES = code(64, "CALLDATALOAD", 32, "CALLDATALOAD", 0, "CALLDATALOAD MULMOD", 0, "MSTORE", 32, 0, "RETURN")
MACHINES = {engine: build_machine(engine=engine) for engine in ENGINES}
WORD = 2**256
PRIMES = (
    2**255 - 19,
    2**256 - 2**32 - 977,
    21888242871839275222246405745257275088696311157297823662689037894645226208583,
)
EDGES = (2**192, 2**192 + 1, 2**193 - 1, 2**255 - 1, 2**255, 2**255 + 1, WORD - 1, *PRIMES)
NUMBERS = st.sampled_from((0, 1, WORD - 1, 2**255, *PRIMES)) | st.integers(0, WORD - 1)
MODULI = st.sampled_from(EDGES) | st.integers(2**192, WORD - 1) | st.integers(2**192, 2**194)


def product(machine: Machine, a: int, b: int, modulus: int) -> int:
    world = World()
    message = world.message(1_000_000, data=b"".join(n.to_bytes(32) for n in (a, b, modulus)))
    world.journal.set_code(message.to, MULTIPLIES)
    return int.from_bytes(machine.execute(message, world.context).output)


def known(machine: Machine) -> dict[int, int]:
    """By modulus: its reciprocal."""
    view = machine._pools.pool.native_state.view
    found = {}
    for at in range(StateBlock.MODULI, StateBlock.END, MODULUS_BYTES):
        if int.from_bytes(view[at + Modulus.USES : at + Modulus.USES + 8], "little") == MODULUS_USES:
            first = at + Modulus.RECIPROCAL
            found[int.from_bytes(view[at : at + 32], "little")] = int.from_bytes(view[first : first + 40], "little")
    return found


@pytest.mark.parametrize("engine", ENGINES)
@settings(max_examples=tries(40, 5_000), deadline=None)
@given(modulus=MODULI, factors=st.lists(st.tuples(NUMBERS, NUMBERS), min_size=MODULUS_USES, max_size=8))
def test_products_by_one_modulus(engine: str, modulus: int, factors: list[tuple[int, int]]) -> None:
    for a, b in factors:
        assert product(MACHINES[engine], a, b, modulus) == a * b % modulus


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("modulus", EDGES)
def test_the_reciprocal_of(engine: str, modulus: int) -> None:
    machine = build_machine(engine=engine)
    for use in range(MODULUS_USES):
        assert modulus not in known(machine), f"after {use} uses"
        product(machine, WORD - 1, WORD - 1, modulus)
    assert known(machine)[modulus] == (WORD**2 - 1) // modulus


@pytest.mark.parametrize("engine", ENGINES)
def test_guesses_that_are_too_small(engine: str) -> None:
    machine, choice = MACHINES[engine], random.Random(5)
    short: set[int] = set()
    for modulus in (2**192, 2**192 + 1, 2**193 - 1, choice.randrange(2**192, 2**193)):
        for _ in range(60):
            a, b = WORD - 1 - choice.randrange(2**64), WORD - 1 - choice.randrange(2**200)
            assert product(machine, a, b, modulus) == a * b % modulus
            short.add(a * b // modulus - ((a * b >> 192) * ((WORD**2 - 1) // modulus) >> 320))
    assert {0, 1} <= short <= {0, 1, 2, 3}, "the guess was right in some, and too small in others"


@pytest.mark.parametrize("engine", ENGINES)
def test_moduli_that_replace_each_other(engine: str) -> None:
    machine, choice = build_machine(engine=engine), random.Random(7)
    moduli = [choice.randrange(2**192, WORD) for _ in range(40)]
    for modulus in moduli + moduli[::-1] + [m for m in moduli for _ in range(MODULUS_USES + 1)]:
        a, b = choice.randrange(WORD), choice.randrange(WORD)
        assert product(machine, a, b, modulus) == a * b % modulus
    assert 8 <= len(known(machine)) <= 16
