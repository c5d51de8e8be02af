"""BLS12-381 curve operations (EIP-2537), on py-arkworks-bls12381."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from chain.gas_schedule import Price
from vm.errors import PrecompileError
from vm.interruption import checkpoint
from vm.precompiles.contract import native

_FIELD = 0x1A0111EA397FE69A4B1BA7B6434BACD764774B84F38512BF6730D2A0F6B0F6241EABFFFEB153FFFFB9FEFFFFFFFFAAAB
_G1_BYTES, _G2_BYTES, _SCALAR_BYTES = 128, 256, 32
_G1_AT_ONCE, _G2_AT_ONCE, _PAIRS_AT_ONCE = 256, 128, 32
"""What is read and worked on together, for some 15 milliseconds; then a call can be stopped."""

# Thousandths of the price of k single multiplications, for k from 1 to 128.
# fmt: off
_G1_DISCOUNT = (
    1000, 949, 848, 797, 764, 750, 738, 728, 719, 712, 705, 698, 692, 687, 682, 677, 673, 669, 665, 661,
    658, 654, 651, 648, 645, 642, 640, 637, 635, 632, 630, 627, 625, 623, 621, 619, 617, 615, 613, 611,
    609, 608, 606, 604, 603, 601, 599, 598, 596, 595, 593, 592, 591, 589, 588, 586, 585, 584, 582, 581,
    580, 579, 577, 576, 575, 574, 573, 572, 570, 569, 568, 567, 566, 565, 564, 563, 562, 561, 560, 559,
    558, 557, 556, 555, 554, 553, 552, 551, 550, 549, 548, 547, 547, 546, 545, 544, 543, 542, 541, 540,
    540, 539, 538, 537, 536, 536, 535, 534, 533, 532, 532, 531, 530, 529, 528, 528, 527, 526, 525, 525,
    524, 523, 522, 522, 521, 520, 520, 519,
)
_G2_DISCOUNT = (
    1000, 1000, 923, 884, 855, 832, 812, 796, 782, 770, 759, 749, 740, 732, 724, 717, 711, 704, 699,
    693, 688, 683, 679, 674, 670, 666, 663, 659, 655, 652, 649, 646, 643, 640, 637, 634, 632, 629, 627,
    624, 622, 620, 618, 615, 613, 611, 609, 607, 606, 604, 602, 600, 598, 597, 595, 593, 592, 590, 589,
    587, 586, 584, 583, 582, 580, 579, 578, 576, 575, 574, 573, 571, 570, 569, 568, 567, 566, 565, 563,
    562, 561, 560, 559, 558, 557, 556, 555, 554, 553, 552, 552, 551, 550, 549, 548, 547, 546, 545, 545,
    544, 543, 542, 541, 541, 540, 539, 538, 537, 537, 536, 535, 535, 534, 533, 532, 532, 531, 530, 530,
    529, 528, 528, 527, 526, 526, 525, 524, 524,
)
# fmt: on


def g1_msm_gas(price: Price, data: bytes) -> int:
    """Paid for each multiplication, less with more of them."""
    return _msm_gas(price, len(data) // (_G1_BYTES + _SCALAR_BYTES), _G1_DISCOUNT)


def g2_msm_gas(price: Price, data: bytes) -> int:
    """The same for points of G2."""
    return _msm_gas(price, len(data) // (_G2_BYTES + _SCALAR_BYTES), _G2_DISCOUNT)


def _msm_gas(price: Price, count: int, thousandths: tuple[int, ...]) -> int:
    return price.base + (count * price.each * thousandths[min(count, len(thousandths)) - 1] // 1_000 if count else 0)


def pairing_gas(price: Price, data: bytes) -> int:
    """Paid for each pair of points."""
    return price.base + price.each * (len(data) // (_G1_BYTES + _G2_BYTES))


def g1_add(data: bytes) -> bytes:
    """Sum of two points of the curve; subgroup membership is not checked."""
    curve = _curve(0x0B, "bls12_g1add")
    _check_length(data, 2 * _G1_BYTES)
    read = curve.G1Point.from_xy_bytes_unchecked_be
    return _encode(
        _point(curve.G1Point, read, data[:_G1_BYTES]) + _point(curve.G1Point, read, data[_G1_BYTES:])
    )


def g2_add(data: bytes) -> bytes:
    """Sum of two points of the twist; subgroup membership is not checked."""
    curve = _curve(0x0D, "bls12_g2add")
    _check_length(data, 2 * _G2_BYTES)
    read = curve.G2Point.from_xy_bytes_unchecked_be
    return _encode(
        _point(curve.G2Point, read, data[:_G2_BYTES]) + _point(curve.G2Point, read, data[_G2_BYTES:])
    )


def g1_msm(data: bytes) -> bytes:
    """Sum of scalar multiples of G1 points. May be stopped (`vm.interruption`)."""
    curve, parts = _curve(0x0C, "bls12_g1msm"), _parts(data, _G1_BYTES, _SCALAR_BYTES, _G1_AT_ONCE)
    return _msm(curve.G1Point, curve.Scalar.from_be_bytes_mod_order, parts)


def g2_msm(data: bytes) -> bytes:
    """Sum of scalar multiples of G2 points. May be stopped (`vm.interruption`)."""
    curve, parts = _curve(0x0E, "bls12_g2msm"), _parts(data, _G2_BYTES, _SCALAR_BYTES, _G2_AT_ONCE)
    return _msm(curve.G2Point, curve.Scalar.from_be_bytes_mod_order, parts)


def pairing_check(data: bytes) -> bytes:
    """The word 1 if the product of the pairings is one, else 0. May be stopped (`vm.interruption`)."""
    curve = _curve(0x0F, "bls12_pairing_check")
    product = curve.GT.one()
    for pairs in _parts(data, _G1_BYTES, _G2_BYTES, _PAIRS_AT_ONCE):
        left = [_point(curve.G1Point, curve.G1Point.from_xy_bytes_be, point) for point, _ in pairs]
        right = [_point(curve.G2Point, curve.G2Point.from_xy_bytes_be, point) for _, point in pairs]
        product *= curve.GT.multi_pairing(left, right)
    return int(product == curve.GT.one()).to_bytes(32, "big")


def map_fp_to_g1(data: bytes) -> bytes:
    """Point of G1 to which a field element maps (RFC 9380)."""
    curve = _curve(0x10, "bls12_map_fp_to_g1")
    _check_length(data, 64)
    return _encode(curve.G1Point.map_from_fp_be(_field(data)))


def map_fp2_to_g2(data: bytes) -> bytes:
    """Point of G2 to which an element of the quadratic extension maps (RFC 9380)."""
    curve = _curve(0x11, "bls12_map_fp2_to_g2")
    _check_length(data, 128)
    return _encode(curve.G2Point.map_from_fp2_be(_field(data[:64]) + _field(data[64:])))


def _curve(address: int, name: str) -> Any:
    return native("py_arkworks_bls12381", name, address)


def _check_length(data: bytes, length: int) -> None:
    if len(data) != length:
        raise PrecompileError("invalid input length")


def _parts(data: bytes, left: int, right: int, count: int) -> Iterator[list[tuple[bytes, bytes]]]:
    """The input cut into pairs of ``left`` and ``right`` bytes, at least one; at most ``count`` of them at a time."""
    size = left + right
    if not data or len(data) % size:
        raise PrecompileError("invalid input length")
    for first in range(0, len(data), size * count):
        checkpoint()
        starts = range(first, min(first + size * count, len(data)), size)
        yield [(data[at : at + left], data[at + left : at + size]) for at in starts]


def _field(data: bytes) -> bytes:
    """48 bytes of a field element, from the 64 of its encoding."""
    if any(data[:16]):
        raise PrecompileError("invalid field element top bytes")
    if int.from_bytes(data, "big") >= _FIELD:
        raise PrecompileError("invalid fp.Element encoding")
    return data[16:]


def _point(group: Any, read: Callable[[bytes], Any], data: bytes) -> Any:
    """A point of padded coordinates; ``read`` checks that it is on the curve, perhaps the subgroup too."""
    raw = b"".join(_field(data[at : at + 64]) for at in range(0, len(data), 64))
    if not any(raw):
        return group.identity()
    try:
        return read(raw)
    except ValueError:
        raise PrecompileError(_why_not(group, raw)) from None


def _why_not(group: Any, raw: bytes) -> str:
    """Geth's words for a point that is refused: off the curve, or outside the subgroup."""
    try:
        group.from_xy_bytes_unchecked_be(raw)
    except ValueError:
        return "invalid point: not on curve"
    return f"g{len(raw) // 96} point is not on correct subgroup"


def _msm(group: Any, scalar: Callable[[bytes], Any], parts: Iterator[list[tuple[bytes, bytes]]]) -> bytes:
    total = group.identity()
    for pairs in parts:
        points = [_point(group, group.from_xy_bytes_be, point) for point, _ in pairs]
        total += group.multiexp_unchecked(points, [scalar(factor) for _, factor in pairs])
    return _encode(total)


def _encode(point: Any) -> bytes:
    """Coordinates of a point, each field element padded to 64 bytes."""
    raw = bytes(point.to_xy_bytes_be())
    return b"".join(bytes(16) + raw[at : at + 48] for at in range(0, len(raw), 48))
