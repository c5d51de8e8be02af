"""Native arithmetic on alt_bn128 against arithmetic of Python's integers."""

from __future__ import annotations

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from tests.unit.vm import bn254_pairing_reference
from tests.unit.vm.bn254_reference import affine_add, affine_multiple
from vm.errors import PrecompileError
from vm.precompiles import bn254
from vm.precompiles.bn254_native.elements import FIELD

GENERATOR = (1, 2)
EDGES = (0, 1, 2, 3, 4, bn254.ORDER - 1, bn254.ORDER, bn254.ORDER + 1, FIELD, 2**128, 2**255, 2**256 - 1)
scalars = st.sampled_from(EDGES) | st.integers(0, 2**256 - 1)
points = scalars.map(lambda scalar: affine_multiple(GENERATOR, scalar % bn254.ORDER))


def encoded(*numbers: int) -> bytes:
    return b"".join(number.to_bytes(32, "big") for number in numbers)


def encoded_point(point: tuple[int, int] | None) -> bytes:
    return encoded(*(point or (0, 0)))


@settings(deadline=None, max_examples=60)
@given(points, scalars)
@example(None, 5)
@example(GENERATOR, 0)
@example(GENERATOR, bn254.ORDER)
@example(GENERATOR, bn254.ORDER - 1)
@example(GENERATOR, bn254.ORDER + 1)
@example(GENERATOR, 2**256 - 1)
def test_a_multiple_is_that_of_the_reference(point: tuple[int, int] | None, scalar: int) -> None:
    result = bn254.mul(encoded_point(point) + encoded(scalar))
    assert result == encoded_point(affine_multiple(point, scalar % bn254.ORDER))


@settings(deadline=None, max_examples=60)
@given(points, points)
@example(None, None)
@example(None, GENERATOR)
@example(GENERATOR, None)
@example(GENERATOR, GENERATOR)
@example(GENERATOR, (1, FIELD - 2))
def test_a_sum_is_that_of_the_reference(left: tuple[int, int] | None, right: tuple[int, int] | None) -> None:
    assert bn254.add(encoded_point(left) + encoded_point(right)) == encoded_point(affine_add(left, right))


@settings(deadline=None, max_examples=200)
@given(scalars)
@example(bn254.ORDER - 1)
@example(bn254.ORDER // 2)
def test_a_scalar_falls_into_two_short_ones(scalar: int) -> None:
    scalar %= bn254.ORDER
    m, n = bn254._halves(scalar)
    assert max(abs(m), abs(n)) < 2**127
    # The endomorphism's factor, by its definition: a primitive cube root of unity.
    factor = next(root for g in range(2, 9) if (root := pow(g, (bn254.ORDER - 1) // 3, bn254.ORDER)) != 1)
    assert scalar in {(m + n * f) % bn254.ORDER for f in (factor, factor * factor)}


@settings(deadline=None, max_examples=100)
@given(st.lists(st.integers(0, 2**256 - 1), min_size=3, max_size=3), st.integers(0, 160))
def test_short_and_unpadded_input_goes_on_with_zeros(numbers: list[int], size: int) -> None:
    data = encoded(*numbers)[:size]
    for run in (bn254.mul, bn254.add):
        outcomes = []
        for given_data in (data, data.ljust(192, b"\0")):
            try:
                outcomes.append(run(given_data))
            except PrecompileError as error:
                outcomes.append(str(error).encode())
        assert outcomes[0] == outcomes[1]


def in_g2(scalar: int) -> bn254_pairing_reference.TwistPoint | None:
    """A multiple of EIP-197's generator of G2."""
    generator = (
        (
            0x1800DEEF121F1E76426A00665E5C4479674322D4F75EDADD46DEBD5CD992F6ED,
            0x198E9393920D483A7260BFB731FB5D25F1AA493335A9E71297E485B7AEF312C2,
        ),
        (
            0x12C85EA5DB8C6DEB4AAB71808DCB408FE3D1E7690C43D37B4CE6CC0166FA7DAA,
            0x090689D0585FF075EC9E99AD690C3395BC4B313370B38EF355ACDADCD122975B,
        ),
    )
    return bn254_pairing_reference.multiple(generator, scalar)


def pair(left: int, right: int) -> bytes:
    """Input of the pairing check: a multiple of each generator."""
    twisted = in_g2(right % bn254.ORDER)
    numbers = [0] * 4 if twisted is None else [int(c) for part in twisted for c in reversed(part)]
    return encoded_point(affine_multiple(GENERATOR, left % bn254.ORDER)) + encoded(*numbers)


small = st.integers(-3, 3) | st.integers(0, bn254.ORDER - 1)


@settings(deadline=None, max_examples=25)
@given(st.lists(st.tuples(small, small), max_size=3), st.integers(0, 1))
@example([], 0)
@example([(0, 5), (5, 0)], 0)
@example([(1, 1), (-1, 1)], 0)
@example([(1, 1), (1, 1), (-2, 1)], 0)
def test_products_of_pairings(factors: list[tuple[int, int]], off: int) -> None:
    """The product of e(aP, bQ) is e(P, Q) to the sum of a b: bilinear, and one only if that is 0."""
    exponent = sum(a * b for a, b in factors)
    data = b"".join(pair(a, b) for a, b in [*factors, (off - exponent, 1)])
    assert bn254.pairing(data) == encoded(off == 0)


@settings(deadline=None, max_examples=15)
@given(st.lists(st.tuples(st.integers(1, bn254.ORDER - 1), st.integers(1, bn254.ORDER - 1)), min_size=1, max_size=3))
def test_a_pairing_is_that_of_the_reference(factors: list[tuple[int, int]]) -> None:
    data = b"".join(pair(a, b) for a, b in factors)
    pairs = []
    for a, b in factors:
        point, twisted = affine_multiple(GENERATOR, a), in_g2(b)
        assert point is not None
        assert twisted is not None
        pairs.append((point, twisted))
    assert bn254.pairing(data) == encoded(bn254_pairing_reference.product_is_one(pairs))


@settings(deadline=None, max_examples=30)
@given(st.integers(1, bn254.ORDER - 1), st.integers(0, 3), st.integers(1, FIELD - 1))
def test_what_is_not_on_the_twist_is_refused(scalar: int, which: int, by: int) -> None:
    twisted = in_g2(scalar)
    assert twisted is not None
    numbers = [int(c) for part in twisted for c in reversed(part)]
    numbers[which] = (numbers[which] + by) % FIELD
    (x1, x0, y1, y0) = numbers
    on_it = bn254_pairing_reference.is_in_g2(((x0, x1), (y0, y1)))
    assert bn254._is_on_twist(x0, x1, y0, y1) == on_it
    if not on_it:
        with pytest.raises(PrecompileError, match=r"curve|subgroup"):
            bn254.pairing(encoded(1, 2, *numbers))
