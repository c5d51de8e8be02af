"""Points in Jacobian coordinates on y^2 = x^3 + b, over any field: doubling, addition, sums of two multiples."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from vm.precompiles.bn254_native.elements import FP, G1, Element, FunctionBody, Kind, define

MULTIPLIER_BITS: Final = 128
WINDOW_BITS: Final = 2
"""Bits of each of the two multipliers that are taken at once."""
_SIDE: Final = 1 << WINDOW_BITS


def _double(point: Element) -> tuple[Element, ...]:
    """dbl-2009-l of the Explicit-Formulas Database. Infinity gives infinity; there is no point of order 2."""
    x, y, z = point.parts
    a, b = x.squared(), y.squared()
    c = b.squared()
    d = x.plus(b).squared().minus(a).minus(c).doubled()
    e = a.doubled().plus(a)
    x3 = e.squared().minus(d.doubled())
    y3 = e.times(d.minus(x3)).minus(c.doubled().doubled().doubled())
    return x3, y3, y.times(z).doubled()


def _add(kind: Kind) -> str:
    """``@kind_add(out, left, right)`` for any two points."""
    code = FunctionBody()
    out, left, right = (Element(code, kind, name) for name in ("%out", "%a0", "%a1"))

    def finish(condition: str, result: Callable[[], None]) -> None:
        found, onward = code.fresh("found"), code.fresh("onward")
        code.branch(condition, found, onward)
        code.place(found)
        result()
        code.do("ret void")
        code.place(onward)

    x1, y1, z1 = left.parts
    x2, y2, z2 = right.parts
    finish(z1.is_zero(), lambda: out.put(right))
    finish(z2.is_zero(), lambda: out.put(left))
    zz1, zz2 = z1.squared(), z2.squared()
    u1, s1 = x1.times(zz2), y1.times(z2).times(zz2)
    h, r = x2.times(zz1).minus(u1), y2.times(z1).times(zz1).minus(s1)

    def same_x() -> None:
        finish(r.is_zero(), lambda: out.put(left.doubled()))
        for leaf in out.part(2).leaves():
            code.write(0, leaf)

    finish(h.is_zero(), same_x)
    hh = h.squared()
    hhh, v = h.times(hh), u1.times(hh)
    x3 = r.squared().minus(hhh).minus(v.doubled())
    y3 = r.times(v.minus(x3)).minus(s1.times(hhh))
    z3 = z1.times(z2).times(h)
    for target, source in zip(out.parts, (x3, y3, z3), strict=True):
        target.put(source)
    code.do("ret void")
    head = f"define internal void @{kind.name}_add(ptr %out, ptr %a0, ptr %a1) nounwind noinline"
    return code.function(head)


def functions(kind: Kind) -> str:
    """A curve's functions."""
    return define(kind, "double", _double) + _add(kind)


def _table(code: FunctionBody, points: list[Element]) -> str:
    """Address of i * first + j * second, at index i * _SIDE + j; index 0 is not set."""
    table = code.room(G1.leaves * _SIDE * _SIDE)

    def entry(index: int) -> Element:
        return Element(code, G1, code.offset(table, G1.size_bytes * index))

    for point, step in zip(points, (_SIDE, 1), strict=True):
        entry(step).put(point)
        for i in range(2, _SIDE):
            entry(step * i).be("add", entry(step * (i - 1)), point)
    for i in range(1, _SIDE):
        for j in range(1, _SIDE):
            entry(_SIDE * i + j).be("add", entry(_SIDE * i), entry(j))
    return table


def _digit(code: FunctionBody, multipliers: list[str], index: str) -> str:
    """The two windows of the index, counted from the most significant, side by side as an i64."""
    distance = code.let(f"sub i64 {MULTIPLIER_BITS - WINDOW_BITS}, {code.let(f'mul i64 {index}, {WINDOW_BITS}')}")
    wide = code.let(f"zext i64 {distance} to i128")
    sides = []
    for multiplier in multipliers:
        window = code.let(f"and i128 {code.let(f'lshr i128 {multiplier}, {wide}')}, {_SIDE - 1}")
        sides.append(code.let(f"trunc i128 {window} to i64"))
    return code.let(f"or i64 {code.let(f'shl i64 {sides[0]}, {WINDOW_BITS}')}, {sides[1]}")


def sum_of_two_multiples() -> str:
    """``@g1_sum(out, points, multipliers)``: out = m * first + n * second (Straus 1964).

    ``points`` are four integers, x and y of each; ``multipliers`` two of `MULTIPLIER_BITS`. ``out`` gets three
    integers, Jacobian coordinates.
    """
    code = FunctionBody()
    points = []
    for i in range(2):
        point = code.constant(G1, 0, 0, 1)
        for j in range(2):
            point.part(j).be("enter", Element(code, FP, code.offset("%points", 32 * (2 * i + j))))
        points.append(point)
    table = _table(code, points)
    places = [code.offset("%multipliers", i * MULTIPLIER_BITS // 8) for i in range(2)]
    multipliers = [code.let(f"load i128, ptr {place}, align 1") for place in places]
    total = code.constant(G1, 1, 1, 0)

    def step(index: str) -> None:
        for _ in range(WINDOW_BITS):
            total.become("double")
        digit = _digit(code, multipliers, index)

        def add() -> None:
            at = code.let(f"mul i64 {digit}, {G1.size_bytes}")
            total.become("add", Element(code, G1, code.offset(table, at)))

        code.unless(code.let(f"icmp eq i64 {digit}, 0"), add)

    code.repeat(str(MULTIPLIER_BITS // WINDOW_BITS), step)
    for target, source in zip(Element(code, G1, "%out").parts, total.parts, strict=True):
        target.be("leave", source)
    code.do("ret void")
    return code.function("define internal void @g1_sum(ptr %out, ptr %points, ptr %multipliers) nounwind noinline")
