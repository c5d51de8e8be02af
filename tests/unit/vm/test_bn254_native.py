"""The native functions of alt_bn128's fields, one by one, at their edges and against Python's integers."""

from __future__ import annotations

import ctypes
import random
from functools import cache
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from chain.forks import Fork
from tests.unit.vm import bn254_pairing_reference as reference
from tests.unit.vm.bn254_reference import affine_multiple
from tests.unit.vm.test_bn254 import in_g2
from vm.evm.native import load_interpreter
from vm.ir import compiler, loader
from vm.ir.builder import declared_exports
from vm.precompiles.bn254_native import ate, base_field, curve, tower
from vm.precompiles.bn254_native.elements import FIELD, FP12, G2, RADIX, Element, FunctionBody, U, define, power

BASE = ("fp_mul", "fp_square", "fp_add", "fp_sub", "fp_double", "fp_neg", "fp_enter", "fp_leave", "fp_inverse")
UPPER = tuple(
    f"fp12_{name}"
    for name in ("mul", "square", "cyclotomic_square", "inverse", "frobenius", "conjugate", "line", "cube")
)
WORD = 2**64 - 1
EDGES = (
    *(0, 1, 2, FIELD - 1, FIELD - 2, FIELD >> 1, (FIELD >> 1) + 1, RADIX % FIELD, RADIX * RADIX % FIELD),
    *(WORD << 64 * i for i in range(3)),
    *((1 << 64 * i) - 1 for i in range(1, 4)),
    FIELD & ~WORD,
    (FIELD >> 192 << 192) - 1,
)
values = st.sampled_from(EDGES) | st.integers(0, FIELD - 1)
twelve = st.lists(values, min_size=12, max_size=12)
UNSHIFT = pow(RADIX, -1, FIELD)


@cache
def functions() -> dict[str, int]:
    ir = base_field.functions() + tower.functions() + define(FP12, "cube", lambda a: power(a, 3))
    return loader.load_library("bn254-fields", lambda: ir + declared_exports(BASE + UPPER), BASE + UPPER)


def run(name: str, *operands: list[int]) -> list[int]:
    """A function of raw 256-bit words."""
    function = ctypes.CFUNCTYPE(None, *[ctypes.c_void_p] * (1 + len(operands)))(functions()[name])
    data = [b"".join(value.to_bytes(32, "little") for value in operand) for operand in operands]
    places = [ctypes.create_string_buffer(each, len(each)) for each in (data[0], *data)]
    function(*places)
    out = places[0].raw
    return [int.from_bytes(out[at : at + 32], "little") for at in range(0, len(out), 32)]


@settings(deadline=None, max_examples=300)
@given(values, values)
@example(FIELD - 1, FIELD - 1)
@example(0, FIELD - 1)
def test_the_base_field(a: int, b: int) -> None:
    expected = {
        "fp_mul": a * b * UNSHIFT,
        "fp_add": a + b,
        "fp_sub": a - b,
    }
    assert {name: run(name, [a], [b])[0] for name in expected} == {k: v % FIELD for k, v in expected.items()}
    alone = {
        "fp_square": a * a * UNSHIFT,
        "fp_double": 2 * a,
        "fp_neg": -a,
        "fp_enter": a * RADIX,
        "fp_leave": a * UNSHIFT,
        "fp_inverse": pow(a, -1, FIELD) * RADIX * RADIX if a else 0,
    }
    assert {name: run(name, [a])[0] for name in alone} == {k: v % FIELD for k, v in alone.items()}


@pytest.mark.parametrize("name", ["fp_mul", "fp_add", "fp_sub"])
def test_the_base_field_at_all_pairs_of_edges(name: str) -> None:
    """Carries through every word."""
    for a in EDGES:
        for b in EDGES:
            expected = {"fp_mul": a * b * UNSHIFT, "fp_add": a + b, "fp_sub": a - b}[name]
            assert run(name, [a], [b]) == [expected % FIELD], (hex(a), hex(b))


def to_reference(value: list[int]) -> list[Any]:
    """Montgomery forms of the tower to coefficients of w."""
    plain = [leaf * UNSHIFT % FIELD for leaf in value]
    result = [reference.mpz(0)] * 12
    for k in range(6):
        at = 6 * (k % 2) + 2 * (k // 2)
        result[k] = reference.mpz((plain[at] - 9 * plain[at + 1]) % FIELD)
        result[k + 6] = reference.mpz(plain[at + 1])
    return result


@settings(deadline=None, max_examples=60)
@given(twelve, twelve)
def test_the_tower(a: list[int], b: list[int]) -> None:
    left, right = to_reference(a), to_reference(b)
    square = reference._mul12(left, left)
    assert to_reference(run("fp12_mul", a, b)) == reference._mul12(left, right)
    assert to_reference(run("fp12_square", a)) == square
    assert to_reference(run("fp12_cube", a)) == reference._mul12(square, left)
    assert to_reference(run("fp12_frobenius", a)) == reference._frobenius(left)
    assert to_reference(run("fp12_conjugate", a)) == reference._conjugate(left)
    line = [[*b[2 * i : 2 * i + 2]] for i in range(3)]
    zero = [0] * 2
    sparse = [*line[0], *zero, *zero, *line[1], *line[2], *zero]
    assert run("fp12_line", a, *line) == run("fp12_mul", a, sparse)


@settings(deadline=None, max_examples=20)
@given(twelve.filter(any))
def test_inverses_and_squares_in_the_cyclotomic_group(a: list[int]) -> None:
    one = [RADIX % FIELD, *[0] * 11]
    inverse = run("fp12_inverse", a)
    assert run("fp12_mul", a, inverse) == one
    easy = run("fp12_mul", run("fp12_conjugate", a), inverse)
    cyclotomic = run("fp12_mul", run("fp12_frobenius", run("fp12_frobenius", easy)), easy)
    assert run("fp12_cyclotomic_square", cyclotomic) == run("fp12_square", cyclotomic)


def pairing_value() -> str:
    """``@pairing_value(out, pairs, count)``: what the product's check compares with one."""
    code = FunctionBody()
    value = code.constant(FP12, 1, *[0] * 11)
    ate._miller_loop(value)
    Element(code, FP12, "%out").put(ate._final_exponentiation(value))
    code.do("ret void")
    return code.function("define internal void @pairing_value(ptr %out, ptr %pairs, i64 %count) nounwind")


def test_the_value_of_a_pairing() -> None:
    """All twelve coefficients, not only whether they are one's."""
    text = base_field.functions() + tower.functions() + curve.functions(G2) + ate.functions() + pairing_value()
    text += declared_exports(("pairing_value",))
    at = loader.load_library("bn254-value", lambda: text, ("pairing_value",))
    function = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_uint64)(at["pairing_value"])
    rng = random.Random(11)
    for count in (1, 1, 2, 3):
        pairs, records = [], b""
        for _ in range(count):
            point = affine_multiple((1, 2), rng.randrange(1, reference.ORDER))
            twisted = in_g2(rng.randrange(1, reference.ORDER))
            assert point is not None
            assert twisted is not None
            pairs.append((point, twisted))
            numbers = [*point, *twisted[0], *twisted[1]]
            records += b"".join(int(n).to_bytes(32, "little") for n in numbers).ljust(ate.PAIR.size_bytes, b"\0")
        out, given_pairs = (ctypes.create_string_buffer(data, len(data)) for data in (bytes(FP12.size_bytes), records))
        function(out, given_pairs, count)
        value = [int.from_bytes(out.raw[i : i + 32], "little") for i in range(0, FP12.size_bytes, 32)]
        assert to_reference(value) == reference._final_exponentiation(reference._miller_loop(pairs))


def test_the_object_goes_into_the_cache(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of the process's interpreters, so that the next process finds it (`image_for`, tested with theirs)."""
    kept: dict[str, bytes] = {}

    class Cache:
        def get(self, key: str) -> bytes | None:
            return kept.get(key)

        def put(self, key: str, data: bytes) -> None:
            kept[key] = data

    monkeypatch.setattr(loader, "_cache", None)
    load_interpreter(Fork.OSAKA, Cache())
    text = base_field.functions() + declared_exports(("fp_add",))
    loader.load_library("bn254-cached", lambda: text, ("fp_add",))
    key = loader.object_key(text, "bn254-cached")
    assert loader.unseal(key, kept[key]) == compiler.compile_optimised(text)


def test_field_and_order_come_from_one_number() -> None:
    assert FIELD == 36 * U**4 + 36 * U**3 + 24 * U**2 + 6 * U + 1
    assert reference.ORDER == 36 * U**4 + 36 * U**3 + 18 * U**2 + 6 * U + 1
