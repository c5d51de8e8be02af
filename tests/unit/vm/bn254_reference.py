"""Points of alt_bn128 in affine coordinates over Python's integers: slow, and plain enough to be believed."""

from __future__ import annotations

from vm.precompiles.bn254_native.elements import FIELD

Point = tuple[int, int] | None
"""None at infinity."""


def affine_add(left: Point, right: Point) -> Point:
    """Sum by the chord or the tangent."""
    if left is None or right is None:
        return left or right
    (x1, y1), (x2, y2) = left, right
    if (x1, y1) == (x2, -y2 % FIELD):
        return None
    if left == right:
        slope = 3 * x1 * x1 * pow(2 * y1, -1, FIELD)
    else:
        slope = (y2 - y1) * pow(x2 - x1, -1, FIELD)
    x3 = (slope * slope - x1 - x2) % FIELD
    return x3, (slope * (x1 - x3) - y1) % FIELD


def affine_multiple(point: Point, scalar: int) -> Point:
    """Multiple by doubling and adding."""
    total: Point = None
    for bit in bin(scalar)[2:]:
        total = affine_add(total, total)
        if bit == "1":
            total = affine_add(total, point)
    return total
