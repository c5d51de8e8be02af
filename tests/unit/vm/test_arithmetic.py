"""Arithmetic, comparison and bit opcodes against Python's integers, biased to the edges."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chain.forks import Fork
from tests.effort import tries
from tests.unit.vm.programs import World, code

M = 2**256


def signed(a: int) -> int:
    return a - M if a >> 255 else a


def sdiv(a: int, b: int) -> int:
    x, y = signed(a), signed(b)
    return 0 if y == 0 else abs(x) // abs(y) * (1 if (x < 0) == (y < 0) else -1)


def smod(a: int, b: int) -> int:
    x, y = signed(a), signed(b)
    return 0 if y == 0 else abs(x) % abs(y) * (-1 if x < 0 else 1)


def signextend(size: int, a: int) -> int:
    if size >= 31:
        return a
    low = a % (1 << 8 * (size + 1))
    return low - (1 << 8 * (size + 1)) if low >> (8 * size + 7) else low


OPERATIONS: dict[str, Callable[..., int]] = {
    "ADD": lambda a, b: a + b,
    "MUL": lambda a, b: a * b,
    "SUB": lambda a, b: a - b,
    "DIV": lambda a, b: a // b if b else 0,
    "SDIV": sdiv,
    "MOD": lambda a, b: a % b if b else 0,
    "SMOD": smod,
    "ADDMOD": lambda a, b, n: (a + b) % n if n else 0,
    "MULMOD": lambda a, b, n: a * b % n if n else 0,
    "EXP": lambda a, b: pow(a, b, M),
    "SIGNEXTEND": signextend,
    "LT": lambda a, b: a < b,
    "GT": lambda a, b: a > b,
    "SLT": lambda a, b: signed(a) < signed(b),
    "SGT": lambda a, b: signed(a) > signed(b),
    "EQ": lambda a, b: a == b,
    "ISZERO": lambda a: a == 0,
    "AND": lambda a, b: a & b,
    "OR": lambda a, b: a | b,
    "XOR": lambda a, b: a ^ b,
    "NOT": lambda a: ~a,
    "BYTE": lambda i, a: a.to_bytes(32, "big")[i] if i < 32 else 0,
    "SHL": lambda n, a: a << n if n < 256 else 0,
    "SHR": lambda n, a: a >> n if n < 256 else 0,
    "SAR": lambda n, a: signed(a) >> min(n, 256),
    "CLZ": lambda a: 256 - a.bit_length(),
}

limbs = st.sampled_from([0, 1, 2**63, 2**64 - 1]) | st.integers(0, 2**64 - 1)
words = st.one_of(
    st.sampled_from(
        [0, 1, 2, 31, 32, 255, 256, M - 1, M - 2, M >> 1, (M >> 1) - 1, 2**64, 2**128, 2**128 - 1]
    ),
    st.integers(0, M - 1),
    st.integers(0, 300),
    st.builds(lambda bits, less: ((1 << bits) - less) % M, st.integers(0, 256), st.integers(0, 2)),
    st.builds(lambda *parts: sum(part << 64 * i for i, part in enumerate(parts)), limbs, limbs, limbs, limbs),
    st.integers(1, 2**64).map(lambda a: M - a),
)


@pytest.mark.parametrize("name", OPERATIONS)
@settings(max_examples=tries(60, 2_000), deadline=None)
@given(data=st.data())
def test_operation_agrees_with_python(name: str, data: st.DataObject) -> None:
    meaning = OPERATIONS[name]
    operands = [data.draw(words) for _ in range(meaning.__code__.co_argcount)]
    got = World(Fork.OSAKA).top(*reversed(operands), name)
    assert got == int(meaning(*operands)) % M


@pytest.mark.parametrize("name", ["DIV", "MOD", "SDIV", "SMOD"])
@settings(max_examples=tries(60, 10_000), deadline=None)
@given(divisor=words, quotient=words, more=st.integers(-1, 1))
def test_division_about_multiples(name: str, divisor: int, quotient: int, more: int) -> None:
    dividend = (quotient % (M // max(1, divisor)) * divisor + more) % M
    assert World().top(divisor, dividend, name) == OPERATIONS[name](dividend, divisor) % M


@pytest.mark.parametrize(("exponent", "bytes_of_it"), [(0, 0), (1, 1), (255, 1), (256, 2), (M - 1, 32)])
def test_exp_costs_by_significant_bytes(exponent: int, bytes_of_it: int) -> None:
    outcome = World().call(code(exponent, 3, "EXP"))
    assert outcome.success
    assert 1_000_000 - outcome.gas_left == 3 + 3 + 10 + 50 * bytes_of_it
