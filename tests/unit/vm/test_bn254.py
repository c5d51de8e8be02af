"""Native arithmetic on alt_bn128 against arithmetic of Python's integers."""

from __future__ import annotations

from hypothesis import example, given, settings
from hypothesis import strategies as st

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
