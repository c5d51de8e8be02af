"""The extension fields of the pairing, each built on the one below by formulas on elements."""

from __future__ import annotations

from typing import Final

from vm.precompiles.bn254_native.elements import FIELD, FP, FP2, FP6, FP12, Element, Formula, Kind, define

Parts = tuple[Element, ...]


def _frobenius_factor() -> tuple[int, int]:
    """(9 + u)**((p - 1) / 6): w**p is this times w."""
    real, imaginary = 1, 0
    for bit in bin((FIELD - 1) // 6)[2:]:
        real, imaginary = (real + imaginary) * (real - imaginary) % FIELD, 2 * real * imaginary % FIELD
        if bit == "1":
            real, imaginary = (9 * real - imaginary) % FIELD, (real + 9 * imaginary) % FIELD
    return real, imaginary


FROBENIUS: Final = _frobenius_factor()


def by_parts(operation: str) -> Formula:
    """An operation done part by part."""

    def formula(*operands: Element) -> Parts:
        return tuple(first.apply(operation, *more) for first, *more in zip(*(x.parts for x in operands), strict=True))

    return formula


def _linear(kind: Kind) -> str:
    pairs = "".join(define(kind, operation, by_parts(operation), kind) for operation in ("add", "sub"))
    return pairs + "".join(define(kind, operation, by_parts(operation)) for operation in ("neg", "double"))


# Fp2


def _mul2(a: Element, b: Element) -> Parts:
    (a0, a1), (b0, b1) = a.parts, b.parts
    low, high = a0.times(b0), a1.times(b1)
    return low.minus(high), a0.plus(a1).times(b0.plus(b1)).minus(low).minus(high)


def _square2(a: Element) -> Parts:
    a0, a1 = a.parts
    return a0.plus(a1).times(a0.minus(a1)), a0.times(a1).doubled()


def _raised2(a: Element) -> Parts:
    """Times 9 + u."""
    a0, a1 = a.parts
    nine0, nine1 = (x.doubled().doubled().doubled().plus(x) for x in (a0, a1))
    return nine0.minus(a1), nine1.plus(a0)


def _scaled2(a: Element, factor: Element) -> Parts:
    return tuple(x.times(factor) for x in a.parts)


def _conjugate(a: Element) -> Parts:
    """Conjugate in Fp2 or Fp12: the power p or p^6."""
    return a.part(0), a.part(1).negated()


def _inverse2(a: Element) -> Parts:
    a0, a1 = a.parts
    norm = a0.squared().plus(a1.squared()).apply("inverse")
    return a0.times(norm), a1.times(norm).negated()


# Fp6


def _mul6(a: Element, b: Element) -> Parts:
    (a0, a1, a2), (b0, b1, b2) = a.parts, b.parts
    t0, t1, t2 = a0.times(b0), a1.times(b1), a2.times(b2)
    return (
        a1.plus(a2).times(b1.plus(b2)).minus(t1).minus(t2).apply("raise").plus(t0),
        a0.plus(a1).times(b0.plus(b1)).minus(t0).minus(t1).plus(t2.apply("raise")),
        a0.plus(a2).times(b0.plus(b2)).minus(t0).minus(t2).plus(t1),
    )


def _sparse6(a: Element, b0: Element, b1: Element) -> Parts:
    """Times b0 + b1 v."""
    a0, a1, a2 = a.parts
    t0, t1 = a0.times(b0), a1.times(b1)
    return (
        a1.plus(a2).times(b1).minus(t1).apply("raise").plus(t0),
        a0.plus(a1).times(b0.plus(b1)).minus(t0).minus(t1),
        a0.plus(a2).times(b0).minus(t0).plus(t1),
    )


def _raised6(a: Element) -> Parts:
    """Times v."""
    a0, a1, a2 = a.parts
    return a2.apply("raise"), a0, a1


def _scaled6(a: Element, factor: Element) -> Parts:
    return tuple(x.times(factor) for x in a.parts)


def _inverse6(a: Element) -> Parts:
    a0, a1, a2 = a.parts
    c0 = a0.squared().minus(a1.times(a2).apply("raise"))
    c1 = a2.squared().apply("raise").minus(a0.times(a1))
    c2 = a1.squared().minus(a0.times(a2))
    norm = a2.times(c1).plus(a1.times(c2)).apply("raise").plus(a0.times(c0)).apply("inverse")
    return c0.times(norm), c1.times(norm), c2.times(norm)


# Fp12


def _mul12(a: Element, b: Element) -> Parts:
    (a0, a1), (b0, b1) = a.parts, b.parts
    t0, t1 = a0.times(b0), a1.times(b1)
    return t1.apply("raise").plus(t0), a0.plus(a1).times(b0.plus(b1)).minus(t0).minus(t1)


def _square12(a: Element) -> Parts:
    a0, a1 = a.parts
    t = a0.times(a1)
    return a0.plus(a1).times(a1.apply("raise").plus(a0)).minus(t).minus(t.apply("raise")), t.doubled()


def _line12(a: Element, l0: Element, l1: Element, l3: Element) -> Parts:
    """Times l0 + l1 w + l3 w^3: the value of a line."""
    a0, a1 = a.parts
    t0, t1 = a0.scaled(l0), a1.apply("sparse", l1, l3)
    return t1.apply("raise").plus(t0), a0.plus(a1).apply("sparse", l0.plus(l1), l3).minus(t0).minus(t1)


def _inverse12(a: Element) -> Parts:
    a0, a1 = a.parts
    norm = a0.squared().minus(a1.squared().apply("raise")).apply("inverse")
    return a0.times(norm), a1.times(norm).negated()


def _frobenius12(a: Element) -> Element:
    """The power p: the coefficient of w**k is conjugated, and multiplied by FROBENIUS**k."""
    result = a.code.slot(FP12)
    step = a.code.constant(FP2, *FROBENIUS)
    factor = a.code.constant(FP2, 1, 0)
    for k in range(6):
        coefficient = a.part(k % 2).part(k // 2)
        result.part(k % 2).part(k // 2).put(coefficient.apply("conjugate").times(factor))
        factor = factor.times(step)
    return result


def _square4(a: Element, b: Element) -> Parts:
    """(a + b s)**2 where s**2 = 9 + u."""
    aa, bb = a.squared(), b.squared()
    return bb.apply("raise").plus(aa), a.plus(b).squared().minus(aa).minus(bb)


def _cyclotomic_square12(a: Element) -> Element:
    """Square of an element of order dividing p^4 - p^2 + 1 (Granger, Scott: eprint 2009/565)."""

    def minus(square: Element, old: Element) -> Element:
        return square.minus(old).doubled().plus(square)

    def plus(square: Element, old: Element) -> Element:
        return square.plus(old).doubled().plus(square)

    (a0, a2, a4), (a1, a3, a5) = (half.parts for half in a.parts)
    s0, s1 = _square4(a0, a3)
    s2, s3 = _square4(a1, a4)
    s4, s5 = _square4(a2, a5)
    result = a.code.slot(FP12)
    even = minus(s0, a0), minus(s2, a2), minus(s4, a4)
    odd = plus(s5.apply("raise"), a1), plus(s1, a3), plus(s3, a5)
    for half, values in zip(result.parts, (even, odd), strict=True):
        for target, value in zip(half.parts, values, strict=True):
            target.put(value)
    return result


def functions() -> str:
    """All functions of the tower."""
    return "".join(
        (
            *(_linear(kind) for kind in (FP2, FP6, FP12)),
            define(FP2, "mul", _mul2, FP2),
            define(FP2, "square", _square2),
            define(FP2, "raise", _raised2),
            define(FP2, "scale", _scaled2, FP),
            define(FP2, "conjugate", _conjugate),
            define(FP2, "inverse", _inverse2),
            define(FP6, "mul", _mul6, FP6),
            define(FP6, "square", lambda a: a.times(a)),
            define(FP6, "sparse", _sparse6, FP2, FP2),
            define(FP6, "raise", _raised6),
            define(FP6, "scale", _scaled6, FP2),
            define(FP6, "inverse", _inverse6),
            define(FP12, "mul", _mul12, FP12),
            define(FP12, "square", _square12),
            define(FP12, "line", _line12, FP2, FP2, FP2),
            define(FP12, "inverse", _inverse12),
            define(FP12, "conjugate", _conjugate),
            define(FP12, "frobenius", _frobenius12),
            define(FP12, "cyclotomic_square", _cyclotomic_square12),
        )
    )
