"""MULMOD with a memory for moduli: from the fourth use on a product is reduced by multiplications (Barrett).

Field arithmetic takes thousands of products modulo one or two primes. A reciprocal depends on nothing but the modulus,
so what one execution of a thread has learned the next ones use too. Two moduli of the same place replace each other;
while they take turns, both are divided by.
"""

from __future__ import annotations

from typing import Final

from vm.evm.convention import get_field
from vm.evm.layout import MODULUS_BITS, MODULUS_BYTES, MODULUS_USES, Field, Modulus, StateBlock
from vm.evm.routines.division import function, join, limb, product
from vm.ir.builder import Builder

_ODD: Final = 0x9E3779B97F4A7C15
_LIMBS: Final = 4
"""Of the modulus; the reciprocal has one more."""


def _reciprocal_of() -> str:
    """``@reciprocal_of(frame, m)``: address of the limbs of m's reciprocal, null while it is not known."""
    b = Builder()
    b.place("entry")
    mixed = b.let(f"mul i64 {limb(b, '%m', 0)}, {_ODD}")
    place = b.let(f"lshr i64 {mixed}, {64 - MODULUS_BITS}")
    state = get_field(b, Field.STATE, "ptr")
    cell = b.at(b.at(state, StateBlock.MODULI), b.let(f"mul i64 {place}, {MODULUS_BYTES}"))
    reciprocal = b.at(cell, Modulus.RECIPROCAL)
    b.branch(b.let(f"icmp eq i256 %m, {b.get('i256', cell, Modulus.MODULUS)}"), "met", "other")
    b.place("met")
    uses = b.get("i64", cell, Modulus.USES)
    b.branch(b.let(f"icmp eq i64 {uses}, {MODULUS_USES}"), "known", "counted")
    b.place("known")
    b.do(f"ret ptr {reciprocal}")
    b.place("counted")
    more = b.let(f"add i64 {uses}, 1")
    b.put("i64", more, cell, Modulus.USES)
    b.branch(b.let(f"icmp eq i64 {more}, {MODULUS_USES}"), "compute", "unknown")
    b.place("compute")
    b.do(f"call void @compute_reciprocal(ptr {reciprocal}, i256 %m)")
    b.do(f"ret ptr {reciprocal}")
    b.place("other")
    b.put("i256", "%m", cell, Modulus.MODULUS)
    b.put("i64", 1, cell, Modulus.USES)
    b.go("unknown")
    b.place("unknown")
    b.do("ret ptr null")
    return function("ptr @reciprocal_of(ptr %frame, i256 %m)", b, "alwaysinline")


_COMPUTE = f"""
; (2**512 - 1) / m, for m of four limbs: both shifted until bit 255 of m is set, the dividend has nine limbs. Its four
; highest, 2**(192 + s) - 1, are below m, and five steps remain.
define internal void @compute_reciprocal(ptr %to, i256 %m) noinline nounwind {{
entry:
  %s = call i256 @llvm.ctlz.i256(i256 %m, i1 true)
  %d = shl i256 %m, %s
  %d1.wide = lshr i256 %d, 192
  %d1 = trunc i256 %d1.wide to i64
  %d0.wide = lshr i256 %d, 128
  %d0 = trunc i256 %d0.wide to i64
  %v = call i64 @reciprocal_wide(i64 %d1, i64 %d0)
  %bits = add i256 %s, 192
  %bit = shl i256 1, %bits
  %first = sub i256 %bit, 1
  %s.word = trunc i256 %s to i64
  %lowest = shl i64 -1, %s.word
  br label %loop
loop:
  %r = phi i256 [ %first, %entry ], [ %r.next, %loop ]
  %place = phi i64 [ {_LIMBS}, %entry ], [ %place.next, %loop ]
  %last = icmp eq i64 %place, 0
  %below = select i1 %last, i64 %lowest, i64 -1
  %step = call {{i64, i256}} @wide_step(i256 %r, i64 %below, i256 %d, i64 %v)
  %q = extractvalue {{i64, i256}} %step, 0
  %r.next = extractvalue {{i64, i256}} %step, 1
  %at = getelementptr i64, ptr %to, i64 %place
  store i64 %q, ptr %at
  %place.next = sub i64 %place, 1
  br i1 %last, label %done, label %loop
done:
  ret void
}}
"""


def _row(b: Builder, out: list[str], at: int, x: str, factors: list[str], least: int, end: int) -> None:
    """Add x times a number to ``out`` from limb ``at`` on, only the products at limbs from ``least`` up to ``end``."""
    carry = "0"
    for place, y in enumerate(factors, at):
        if least <= place < end:
            part = b.let(f"add i128 {product(b, x, y)}, {b.let(f'zext i64 {out[place]} to i128')}")
            part = b.let(f"add i128 {part}, {b.let(f'zext i64 {carry} to i128')}")
            out[place], carry = limb(b, part, 0, 128), limb(b, part, 1, 128)
    if at + len(factors) < end:
        out[at + len(factors)] = carry


def _reduce_by_reciprocal() -> str:
    """(high * 2**256 + low) modulo m: the Handbook of Applied Cryptography's algorithm 14.42 with limbs of 64 bits.

    With x the dividend, the quotient is guessed as (x >> 192) * reciprocal >> 320. What the two shifts and the
    reciprocal leave out is less than 1 each, and the products below limb 3 that are left out come to less than
    4 / 2**64: the guess is at most 3 too small, and the rest below 4 m. Mostly the guess is right.
    """
    b = Builder()
    b.place("entry")
    m = [limb(b, "%m", i) for i in range(_LIMBS)]
    x = [limb(b, word, i) for word in ("%low", "%high") for i in range(_LIMBS)]
    count = _LIMBS + 1
    reciprocal = [b.get("i64", "%reciprocal", 8 * i) for i in range(count)]
    guess = ["0"] * (2 * count)
    for i, high in enumerate(x[_LIMBS - 1 :]):
        _row(b, guess, i, high, reciprocal, _LIMBS - 1, 2 * count)
    whole = ["0"] * count
    for i, q in enumerate(guess[count:]):
        _row(b, whole, i, q, m, 0, count)
    width = 64 * count
    modulus = b.let(f"zext i256 %m to i{width}")
    rest = b.let(f"sub i{width} {join(b, x[:count])}, {join(b, whole)}")
    b.do(f"br i1 {b.let(f'icmp ult i{width} {rest}, {modulus}')}, label %done, label %above, !prof !0")
    b.place("above")
    less = rest
    for amount in (b.let(f"shl i{width} {modulus}, 1"), modulus):
        much = b.let(f"icmp uge i{width} {less}, {amount}")
        less = b.let(f"sub i{width} {less}, {b.let(f'select i1 {much}, i{width} {amount}, i{width} 0')}")
    b.go("done")
    b.place("done")
    result = b.choose(f"i{width}", ((rest, "entry"), (less, "above")))
    b.do(f"ret i256 {b.let(f'trunc i{width} {result} to i256')}")
    return function("i256 @reduce_by_reciprocal(i256 %high, i256 %low, i256 %m, ptr %reciprocal)", b, "alwaysinline")


def ir() -> str:
    """`@reciprocal_of` and `@reduce_by_reciprocal`, for `vm.evm.routines.modular`."""
    return _reciprocal_of() + _COMPUTE + _reduce_by_reciprocal()
