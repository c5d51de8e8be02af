"""The optimal ate pairing on alt_bn128, in Python over gmpy2 integers.

The tower: Fp2 = Fp[u] / (u^2 + 1), Fp12 = Fp2[w] / (w^6 - (9 + u)), seen as Fp[w] / (w^12 - 18 w^6 + 82). An
element of Fp12 is its 12 coefficients of w; two are multiplied by packing each into one big integer
(Kronecker substitution), so that GMP does the whole polynomial product in a single multiplication.
"""

from __future__ import annotations

from typing import Any

from gmpy2 import invert, mpz, pack, powmod, unpack

Fp2 = tuple[Any, Any]
"""Real and imaginary part, reduced."""

TwistPoint = tuple[Fp2, Fp2]
"""Affine point of y^2 = x^3 + 3 / (9 + u)."""

Fp12 = list[Any]

FIELD = mpz(0x30644E72E131A029B85045B68181585D97816A916871CA8D3C208C16D87CFD47)
ORDER = 0x30644E72E131A029B85045B68181585D2833E84879B9709143E1F593F0000001
_U = 4965661367192848881
_ATE_LOOP = 6 * _U + 2
_SLOT_BITS = 520
"""A coefficient of a product is below 12 * 2**508."""

_ONE: Fp12 = [mpz(1)] + [mpz(0)] * 11


def _mul2(a: Fp2, b: Fp2) -> Fp2:
    return (a[0] * b[0] - a[1] * b[1]) % FIELD, (a[0] * b[1] + a[1] * b[0]) % FIELD


def _square2(a: Fp2) -> Fp2:
    return (a[0] + a[1]) * (a[0] - a[1]) % FIELD, 2 * a[0] * a[1] % FIELD


def _inverse2(a: Fp2) -> Fp2:
    norm = invert(a[0] * a[0] + a[1] * a[1], FIELD)
    return a[0] * norm % FIELD, -a[1] * norm % FIELD


def _power2(a: Fp2, exponent: int) -> Fp2:
    result: Fp2 = (mpz(1), mpz(0))
    for bit in bin(exponent)[2:]:
        result = _square2(result)
        if bit == "1":
            result = _mul2(result, a)
    return result


_XI: Fp2 = (mpz(9), mpz(1))
_TWIST_B = _mul2((mpz(3), mpz(0)), _inverse2(_XI))
_FROBENIUS = [_power2(_XI, k * (int(FIELD) - 1) // 6) for k in range(6)]
"""w**(k p) = _FROBENIUS[k] w**k."""
_FROBENIUS_2 = [powmod(_power2(_XI, (int(FIELD) ** 2 - 1) // 6)[0], k, FIELD) for k in range(12)]
"""w**(k p^2) = _FROBENIUS_2[k] w**k, with factors in Fp."""


# Points of the twist, affine: GMP's inversion is cheap enough for it.


def _slope(left: TwistPoint, right: TwistPoint) -> Fp2 | None:
    """Slope of the line through two points, None if it is vertical."""
    (x1, y1), (x2, y2) = left, right
    if x1 != x2:
        return _mul2((y2[0] - y1[0], y2[1] - y1[1]), _inverse2((x2[0] - x1[0], x2[1] - x1[1])))
    if y1 != y2 or not (y1[0] or y1[1]):
        return None
    square = _square2(x1)
    return _mul2((3 * square[0], 3 * square[1]), _inverse2((2 * y1[0], 2 * y1[1])))


def _third(left: TwistPoint, x2: Fp2, slope: Fp2) -> TwistPoint:
    """Sum of two points on a line with this slope."""
    (x1, y1) = left
    square = _square2(slope)
    x3 = (square[0] - x1[0] - x2[0]) % FIELD, (square[1] - x1[1] - x2[1]) % FIELD
    product = _mul2(slope, (x1[0] - x3[0], x1[1] - x3[1]))
    return x3, ((product[0] - y1[0]) % FIELD, (product[1] - y1[1]) % FIELD)


def _add_points(left: TwistPoint | None, right: TwistPoint | None) -> TwistPoint | None:
    if left is None or right is None:
        return right if left is None else left
    slope = _slope(left, right)
    return None if slope is None else _third(left, right[0], slope)


def multiple(point: TwistPoint, scalar: int) -> TwistPoint | None:
    """By doubling and adding; None at infinity."""
    total: TwistPoint | None = None
    for bit in bin(scalar)[2:]:
        total = _add_points(total, total)
        if bit == "1":
            total = _add_points(total, point)
    return total


def is_in_g2(point: TwistPoint) -> bool:
    """Whether the point is on the twist and in the subgroup of order `ORDER` (EIP-197)."""
    x, y = point
    cube, square = _mul2(_square2(x), x), _square2(y)
    if any((square[i] - cube[i] - _TWIST_B[i]) % FIELD for i in (0, 1)):
        return False
    # In the subgroup, and only there, [u + 1]Q + psi([u]Q) + psi^2([u]Q) = psi^3([2u]Q) (eprint 2022/352).
    by_u = multiple(point, _U)
    if by_u is None:
        return False
    first = _frobenius_point(by_u)
    total = _add_points(_add_points(by_u, point), _add_points(first, _frobenius_point(first)))
    double = _add_points(by_u, by_u)
    if double is None:
        return False
    return total == _frobenius_point(_frobenius_point(_frobenius_point(double)))


def _frobenius_point(point: TwistPoint) -> TwistPoint:
    (x, y) = point
    return _mul2((x[0], -x[1]), _FROBENIUS[2]), _mul2((y[0], -y[1]), _FROBENIUS[3])


# Fp12


def _mul12(a: Fp12, b: Fp12) -> Fp12:
    c = unpack(pack(a, _SLOT_BITS) * pack(b, _SLOT_BITS), _SLOT_BITS)
    c.extend([0] * (23 - len(c)))
    for k in range(22, 11, -1):
        high = c[k]
        if high:
            c[k - 6] += 18 * high
            c[k - 12] -= 82 * high
    return [value % FIELD for value in c[:12]]


def _conjugate(a: Fp12) -> Fp12:
    """a**(p^6), the inverse of a after the easy part of the final exponentiation."""
    return [-value % FIELD if k & 1 else value for k, value in enumerate(a)]


def _frobenius(a: Fp12) -> Fp12:
    result: Fp12 = [mpz(0)] * 12
    for k in range(6):
        high = a[k + 6]
        real, imaginary = _mul2((a[k] + 9 * high, -high), _FROBENIUS[k])
        result[k] = (real - 9 * imaginary) % FIELD
        result[k + 6] = imaginary
    return result


def _frobenius_2(a: Fp12) -> Fp12:
    return [value * factor % FIELD for value, factor in zip(a, _FROBENIUS_2, strict=True)]


def _inverse12(a: Fp12) -> Fp12:
    """Inverse by norms: down to Fp6 (even powers of w), then to Fp2."""
    conjugate = _conjugate(a)
    norm_6 = _mul12(a, conjugate)
    second = _frobenius_2(norm_6)
    cofactor = _mul12(second, _frobenius_2(second))
    norm_2 = _mul12(norm_6, cofactor)  # only coefficients 0 and 6: an element of Fp2, with u = w^6 - 9
    real, imaginary = _inverse2((norm_2[0] + 9 * norm_2[6], norm_2[6]))
    inverse = [mpz(0)] * 12
    inverse[0], inverse[6] = (real - 9 * imaginary) % FIELD, imaginary
    return _mul12(_mul12(conjugate, cofactor), inverse)


def _power_u(a: Fp12) -> Fp12:
    result = a
    for bit in bin(_U)[3:]:
        result = _mul12(result, result)
        if bit == "1":
            result = _mul12(result, a)
    return result


# The pairing


def _line(point: TwistPoint, slope: Fp2, at: tuple[Any, Any]) -> Fp12:
    """The line through ``point`` with ``slope``, untwisted by (x w^2, y w^3), evaluated at a point of G1."""
    (x, y) = point
    first = -slope[0] * at[0] % FIELD, -slope[1] * at[0] % FIELD
    product = _mul2(slope, x)
    third = product[0] - y[0], product[1] - y[1]
    zero = mpz(0)
    return [
        at[1], (first[0] - 9 * first[1]) % FIELD, zero, (third[0] - 9 * third[1]) % FIELD, zero, zero,
        zero, first[1], zero, third[1] % FIELD, zero, zero,
    ]  # fmt: skip


def _miller_loop(pairs: list[tuple[tuple[Any, Any], TwistPoint]]) -> Fp12:
    """Product of the Miller functions, all squarings shared."""
    result = _ONE
    totals = [q for _, q in pairs]

    def step(result: Fp12, i: int, other: TwistPoint) -> Fp12:
        slope = _slope(totals[i], other)
        assert slope is not None, "multiples of a point of G2 met before its order"
        line = _line(totals[i], slope, pairs[i][0])
        totals[i] = _third(totals[i], other[0], slope)
        return _mul12(result, line)

    for bit in bin(_ATE_LOOP)[3:]:
        result = _mul12(result, result)
        for i in range(len(pairs)):
            result = step(result, i, totals[i])
        if bit == "1":
            for i, (_, q) in enumerate(pairs):
                result = step(result, i, q)
    for i, (_, q) in enumerate(pairs):
        first = _frobenius_point(q)
        (x, y) = _frobenius_point(first)
        result = step(result, i, first)
        result = step(result, i, (x, (-y[0] % FIELD, -y[1] % FIELD)))
    return result


def _final_exponentiation(value: Fp12) -> Fp12:
    """Easy part, then the hard part by Scott et al. (eprint 2008/490)."""
    f = _mul12(_conjugate(value), _inverse12(value))
    f = _mul12(f, _frobenius_2(f))
    fu = _power_u(f)
    fu2 = _power_u(fu)
    fu3 = _power_u(fu2)
    f_p2 = _frobenius_2(f)
    y0 = _mul12(_mul12(_frobenius(f), f_p2), _frobenius(f_p2))
    y1 = _conjugate(f)
    y2 = _frobenius_2(fu2)
    y3 = _conjugate(_frobenius(fu))
    y4 = _conjugate(_mul12(fu, _frobenius(fu2)))
    y5 = _conjugate(fu2)
    y6 = _conjugate(_mul12(fu3, _frobenius(fu3)))
    t0 = _mul12(_mul12(_mul12(y6, y6), y4), y5)
    t1 = _mul12(_mul12(y3, y5), t0)
    t0 = _mul12(t0, y2)
    t1 = _mul12(_mul12(t1, t1), t0)
    t1 = _mul12(t1, t1)
    t0 = _mul12(t1, y1)
    t1 = _mul12(t1, y0)
    return _mul12(_mul12(t0, t0), t1)


def product_is_one(pairs: list[tuple[tuple[Any, Any], TwistPoint]]) -> bool:
    """Whether the product of e(P, Q) over the pairs, none of them at infinity, is one."""
    return not pairs or _final_exponentiation(_miller_loop(pairs)) == _ONE
