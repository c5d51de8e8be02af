"""Addition, multiplication and pairing check on alt_bn128 (EIP-196, EIP-197): input rules and encodings."""

from __future__ import annotations

from typing import Any, Final

from gmpy2 import invert, mpz

from chain.gas_schedule import Price
from vm.errors import PrecompileError
from vm.interruption import checkpoint
from vm.precompiles.bn254_native import elements, library
from vm.precompiles.bn254_native.elements import U
from vm.precompiles.contract import padded

_Point = tuple[Any, Any]
"""A point of G1 in GMP's integers."""

FIELD: Final = mpz(elements.FIELD)

ORDER: Final = 0x30644E72E131A029B85045B68181585D2833E84879B9709143E1F593F0000001
_PAIR_BYTES: Final = 192
_TWIST: Final = (27 * invert(82, FIELD), -3 * invert(82, FIELD))
"""3 / (9 + u)"""

# The curve's endomorphism (x, y) -> (_BETA x, y) multiplies by _LAMBDA = 36 u^3 + 18 u^2 + 6 u + 1. What two short
# numbers m + n _LAMBDA are 0 modulo ORDER is a lattice with this basis (Gallant, Lambert, Vanstone 2001).
_BETA: Final = (18 * U**3 + 18 * U**2 + 9 * U + 1) % FIELD
_BASIS: Final = ((6 * U**2 + 4 * U + 1, 2 * U + 1), (-2 * U - 1, 6 * U**2 + 2 * U))


def pairing_gas(price: Price, data: bytes) -> int:
    """Paid for each pair of points."""
    return price.base + price.each * (len(data) // _PAIR_BYTES)


def add(data: bytes) -> bytes:
    """Sum of two points of G1."""
    x1, y1, x2, y2 = _coordinates(data, 0, 4)
    if not (_is_on_curve(x1, y1) and _is_on_curve(x2, y2)):
        raise PrecompileError("point is not on curve")
    if not y1:
        return _encode((x2, y2))
    if not y2:
        return _encode((x1, y1))
    if x1 != x2:
        slope = (y2 - y1) * invert(x2 - x1, FIELD) % FIELD
    elif y1 == y2:
        slope = 3 * x1 * x1 * invert(2 * y1, FIELD) % FIELD
    else:
        return bytes(64)
    x3 = (slope * slope - x1 - x2) % FIELD
    return _encode((x3, (slope * (x1 - x3) - y1) % FIELD))


def mul(data: bytes) -> bytes:
    """Multiple of a point of G1."""
    point = _read_g1(data, 0)
    if point is None:
        return bytes(64)
    x, y = point
    m, n = _halves(int.from_bytes(padded(data, 64, 32), "big") % ORDER)
    total = library.g1_sum(
        _words(x, y if m >= 0 else FIELD - y, x * _BETA % FIELD, y if n >= 0 else FIELD - y),
        abs(m).to_bytes(16, "little") + abs(n).to_bytes(16, "little"),
    )
    x, y, z = (mpz.from_bytes(total[at : at + 32], "little") for at in (0, 32, 64))
    if not z:
        return bytes(64)
    inverse = invert(z, FIELD)
    square = inverse * inverse % FIELD
    return _encode((x * square % FIELD, y * square * inverse % FIELD))


def pairing(data: bytes) -> bytes:
    """The word 1 if the product of the pairings is one, else 0. May be stopped (`vm.interruption`)."""
    if len(data) % _PAIR_BYTES:
        raise PrecompileError("bad elliptic curve pairing size")
    pairs = []
    for at in range(0, len(data), _PAIR_BYTES):
        checkpoint()
        point, twisted = _read_g1(data, at), _read_g2(data, at + 64)
        if point is not None and twisted is not None:
            pairs.append(_words(*point, *twisted))
    return int(library.product_is_one(pairs)).to_bytes(32, "big")


def _coordinates(data: bytes, offset: int, count: int) -> list[Any]:
    words, read = padded(data, offset, 32 * count), mpz.from_bytes
    values = [read(words[at : at + 32], "big") for at in range(0, 32 * count, 32)]
    if max(values) >= FIELD:
        raise PrecompileError("invalid fp.Element encoding")
    return values


def _is_on_curve(x: Any, y: Any) -> bool:
    """Whether y^2 = x^3 + 3; the point at infinity is written (0, 0), and no other has y = 0."""
    return not (y * y - x * x * x - 3) % FIELD or not (x or y)


def _read_g1(data: bytes, offset: int) -> _Point | None:
    """A point of G1, None at infinity."""
    x, y = _coordinates(data, offset, 2)
    if not _is_on_curve(x, y):
        raise PrecompileError("point is not on curve")
    return (x, y) if y else None


def _read_g2(data: bytes, offset: int) -> tuple[Any, Any, Any, Any] | None:
    """A point of the twist, None at infinity; in the input the imaginary parts come first."""
    x_imaginary, x, y_imaginary, y = _coordinates(data, offset, 4)
    point = x, x_imaginary, y, y_imaginary
    if not any(point):
        return None
    if not _is_on_twist(*point):
        raise PrecompileError("point is not on curve")
    if not library.is_in_subgroup(_words(*point)):
        raise PrecompileError("point is not in correct subgroup")
    return point


def _is_on_twist(x: Any, x_imaginary: Any, y: Any, y_imaginary: Any) -> bool:
    """Whether y^2 = x^3 + 3 / (9 + u), where u^2 = -1."""
    square, twice = x * x, x_imaginary * x_imaginary
    real = (y + y_imaginary) * (y - y_imaginary) - x * (square - 3 * twice) - _TWIST[0]
    imaginary = 2 * y * y_imaginary - x_imaginary * (3 * square - twice) - _TWIST[1]
    return not (real % FIELD or imaginary % FIELD)


def _words(*numbers: Any) -> bytes:
    return b"".join(number.to_bytes(32, "little") for number in numbers)


def _halves(scalar: int) -> tuple[int, int]:
    """m and n of 127 bits, perhaps negative, with m + n _LAMBDA = scalar modulo ORDER."""
    (a1, b1), (a2, b2) = _BASIS
    first, second = (2 * b2 * scalar + ORDER) // (2 * ORDER), (ORDER - 2 * b1 * scalar) // (2 * ORDER)
    return scalar - first * a1 - second * a2, -first * b1 - second * b2


def _encode(point: _Point) -> bytes:
    x, y = point
    encoded: bytes = x.to_bytes(32, "big") + y.to_bytes(32, "big")
    return encoded
