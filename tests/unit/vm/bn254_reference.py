"""Points of alt_bn128 over GMP's integers, in Python: plain enough to be believed, and what the product did before."""

from __future__ import annotations

from typing import Any

from gmpy2 import invert, mpz

from tests.unit.vm.bn254_pairing_reference import FIELD

Point = tuple[int, int] | None
"""None at infinity."""

_Jacobian = tuple[Any, Any, Any]


def affine_add(left: Point, right: Point) -> Point:
    """Sum by the chord or the tangent."""
    if left is None or right is None:
        return left or right
    (x1, y1), (x2, y2) = left, right
    if (x1, y1) == (x2, -y2 % FIELD):
        return None
    slope = 3 * x1 * x1 * invert(2 * y1, FIELD) if left == right else (y2 - y1) * invert(x2 - x1, FIELD)
    x3 = (slope * slope - x1 - x2) % FIELD
    return int(x3), int((slope * (x1 - x3) - y1) % FIELD)


def affine_multiple(point: Point, scalar: int) -> Point:
    """Multiple by doubling and adding, in Jacobian coordinates."""
    if point is None:
        return None
    start = mpz(point[0]), mpz(point[1]), mpz(1)
    total = mpz(1), mpz(1), mpz(0)
    for bit in bin(scalar)[2:]:
        total = _double(total)
        if bit == "1":
            total = _add(total, start)
    x, y, z = total
    if not z:
        return None
    inverse = invert(z, FIELD)
    return int(x * inverse**2 % FIELD), int(y * inverse**3 % FIELD)


def _double(point: _Jacobian) -> _Jacobian:
    x, y, z = point
    yy = y * y % FIELD
    s = 4 * x * yy % FIELD
    m = 3 * x * x % FIELD
    x3 = (m * m - 2 * s) % FIELD
    return x3, (m * (s - x3) - 8 * yy * yy) % FIELD, 2 * y * z % FIELD


def _add(left: _Jacobian, right: _Jacobian) -> _Jacobian:
    x1, y1, z1 = left
    x2, y2, z2 = right
    if not z1:
        return right
    if not z2:
        return left
    zz1, zz2 = z1 * z1 % FIELD, z2 * z2 % FIELD
    u1, u2 = x1 * zz2 % FIELD, x2 * zz1 % FIELD
    s1, s2 = y1 * z2 * zz2 % FIELD, y2 * z1 * zz1 % FIELD
    h, r = u2 - u1, s2 - s1
    if not h:
        return (mpz(1), mpz(1), mpz(0)) if r else _double(left)
    hh = h * h % FIELD
    hhh, v = h * hh % FIELD, u1 * hh % FIELD
    x3 = (r * r - hhh - 2 * v) % FIELD
    return x3, (r * (v - x3) - s1 * hhh) % FIELD, z1 * z2 * h % FIELD
