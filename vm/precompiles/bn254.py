"""Addition, multiplication and pairing check on alt_bn128 (EIP-196, EIP-197): rules and G1 arithmetic."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from gmpy2 import invert, mpz

from vm.errors import PrecompileError
from vm.precompiles import bn254_pairing
from vm.precompiles.bn254_pairing import FIELD, ORDER, Fp2
from vm.precompiles.contract import padded

_Point = tuple[Any, Any, Any]
"""Jacobian coordinates; z = 0 at infinity."""

_INFINITY: _Point = (mpz(1), mpz(1), mpz(0))
_PAIR_BYTES = 192


def pairing_gas(fixed: int, per_pair: int) -> Callable[[bytes], int]:
    """Gas of the form ``fixed + per_pair * pairs``."""

    def gas(data: bytes) -> int:
        return fixed + per_pair * (len(data) // _PAIR_BYTES)

    return gas


def add(data: bytes) -> bytes:
    """Sum of two points of G1."""
    return _encode(_add(_read_g1(data, 0), _read_g1(data, 64)))


def mul(data: bytes) -> bytes:
    """Multiple of a point of G1."""
    point = _read_g1(data, 0)
    scalar = int.from_bytes(padded(data, 64, 32), "big") % ORDER
    total = _INFINITY
    for bit in bin(scalar)[2:]:
        total = _double(total)
        if bit == "1":
            total = _add(total, point)
    return _encode(total)


def pairing(data: bytes) -> bytes:
    """The word 1 if the product of the pairings is one, else 0."""
    if len(data) % _PAIR_BYTES:
        raise PrecompileError("input is not whole pairs of points")
    pairs = []
    for at in range(0, len(data), _PAIR_BYTES):
        x, y, z = _read_g1(data, at)
        twisted = _read_g2(data, at + 64)
        if z and twisted is not None:
            pairs.append(((x, y), twisted))
    return int(bn254_pairing.product_is_one(pairs)).to_bytes(32, "big")


def _coordinate(data: bytes, offset: int) -> Any:
    value = int.from_bytes(padded(data, offset, 32), "big")
    if value >= FIELD:
        raise PrecompileError("coordinate is not below the field modulus")
    return mpz(value)


def _read_g1(data: bytes, offset: int) -> _Point:
    x, y = _coordinate(data, offset), _coordinate(data, offset + 32)
    if not x and not y:
        return _INFINITY
    if (y * y - x * x * x - 3) % FIELD:
        raise PrecompileError("point is not on the curve")
    return x, y, mpz(1)


def _read_g2(data: bytes, offset: int) -> tuple[Fp2, Fp2] | None:
    """A point of the twist, None at infinity; imaginary parts come first."""
    x_imaginary, x, y_imaginary, y = (_coordinate(data, offset + 32 * i) for i in range(4))
    if not (x or x_imaginary or y or y_imaginary):
        return None
    point = (x, x_imaginary), (y, y_imaginary)
    if not bn254_pairing.is_in_g2(point):
        raise PrecompileError("point is not in G2")
    return point


def _double(point: _Point) -> _Point:
    x, y, z = point
    yy = y * y % FIELD
    s = 4 * x * yy % FIELD
    m = 3 * x * x % FIELD
    x3 = (m * m - 2 * s) % FIELD
    return x3, (m * (s - x3) - 8 * yy * yy) % FIELD, 2 * y * z % FIELD


def _add(left: _Point, right: _Point) -> _Point:
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
        return _INFINITY if r else _double(left)
    hh = h * h % FIELD
    hhh, v = h * hh % FIELD, u1 * hh % FIELD
    x3 = (r * r - hhh - 2 * v) % FIELD
    return x3, (r * (v - x3) - s1 * hhh) % FIELD, z1 * z2 * h % FIELD


def _encode(point: _Point) -> bytes:
    x, y, z = point
    if not z:
        return bytes(64)
    inverse = invert(z, FIELD)
    square = inverse * inverse % FIELD
    affine = x * square % FIELD, y * square * inverse % FIELD
    return b"".join(int(value).to_bytes(32, "big") for value in affine)
