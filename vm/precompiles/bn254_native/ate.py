"""The optimal ate pairing on alt_bn128 (eprint 2010/354), and membership of the group its second argument is in."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Final

from vm.precompiles.bn254_native.elements import FP, FP2, FP12, G2, Element, FunctionBody, Kind, U, define, power
from vm.precompiles.bn254_native.tower import FROBENIUS, Parts

TWIST: Final = Kind("twist", (FP2,) * 2)
"""Affine point of the twist, the curve y^2 = x^3 + 3 / (9 + u)."""
PAIR: Final = Kind("pair", (FP, FP, TWIST, G2))
"""Affine points of G1 and G2, and room for a multiple of the latter."""


def _signed_digits(number: int) -> Iterator[int]:
    """Digits -1, 0, 1 of a number, the least significant first, no two neighbours not 0."""
    while number:
        digit = 2 - number % 4 if number & 1 else 0
        yield digit
        number = (number - digit) // 2


# Points of the twist


def _frobenius_point(point: Element) -> Parts:
    """The power p, seen on the twist; affine or Jacobian."""
    step = point.code.constant(FP2, *FROBENIUS)
    square = step.squared()
    x, y, *z = (part.apply("conjugate") for part in point.parts)
    return x.times(square), y.times(square.times(step)), *z


def _negated_point(point: Element) -> Parts:
    x, y, *z = point.parts
    return x, y.negated(), *z


def _is_in_subgroup() -> str:
    """``@g2_check(point)``: whether a point of the twist, of four integers, is in G2; the integers are used up.

    There, and only there, [u + 1]Q + psi([u]Q) + psi^2([u]Q) = psi^3([2u]Q) (eprint 2022/352).
    """
    code = FunctionBody()
    affine = Element(code, TWIST, "%point")
    _enter(affine)
    point = _jacobian(affine)
    multiple = power(point, U, "double", "add")
    total = multiple.plus(point)
    turned = multiple
    for _ in range(2):
        turned = turned.apply("frobenius")
        total = total.plus(turned)
    turned = multiple.doubled()
    for _ in range(3):
        turned = turned.apply("frobenius")
    z = total.plus(turned.negated()).part(2)
    code.do(f"ret i64 {code.let(f'zext i1 {z.is_zero()} to i64')}")
    return code.function("define internal i64 @g2_check(ptr %point) nounwind noinline")


def _enter(element: Element) -> None:
    """Make Montgomery forms of integers, in place."""
    for leaf in element.leaves():
        Element(element.code, FP, leaf).become("enter")


def _jacobian(affine: Element) -> Element:
    point = affine.code.slot(G2)
    for target, source in zip(point.parts, (*affine.parts, affine.code.constant(FP2, 1, 0)), strict=True):
        target.put(source)
    return point


# The Miller loop. A line is scaled by a factor from Fp2, which the final exponentiation turns into 1.


def _advance(total: Element, value: Element, point: Parts, line: Parts) -> None:
    for target, source in zip(total.parts, point, strict=True):
        target.put(source)
    value.become("line", *line)
    value.code.do("ret void")


def _tangent() -> str:
    """``@tangent(value, pair)``: multiply by the tangent at the pair's multiple, and double that."""
    code = FunctionBody()
    value, pair = Element(code, FP12, "%value"), Element(code, PAIR, "%pair")
    px, py, _, total = pair.parts
    x, y, z = total.parts
    xx, yy, zz = x.squared(), y.squared(), z.squared()
    m = xx.doubled().plus(xx)
    z3 = y.times(z).doubled()
    line = (
        z3.times(zz).scaled(py),
        m.times(zz).scaled(px).negated(),
        m.times(x).minus(yy.doubled()),
    )
    d = x.times(yy).doubled().doubled()
    x3 = m.squared().minus(d.doubled())
    y3 = m.times(d.minus(x3)).minus(yy.squared().doubled().doubled().doubled())
    _advance(total, value, (x3, y3, z3), line)
    return code.function("define internal void @tangent(ptr %value, ptr %pair) nounwind noinline")


def _chord() -> str:
    """``@chord(value, pair, point)``: multiply by the line to a point of the twist, and add that."""
    code = FunctionBody()
    value, pair, point = (Element(code, kind, f"%{kind.name}") for kind in (FP12, PAIR, TWIST))
    px, py, _, total = pair.parts
    (x, y, z), (x2, y2) = total.parts, point.parts
    zz = z.squared()
    h, r = x2.times(zz).minus(x), y2.times(zz).times(z).minus(y)
    z3 = z.times(h)
    line = z3.scaled(py), r.scaled(px).negated(), r.times(x2).minus(z3.times(y2))
    hh = h.squared()
    hhh, v = h.times(hh), x.times(hh)
    x3 = r.squared().minus(hhh).minus(v.doubled())
    y3 = r.times(v.minus(x3)).minus(y.times(hhh))
    _advance(total, value, (x3, y3, z3), line)
    return code.function("define internal void @chord(ptr %fp12, ptr %pair, ptr %twist) nounwind noinline")


def _for_each_pair(name: str, step: Callable[[Element, Element], None]) -> str:
    """``@name(value, pairs, count)``: a step for each pair."""
    code = FunctionBody()
    value = Element(code, FP12, "%value")

    def body(index: str) -> None:
        at = code.offset("%pairs", code.let(f"mul i64 {index}, {PAIR.size_bytes}"))
        step(value, Element(code, PAIR, at))

    code.repeat("%count", body)
    code.do("ret void")
    return code.function(f"define internal void @{name}(ptr %value, ptr %pairs, i64 %count) nounwind noinline")


def _begin(_: Element, pair: Element) -> None:
    px, py, point, total = pair.parts
    for element in (px, py, point):
        _enter(element)
    total.put(_jacobian(point))


def _to(*turns: str) -> Callable[[Element, Element], None]:
    """A step along the chord to the pair's point, after these operations on it."""

    def step(value: Element, pair: Element) -> None:
        point = pair.part(2)
        for turn in turns:
            point = point.apply(turn)
        value.code.call("chord", value.at, pair.at, point.at)

    return step


_STEPS: Final = {
    "begin": _begin,
    "tangents": lambda value, pair: value.code.call("tangent", value.at, pair.at),
    "chords": _to(),
    "chords_back": _to("neg"),
    "chords_first": _to("frobenius"),
    "chords_second": _to("frobenius", "frobenius", "neg"),
}


def _miller_loop(value: Element) -> None:
    """Product of the pairs' Miller functions, all squarings shared."""

    def each(step: str) -> None:
        value.code.do(f"call void @{step}(ptr {value.at}, ptr %pairs, i64 %count)")

    each("begin")
    *digits, _ = _signed_digits(6 * U + 2)
    for digit in reversed(digits):
        value.become("square")
        each("tangents")
        if digit:
            each("chords" if digit > 0 else "chords_back")
    each("chords_first")
    each("chords_second")


# The final exponentiation


def _final_exponentiation(value: Element) -> Element:
    """Easy part, then the hard part by Scott et al. (eprint 2008/490)."""

    def conjugate(x: Element) -> Element:
        return x.apply("conjugate")

    def frobenius(x: Element) -> Element:
        return x.apply("frobenius")

    def square(x: Element) -> Element:
        return x.apply("cyclotomic_square")

    f = conjugate(value).times(value.apply("inverse"))
    f = frobenius(frobenius(f)).times(f)
    fu = f.apply("power_u")
    fu2 = fu.apply("power_u")
    fu3 = fu2.apply("power_u")
    f_p = frobenius(f)
    f_p2 = frobenius(f_p)
    y0 = f_p.times(f_p2).times(frobenius(f_p2))
    fu2_p = frobenius(fu2)
    y2 = frobenius(fu2_p)
    y3 = conjugate(frobenius(fu))
    y4 = conjugate(fu.times(fu2_p))
    y5 = conjugate(fu2)
    y6 = conjugate(fu3.times(frobenius(fu3)))
    t0 = square(y6).times(y4).times(y5)
    t1 = square(square(y3.times(y5).times(t0)).times(t0.times(y2)))
    return square(t1.times(conjugate(f))).times(t1.times(y0))


def _one() -> str:
    """``@one(total)``: the product of no pairings."""
    code = FunctionBody()
    Element(code, FP12, "%total").put(code.constant(FP12, 1, *[0] * 11))
    code.do("ret void")
    return code.function("define internal void @one(ptr %total) nounwind noinline")


def _multiply() -> str:
    """``@multiply(total, pairs, count)``: multiply by the Miller functions of the pairs, which are used up.

    ``pairs`` are of integers, none at infinity. All squarings of one call are shared.
    """
    code = FunctionBody()
    total, value = Element(code, FP12, "%total"), code.slot(FP12)
    value.put(code.constant(FP12, 1, *[0] * 11))
    _miller_loop(value)
    total.become("mul", value)
    code.do("ret void")
    return code.function("define internal void @multiply(ptr %total, ptr %pairs, i64 %count) nounwind noinline")


def _is_one() -> str:
    """``@is_one(total)``: whether the product of the pairings is one."""
    code = FunctionBody()
    one = code.constant(FP12, 1, *[0] * 11)
    difference = _final_exponentiation(Element(code, FP12, "%total")).minus(one)
    code.do(f"ret i64 {code.let(f'zext i1 {difference.is_zero()} to i64')}")
    return code.function("define internal i64 @is_one(ptr %total) nounwind noinline")


def functions() -> str:
    """The exported functions, and what they need besides the tower and the curve."""
    return "".join(
        (
            define(TWIST, "frobenius", _frobenius_point),
            define(TWIST, "neg", _negated_point),
            define(G2, "frobenius", _frobenius_point),
            define(G2, "neg", _negated_point),
            _is_in_subgroup(),
            _tangent(),
            _chord(),
            *(_for_each_pair(name, step) for name, step in _STEPS.items()),
            define(FP12, "power_u", lambda a: power(a, U, "cyclotomic_square")),
            _one(),
            _multiply(),
            _is_one(),
        )
    )
