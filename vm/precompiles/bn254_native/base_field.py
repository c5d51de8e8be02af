"""Arithmetic modulo the field prime of alt_bn128: 256-bit values in Montgomery form, always reduced."""

from __future__ import annotations

from typing import Final

from vm.precompiles.bn254_native.elements import FIELD, FP, RADIX, Element, FunctionBody, define, power

_WORD: Final = 1 << 64
_INVERSE: Final = -pow(FIELD, -1, _WORD) % _WORD

_INLINE: Final = "alwaysinline"
"""For what is a dozen instructions; multiplication is called: as fast, and compiled ten times as fast."""


def _reduced(code: FunctionBody, value: str) -> str:
    """A value below 2 * FIELD, made less than FIELD."""
    less = code.let(f"sub i256 {value}, {FIELD}")
    fits = code.let(f"icmp ult i256 {value}, {FIELD}")
    return code.let(f"select i1 {fits}, i256 {value}, i256 {less}")


def _limbs(code: FunctionBody, value: str) -> list[str]:
    """The four words of a value, each as an i128."""
    words = [code.let(f"trunc i256 {code.let(f'lshr i256 {value}, {64 * i}')} to i64") for i in range(4)]
    return [code.let(f"zext i64 {word} to i128") for word in words]


def _plus_row(code: FunctionBody, total: str, limbs: list[str], word: str) -> str:
    """The i320 total plus a 256-bit number times a word: two chains of additions with carry."""
    products = [code.let(f"mul i128 {limb}, {word}") for limb in limbs]
    for first, second, shift in ((products[0], products[2], 0), (products[1], products[3], 64)):
        low = code.let(f"zext i128 {first} to i320")
        high = code.let(f"shl i320 {code.let(f'zext i128 {second} to i320')}, 128")
        both = code.let(f"or i320 {low}, {high}")
        total = code.let(f"add i320 {total}, {code.let(f'shl i320 {both}, {shift}')}")
    return total


def _product(code: FunctionBody, left: str, right: str) -> str:
    """left * right / RADIX, operands by words (CIOS: Koc, Acar, Kaliski 1996).

    The field is below 2**254, so a total never passes 2**320 and the last one is below 2 * FIELD.
    """
    field = [str(FIELD >> 64 * i & _WORD - 1) for i in range(4)]
    limbs = _limbs(code, left)
    total = "0"
    for word in _limbs(code, right):
        total = _plus_row(code, total, limbs, word)
        low = code.let(f"trunc i320 {total} to i64")
        quotient = code.let(f"mul i64 {low}, {_INVERSE}")
        total = _plus_row(code, total, field, code.let(f"zext i64 {quotient} to i128"))
        total = code.let(f"lshr i320 {total}, 64")
    return _reduced(code, code.let(f"trunc i320 {total} to i256"))


def _stored(code: FunctionBody, value: str) -> Element:
    place = code.slot(FP)
    code.write(value, place.at)
    return place


def _mul(a: Element, b: Element) -> Element:
    return _stored(a.code, _product(a.code, a.code.read(a.at), a.code.read(b.at)))


def _square(a: Element) -> Element:
    value = a.code.read(a.at)
    return _stored(a.code, _product(a.code, value, value))


def _add(a: Element, b: Element) -> Element:
    code = a.code
    return _stored(code, _reduced(code, code.let(f"add i256 {code.read(a.at)}, {code.read(b.at)}")))


def _double(a: Element) -> Element:
    return _add(a, a)


def _sub(a: Element, b: Element) -> Element:
    code = a.code
    left, right = code.read(a.at), code.read(b.at)
    borrow = code.let(f"icmp ult i256 {left}, {right}")
    more = code.let(f"select i1 {borrow}, i256 {FIELD}, i256 0")
    return _stored(code, code.let(f"add i256 {code.let(f'sub i256 {left}, {right}')}, {more}"))


def _neg(a: Element) -> Element:
    return a.code.constant(FP, 0).minus(a)


def _enter(a: Element) -> Element:
    """Montgomery form of an integer."""
    return a.times(a.code.constant(FP, RADIX))


def _leave(a: Element) -> Element:
    """The integer of a Montgomery form."""
    one = a.code.slot(FP)
    a.code.write(1, one.at)
    return a.times(one)


def _inverse(a: Element) -> Element:
    """By Fermat; 0 of 0."""
    return power(a, FIELD - 2)


def functions() -> str:
    """The base field's functions."""
    return "".join(
        (
            define(FP, "mul", _mul, FP),
            define(FP, "square", _square),
            define(FP, "add", _add, FP, attributes=_INLINE),
            define(FP, "sub", _sub, FP, attributes=_INLINE),
            define(FP, "double", _double, attributes=_INLINE),
            define(FP, "neg", _neg, attributes=_INLINE),
            define(FP, "enter", _enter),
            define(FP, "leave", _leave),
            define(FP, "inverse", _inverse),
        )
    )
