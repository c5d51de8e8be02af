"""ADDMOD, MULMOD and EXP as IR, on the steps of `vm.evm.routines.division`."""

from __future__ import annotations

from vm.evm.routines.division import function, join, limb, product
from vm.ir.builder import Builder

_IR = """
declare i64 @llvm.fshr.i64(i64, i64, i64)
declare {i256, i1} @llvm.uadd.with.overflow.i256(i256, i256)

define internal i256 @add_modulo(i256 %a, i256 %b, i256 %m) noinline nounwind {
  %a.less = icmp ult i256 %a, %m
  %b.less = icmp ult i256 %b, %m
  %reduced = and i1 %a.less, %b.less
  br i1 %reduced, label %join, label %reduce
reduce:
  %a.mod = call i256 @modulo(i256 %a, i256 %m)
  %b.mod = call i256 @modulo(i256 %b, i256 %m)
  br label %join
join:
  %x = phi i256 [ %a, %0 ], [ %a.mod, %reduce ]
  %y = phi i256 [ %b, %0 ], [ %b.mod, %reduce ]
  %added = call {i256, i1} @llvm.uadd.with.overflow.i256(i256 %x, i256 %y)
  %sum = extractvalue {i256, i1} %added, 0
  %carry = extractvalue {i256, i1} %added, 1
  %above = icmp uge i256 %sum, %m
  %much = or i1 %carry, %above
  %less = select i1 %much, i256 %m, i256 0
  %result = sub i256 %sum, %less
  ret i256 %result
}

define internal i256 @multiply_modulo(ptr %frame, i256 %a, i256 %b, i256 %m) noinline nounwind {
entry:
  %product = call {i256, i256} @multiply_wide(i256 %a, i256 %b)
  %low = extractvalue {i256, i256} %product, 0
  %high = extractvalue {i256, i256} %product, 1
  %small = icmp eq i256 %high, 0
  %tiny = icmp ule i256 %m, 1
  br i1 %small, label %single, label %check
single:
  %single.r = call i256 @modulo(i256 %low, i256 %m)
  ret i256 %single.r
check:
  %m.top = lshr i256 %m, 192
  %is.wide = icmp ne i256 %m.top, 0
  br i1 %is.wide, label %wide, label %narrow
wide:
  %known = call ptr @reciprocal_of(ptr %frame, i256 %m)
  %unknown = icmp eq ptr %known, null
  br i1 %unknown, label %divide, label %by.reciprocal
by.reciprocal:
  %by.reciprocal.r = call i256 @reduce_by_reciprocal(i256 %high, i256 %low, i256 %m, ptr %known)
  ret i256 %by.reciprocal.r
divide:
  %wide.r = call i256 @reduce_wide(i256 %high, i256 %low, i256 %m)
  ret i256 %wide.r
narrow:
  br i1 %tiny, label %zero, label %double
zero:
  ret i256 0
double:
  %fits = icmp ult i256 %high, %m
  br i1 %fits, label %normal, label %reduce
reduce:
  %high.mod = call i256 @modulo(i256 %high, i256 %m)
  br label %normal
normal:
  %top = phi i256 [ %high, %double ], [ %high.mod, %reduce ]
  %s = call i256 @llvm.ctlz.i256(i256 %m, i1 true)
  %dn = shl i256 %m, %s
  %d1.wide = lshr i256 %dn, 192
  %d1 = trunc i256 %d1.wide to i64
  %d0.wide = lshr i256 %dn, 128
  %d0 = trunc i256 %d0.wide to i64
  %v = call i64 @reciprocal_wide(i64 %d1, i64 %d0)
  %top.up = shl i256 %top, %s
  ; Shifting right by 255 - s and once more keeps the amount below 256 for s = 0.
  %down = sub i256 255, %s
  %low.once = lshr i256 %low, %down
  %low.over = lshr i256 %low.once, 1
  %r.first = or i256 %top.up, %low.over
  %low.up = shl i256 %low, %s
  br label %loop
loop:
  %r = phi i256 [ %r.first, %normal ], [ %r.next, %loop ]
  %rest = phi i256 [ %low.up, %normal ], [ %rest.next, %loop ]
  %turn = phi i64 [ 0, %normal ], [ %turn.next, %loop ]
  %limb.wide = lshr i256 %rest, 192
  %limb = trunc i256 %limb.wide to i64
  %rest.next = shl i256 %rest, 64
  %step = call {i64, i256} @wide_step(i256 %r, i64 %limb, i256 %dn, i64 %v)
  %r.next = extractvalue {i64, i256} %step, 1
  %turn.next = add i64 %turn, 1
  %more = icmp ult i64 %turn.next, 4
  br i1 %more, label %loop, label %done
done:
  %result = lshr i256 %r.next, %s
  ret i256 %result
}

define internal i256 @power(i256 %base, i256 %exponent) noinline nounwind {
entry:
  %two = icmp eq i256 %base, 2
  br i1 %two, label %shift, label %loop
shift:
  %inside = icmp ult i256 %exponent, 256
  %amount = and i256 %exponent, 255
  %shifted = shl i256 1, %amount
  %power.two = select i1 %inside, i256 %shifted, i256 0
  ret i256 %power.two
loop:
  %e = phi i256 [ %exponent, %entry ], [ %e.next, %next ]
  %x = phi i256 [ %base, %entry ], [ %x.next, %next ]
  %result = phi i256 [ 1, %entry ], [ %result.next, %next ]
  %over = icmp eq i256 %e, 0
  br i1 %over, label %done, label %turn
turn:
  %odd = trunc i256 %e to i1
  br i1 %odd, label %take, label %next
take:
  %taken = mul i256 %result, %x
  br label %next
next:
  %result.next = phi i256 [ %result, %turn ], [ %taken, %take ]
  %x.next = mul i256 %x, %x
  %e.next = lshr i256 %e, 1
  br label %loop
done:
  ret i256 %result
}
"""


def _multiply_wide() -> str:
    """The 512-bit product as (low, high), schoolbook on limbs."""
    b = Builder()
    b.place("entry")
    x = [limb(b, "%a", i) for i in range(4)]
    y = [limb(b, "%b", i) for i in range(4)]
    out = ["0"] * 8
    for i in range(4):
        carry = "0"
        for j in range(4):
            part = b.let(f"add i128 {product(b, x[i], y[j])}, {b.let(f'zext i64 {out[i + j]} to i128')}")
            part = b.let(f"add i128 {part}, {b.let(f'zext i64 {carry} to i128')}")
            out[i + j], carry = limb(b, part, 0, 128), limb(b, part, 1, 128)
        out[i + 4] = carry
    pair = b.let(f"insertvalue {{i256, i256}} undef, i256 {join(b, out[:4])}, 0")
    b.do(f"ret {{i256, i256}} {b.let(f'insertvalue {{i256, i256}} {pair}, i256 {join(b, out[4:])}, 1')}")
    return function("{i256, i256} @multiply_wide(i256 %a, i256 %b)", b, "alwaysinline")


def _reduce_wide() -> str:
    """(high * 2**256 + low) modulo m, for m of four limbs: shifted limb by limb, since a shift of a whole word by an
    unknown amount goes through memory, and without a loop.
    """
    b = Builder()
    b.place("entry")
    m = [limb(b, "%m", i) for i in range(4)]
    n = [limb(b, word, i) for word in ("%low", "%high") for i in range(4)]
    s = b.let(f"call i64 @llvm.ctlz.i64(i64 {m[3]}, i1 true)")

    def shifted(limbs: list[str]) -> list[str]:
        pairs = zip(limbs, ["0", *limbs], strict=False)
        return [b.let(f"call i64 @llvm.fshl.i64(i64 {upper}, i64 {lower}, i64 {s})") for upper, lower in pairs]

    d, u = shifted(m), shifted([*n, "0"])
    divisor = join(b, d)
    v = b.let(f"call i64 @reciprocal_wide(i64 {d[3]}, i64 {d[2]})")

    def step(rest: str, below: str) -> str:
        pair = b.let(f"call {{i64, i256}} @wide_step(i256 {rest}, i64 {below}, i256 {divisor}, i64 {v})")
        return b.let(f"extractvalue {{i64, i256}} {pair}, 1")

    whole, over = join(b, u[4:8]), join(b, u[5:])
    b.branch(b.let("icmp ult i256 %high, %m"), "reduced", "above")
    b.place("above")
    first = step(over, u[4])
    b.go("reduced")
    b.place("reduced")
    rest = b.choose("i256", [(whole, "entry"), (first, "above")])
    for below in reversed(u[:4]):
        rest = step(rest, below)
    r = [limb(b, rest, i) for i in range(4)]
    pairs = zip([*r[1:], "0"], r, strict=True)
    lowered = [b.let(f"call i64 @llvm.fshr.i64(i64 {upper}, i64 {lower}, i64 {s})") for upper, lower in pairs]
    b.do(f"ret i256 {join(b, lowered)}")
    return function("i256 @reduce_wide(i256 %high, i256 %low, i256 %m)", b, "alwaysinline")


def ir() -> str:
    """`@add_modulo`, `@multiply_modulo` and `@power`."""
    return _multiply_wide() + _reduce_wide() + _IR
