"""Division of 256-bit words as IR. LLVM is never given a wide ``udiv``, which it expands to a loop over bits.

Divisors of one limb use Möller and Granlund's reciprocal (2 by 1), those of two limbs their division of 3 by 2; wider
ones its quotient guess inside Knuth's algorithm D, with the divisor shifted so that its top bit is bit 255: then every
quotient limb is the same step. No function uses vectors: words that were stored in 64-bit parts would be loaded whole,
which waits until the stores are done.
"""

from __future__ import annotations

from collections.abc import Sequence

from vm.ir.builder import Builder


def limb(b: Builder, value: str, index: int, width: int = 256) -> str:
    shifted = b.let(f"lshr i{width} {value}, {64 * index}") if index else value
    return b.let(f"trunc i{width} {shifted} to i64")


def join(b: Builder, limbs: Sequence[str]) -> str:
    """Limbs, least significant first, as one number."""
    width = 64 * len(limbs)
    whole = b.let(f"zext i64 {limbs[0]} to i{width}")
    for i, part in enumerate(limbs[1:], 1):
        high = b.let(f"shl i{width} {b.let(f'zext i64 {part} to i{width}')}, {64 * i}")
        whole = b.let(f"or i{width} {whole}, {high}")
    return whole


def product(b: Builder, x: str, y: str) -> str:
    """Full 128-bit product of two i64."""
    left, right = b.let(f"zext i64 {x} to i128"), b.let(f"zext i64 {y} to i128")
    return b.let(f"mul i128 {left}, {right}")


def function(signature: str, b: Builder, attributes: str) -> str:
    """A function of the module's own."""
    return b.function(f"define internal {signature} {attributes} nounwind noimplicitfloat")


def _reciprocal() -> str:
    """(2**128 - 1) / d - 2**64 for a normalised d (Möller and Granlund 2011, algorithm 3)."""
    b = Builder()
    b.place("entry")
    d9 = b.let(f"trunc i64 {b.let('lshr i64 %d, 55')} to i32")
    v0 = b.let(f"zext i32 {b.let(f'udiv i32 {0x7FD00}, {d9}')} to i64")
    d40 = b.let(f"add i64 {b.let('lshr i64 %d, 24')}, 1")
    square = b.let(f"mul i64 {b.let(f'mul i64 {v0}, {v0}')}, {d40}")
    less = b.let(f"sub i64 {b.let(f'shl i64 {v0}, 11')}, {b.let(f'lshr i64 {square}, 40')}")
    v1 = b.let(f"sub i64 {less}, 1")
    error = b.let(f"sub i64 {1 << 60}, {b.let(f'mul i64 {v1}, {d40}')}")
    more = b.let(f"lshr i64 {b.let(f'mul i64 {v1}, {error}')}, 47")
    v2 = b.let(f"add i64 {b.let(f'shl i64 {v1}, 13')}, {more}")
    d0 = b.let("and i64 %d, 1")
    d63 = b.let(f"add i64 {b.let('lshr i64 %d, 1')}, {d0}")
    half = b.let(f"and i64 {b.let(f'lshr i64 {v2}, 1')}, {b.let(f'sub i64 0, {d0}')}")
    e = b.let(f"sub i64 {half}, {b.let(f'mul i64 {v2}, {d63}')}")
    high = limb(b, product(b, v2, e), 1, 128)
    v3 = b.let(f"add i64 {b.let(f'shl i64 {v2}, 31')}, {b.let(f'lshr i64 {high}, 1')}")
    sum_ = b.let(f"add i128 {product(b, v3, '%d')}, {b.let('zext i64 %d to i128')}")
    v4 = b.let(f"sub i64 {b.let(f'sub i64 {v3}, {limb(b, sum_, 1, 128)}')}, %d")
    b.do(f"ret i64 {v4}")
    return function("i64 @reciprocal(i64 %d)", b, "alwaysinline")


def _reciprocal_wide() -> str:
    """The reciprocal a 3-by-2 division needs (algorithm 6)."""
    b = Builder()
    b.place("entry")
    v = b.let("call i64 @reciprocal(i64 %d1)")
    p = b.let(f"add i64 {b.let(f'mul i64 %d1, {v}')}, %d0")
    wrapped = b.let(f"icmp ult i64 {p}, %d0")
    again = b.let(f"and i1 {wrapped}, {b.let(f'icmp uge i64 {p}, %d1')}")
    # Each wrap takes one from v and %d1 from p; the second only happens after the first.
    v = b.let(f"sub i64 {v}, {b.let(f'zext i1 {wrapped} to i64')}")
    v = b.let(f"sub i64 {v}, {b.let(f'zext i1 {again} to i64')}")
    p = b.let(f"sub i64 {p}, {b.let(f'select i1 {again}, i64 %d1, i64 0')}")
    p = b.let(f"sub i64 {p}, {b.let(f'select i1 {wrapped}, i64 %d1, i64 0')}")
    t = product(b, v, "%d0")
    t_high, t_low = limb(b, t, 1, 128), limb(b, t, 0, 128)
    sum_ = b.let(f"add i64 {p}, {t_high}")
    over = b.let(f"icmp ult i64 {sum_}, {p}")
    above = b.let(f"icmp ugt i64 {sum_}, %d1")
    level = b.let(f"and i1 {b.let(f'icmp eq i64 {sum_}, %d1')}, {b.let(f'icmp uge i64 {t_low}, %d0')}")
    twice = b.let(f"and i1 {over}, {b.let(f'or i1 {above}, {level}')}")
    v = b.let(f"sub i64 {v}, {b.let(f'zext i1 {over} to i64')}")
    v = b.let(f"sub i64 {v}, {b.let(f'zext i1 {twice} to i64')}")
    b.do(f"ret i64 {v}")
    return function("i64 @reciprocal_wide(i64 %d1, i64 %d0)", b, "alwaysinline")


def _short_step() -> str:
    """Quotient and remainder of (high, low) by a normalised limb, high < d (algorithm 4)."""
    b = Builder()
    b.place("entry")
    both = join(b, ("%low", "%high"))
    q = b.let(f"add i128 {product(b, '%v', '%high')}, {both}")
    q_low, q_high = limb(b, q, 0, 128), b.let(f"add i64 {limb(b, q, 1, 128)}, 1")
    r = b.let(f"sub i64 %low, {b.let(f'mul i64 {q_high}, %d')}")
    large = b.let(f"icmp ugt i64 {r}, {q_low}")
    q_high = b.let(f"sub i64 {q_high}, {b.let(f'zext i1 {large} to i64')}")
    r = b.let(f"add i64 {r}, {b.let(f'select i1 {large}, i64 %d, i64 0')}")
    still = b.let(f"icmp uge i64 {r}, %d")
    q_high = b.let(f"add i64 {q_high}, {b.let(f'zext i1 {still} to i64')}")
    r = b.let(f"sub i64 {r}, {b.let(f'select i1 {still}, i64 %d, i64 0')}")
    pair = b.let(f"insertvalue {{i64, i64}} undef, i64 {q_high}, 0")
    b.do(f"ret {{i64, i64}} {b.let(f'insertvalue {{i64, i64}} {pair}, i64 {r}, 1')}")
    return function("{i64, i64} @short_step(i64 %high, i64 %low, i64 %d, i64 %v)", b, "alwaysinline")


def _guess(b: Builder) -> str:
    """Quotient limb of the top three limbs of r by the top two of d, at most one too large (algorithm 5)."""
    u2, u1, u0 = limb(b, "%r", 3), limb(b, "%r", 2), limb(b, "%r", 1)
    d1, d0 = limb(b, "%d", 3), limb(b, "%d", 2)
    q = b.let(f"add i128 {product(b, '%v', u2)}, {join(b, (u1, u2))}")
    q_low, q_high = limb(b, q, 0, 128), limb(b, q, 1, 128)
    r1 = b.let(f"sub i64 {u1}, {b.let(f'mul i64 {q_high}, {d1}')}")
    d_top = join(b, (d0, d1))
    r = b.let(f"sub i128 {join(b, (u0, r1))}, {product(b, d0, q_high)}")
    r = b.let(f"sub i128 {r}, {d_top}")
    q_high = b.let(f"add i64 {q_high}, 1")
    large = b.let(f"icmp uge i64 {limb(b, r, 1, 128)}, {q_low}")
    q_high = b.let(f"sub i64 {q_high}, {b.let(f'zext i1 {large} to i64')}")
    r = b.let(f"add i128 {r}, {b.let(f'select i1 {large}, i128 {d_top}, i128 0')}")
    still = b.let(f"icmp uge i128 {r}, {d_top}")
    return b.let(f"add i64 {q_high}, {b.let(f'zext i1 {still} to i64')}")


def _wide_step() -> str:
    """One quotient limb: (r * 2**64 + limb) by d, with bit 255 of d set, r < d and v its wide reciprocal."""
    b = Builder()
    b.place("entry")
    top = b.let("lshr i256 %r, 128")
    b.branch(b.let(f"icmp eq i256 {top}, {b.let('lshr i256 %d, 128')}"), "full", "partial")
    b.place("partial")
    guess = _guess(b)
    b.do("br label %subtract")
    b.place("full")
    b.do("br label %subtract")
    b.place("subtract")
    q = b.let(f"phi i64 [ -1, %full ], [ {guess}, %partial ]")
    limbs, carry = [], b.let("add i64 0, 0")
    for i in range(4):
        part = b.let(f"add i128 {product(b, limb(b, '%d', i), q)}, {b.let(f'zext i64 {carry} to i128')}")
        limbs.append(limb(b, part, 0, 128))
        carry = limb(b, part, 1, 128)
    whole = join(b, limbs)
    window = b.let(f"or i256 {b.let('shl i256 %r, 64')}, {b.let('zext i64 %limb to i256')}")
    borrow = b.let(f"zext i1 {b.let(f'icmp ult i256 {window}, {whole}')} to i64")
    rest = b.let(f"sub i256 {window}, {whole}")
    r3 = limb(b, "%r", 3)
    above = b.let(f"sub i64 {b.let(f'sub i64 {r3}, {carry}')}, {borrow}")
    much = b.let(f"icmp ne i64 {above}, 0")
    q = b.let(f"sub i64 {q}, {b.let(f'zext i1 {much} to i64')}")
    rest = b.let(f"add i256 {rest}, {b.let(f'select i1 {much}, i256 %d, i256 0')}")
    pair = b.let(f"insertvalue {{i64, i256}} undef, i64 {q}, 0")
    b.do(f"ret {{i64, i256}} {b.let(f'insertvalue {{i64, i256}} {pair}, i256 {rest}, 1')}")
    return function("{i64, i256} @wide_step(i256 %r, i64 %limb, i256 %d, i64 %v)", b, "alwaysinline")


def _divide_short() -> str:
    """Division by one limb: four steps, or two if the dividend has only two limbs."""
    b = Builder()
    b.place("entry")
    b.do("%s = call i64 @llvm.ctlz.i64(i64 %d, i1 true)")
    b.do("%dn = shl i64 %d, %s")
    b.do("%v = call i64 @reciprocal(i64 %dn)")
    n = [limb(b, "%n", i) for i in range(4)]
    shifted = [
        "",
        *(b.let(f"call i64 @llvm.fshl.i64(i64 {n[i]}, i64 {n[i - 1]}, i64 %s)") for i in range(1, 4)),
    ]
    shifted[0] = b.let(f"shl i64 {n[0]}, %s")
    b.branch(b.let("icmp ult i256 %n, 340282366920938463463374607431768211456"), "two", "four")
    results: dict[str, tuple[str, str]] = {}
    for label, count in (("two", 2), ("four", 4)):
        b.place(label)
        r = b.let(f"call i64 @llvm.fshl.i64(i64 0, i64 {n[count - 1]}, i64 %s)")
        quotient: list[str] = []
        for i in reversed(range(count)):
            pair = b.let(f"call {{i64, i64}} @short_step(i64 {r}, i64 {shifted[i]}, i64 %dn, i64 %v)")
            quotient.insert(0, b.let(f"extractvalue {{i64, i64}} {pair}, 0"))
            r = b.let(f"extractvalue {{i64, i64}} {pair}, 1")
        results[label] = (join(b, quotient + ["0"] * (4 - count)), r)
        b.do("br label %done")
    b.place("done")
    q = b.let("phi i256 " + ", ".join(f"[ {value}, %{label} ]" for label, (value, _) in results.items()))
    r = b.let("phi i64 " + ", ".join(f"[ {value}, %{label} ]" for label, (_, value) in results.items()))
    rest = b.let(f"zext i64 {b.let(f'lshr i64 {r}, %s')} to i256")
    pair = b.let(f"insertvalue {{i256, i256}} undef, i256 {q}, 0")
    b.do(f"ret {{i256, i256}} {b.let(f'insertvalue {{i256, i256}} {pair}, i256 {rest}, 1')}")
    return function("{i256, i256} @divide_short(i256 %n, i64 %d)", b, "noinline")


def _three_by_two() -> str:
    """Quotient limb and remainder of three limbs by two normalised ones, whose top ones are less (algorithm 4)."""
    b = Builder()
    b.place("entry")
    d1, d0 = limb(b, "%d", 1, 128), limb(b, "%d", 0, 128)
    q = b.let(f"add i128 {product(b, '%v', '%u2')}, {join(b, ('%u1', '%u2'))}")
    q_low, q_high = limb(b, q, 0, 128), limb(b, q, 1, 128)
    r1 = b.let(f"sub i64 %u1, {b.let(f'mul i64 {q_high}, {d1}')}")
    r = b.let(f"sub i128 {join(b, ('%u0', r1))}, {product(b, d0, q_high)}")
    r = b.let(f"sub i128 {r}, %d")
    q_high = b.let(f"add i64 {q_high}, 1")
    large = b.let(f"icmp uge i64 {limb(b, r, 1, 128)}, {q_low}")
    q_high = b.let(f"sub i64 {q_high}, {b.let(f'zext i1 {large} to i64')}")
    r = b.let(f"add i128 {r}, {b.let(f'select i1 {large}, i128 %d, i128 0')}")
    still = b.let(f"icmp uge i128 {r}, %d")
    q_high = b.let(f"add i64 {q_high}, {b.let(f'zext i1 {still} to i64')}")
    r = b.let(f"sub i128 {r}, {b.let(f'select i1 {still}, i128 %d, i128 0')}")
    pair = b.let(f"insertvalue {{i64, i128}} undef, i64 {q_high}, 0")
    b.do(f"ret {{i64, i128}} {b.let(f'insertvalue {{i64, i128}} {pair}, i128 {r}, 1')}")
    return function("{i64, i128} @three_by_two(i64 %u2, i64 %u1, i64 %u0, i128 %d, i64 %v)", b, "alwaysinline")


def shifted_up(b: Builder, limbs: Sequence[str], bits: str) -> list[str]:
    """Limbs shifted by less than 64: a shift of a whole word by an unknown amount goes through memory."""
    pairs = zip(limbs, ["0", *limbs], strict=False)
    return [b.let(f"call i64 @llvm.fshl.i64(i64 {upper}, i64 {lower}, i64 {bits})") for upper, lower in pairs]


def shifted_down(b: Builder, limbs: Sequence[str], bits: str) -> list[str]:
    """The reverse."""
    pairs = zip([*limbs[1:], "0"], limbs, strict=True)
    return [b.let(f"call i64 @llvm.fshr.i64(i64 {upper}, i64 {lower}, i64 {bits})") for upper, lower in pairs]


def _both(b: Builder, quotient: str, rest: str) -> None:
    pair = b.let(f"insertvalue {{i256, i256}} undef, i256 {quotient}, 0")
    b.do(f"ret {{i256, i256}} {b.let(f'insertvalue {{i256, i256}} {pair}, i256 {rest}, 1')}")


def _divide_by_two() -> str:
    """Division by two limbs, n >= d: a step for each limb of n above the first."""
    b = Builder()
    b.place("entry")
    n, d = [limb(b, "%n", i) for i in range(4)], [limb(b, "%d", i) for i in range(2)]
    s = b.let(f"call i64 @llvm.ctlz.i64(i64 {d[1]}, i1 true)")
    d0, d1 = shifted_up(b, d, s)
    u = shifted_up(b, [*n, "0"], s)
    divisor, v = join(b, (d0, d1)), b.let(f"call i64 @reciprocal_wide(i64 {d1}, i64 {d0})")
    tops = {i: join(b, (u[i + 1], u[i + 2])) for i in range(3)}
    b.branch(b.let(f"icmp ult i256 %n, {1 << 128}"), "last", "long")
    b.place("long")
    b.branch(b.let(f"icmp ult i256 %n, {1 << 192}"), "middle", "first")
    blocks = ("last", "middle", "first")
    rests: dict[int, str] = {}
    quotients: dict[int, str] = {}
    for i in (2, 1, 0):
        b.place(blocks[i])
        rest = tops[i]
        if i < 2:
            rest = b.choose("i128", ((tops[i], "entry" if i == 0 else "long"), (rests[i + 1], blocks[i + 1])))
        for j in range(i + 1, 3):
            before = [("0", "entry" if i == 0 else "long"), (quotients[j], blocks[i + 1])]
            quotients[j] = b.choose("i64", before)
        high, low = limb(b, rest, 1, 128), limb(b, rest, 0, 128)
        step = f"call {{i64, i128}} @three_by_two(i64 {high}, i64 {low}, i64 {u[i]}, i128 {divisor}, i64 {v})"
        pair = b.let(step)
        quotients[i] = b.let(f"extractvalue {{i64, i128}} {pair}, 0")
        rests[i] = b.let(f"extractvalue {{i64, i128}} {pair}, 1")
        if i:
            b.go(blocks[i - 1])
    r = shifted_down(b, [limb(b, rests[0], i, 128) for i in range(2)], s)
    _both(b, join(b, [quotients[0], quotients[1], quotients[2], "0"]), join(b, [*r, "0", "0"]))
    return function("{i256, i256} @divide_by_two(i256 %n, i256 %d)", b, "noinline")


def _divide_wide() -> str:
    """Division by three or four limbs, n >= d: one step, and another where the divisor was moved up by a limb."""
    b = Builder()
    b.place("entry")
    n, d = [limb(b, "%n", i) for i in range(4)], [limb(b, "%d", i) for i in range(4)]
    is_short = b.let(f"icmp eq i64 {d[3]}, 0")
    top = b.let(f"select i1 {is_short}, i64 {d[2]}, i64 {d[3]}")
    s = b.let(f"call i64 @llvm.ctlz.i64(i64 {top}, i1 true)")
    whole = shifted_up(b, d, s)
    pairs = zip(["0", *whole], whole, strict=False)
    moved = [b.let(f"select i1 {is_short}, i64 {lower}, i64 {same}") for lower, same in pairs]
    divisor, v = join(b, moved), b.let(f"call i64 @reciprocal_wide(i64 {moved[3]}, i64 {moved[2]})")
    u = shifted_up(b, [*n, "0"], s)

    def step(rest: str, below: str) -> tuple[str, str]:
        pair = b.let(f"call {{i64, i256}} @wide_step(i256 {rest}, i64 {below}, i256 {divisor}, i64 {v})")
        return b.let(f"extractvalue {{i64, i256}} {pair}, 0"), b.let(f"extractvalue {{i64, i256}} {pair}, 1")

    q_first, r_first = step(join(b, u[1:]), u[0])
    b.go("once")
    b.place("once")
    b.branch(is_short, "again", "done")
    b.place("again")
    q_second, r_second = step(r_first, "0")
    b.go("twice")
    b.place("twice")
    r = shifted_down(b, [limb(b, r_second, i) for i in range(1, 4)], s)
    _both(b, join(b, [q_second, q_first, "0", "0"]), join(b, [*r, "0"]))
    b.place("done")
    r = shifted_down(b, [limb(b, r_first, i) for i in range(4)], s)
    _both(b, join(b, [q_first, "0", "0", "0"]), join(b, r))
    return function("{i256, i256} @divide_wide(i256 %n, i256 %d)", b, "noinline")


_REST = """
declare i64 @llvm.fshr.i64(i64, i64, i64)
declare i64 @llvm.ctlz.i64(i64, i1)
declare i256 @llvm.ctpop.i256(i256)
declare i256 @llvm.cttz.i256(i256, i1)

define internal {i256, i256} @divide_both(i256 %n, i256 %d) noinline nounwind noimplicitfloat {
entry:
  %zero = icmp eq i256 %d, 0
  br i1 %zero, label %by.zero, label %nonzero
by.zero:
  ret {i256, i256} zeroinitializer
nonzero:
  %either = or i256 %n, %d
  %small = icmp ule i256 %either, 18446744073709551615
  br i1 %small, label %word, label %large
word:
  %n.word = trunc i256 %n to i64
  %d.word = trunc i256 %d to i64
  %q.word = udiv i64 %n.word, %d.word
  %q.part = mul i64 %q.word, %d.word
  %r.word = sub i64 %n.word, %q.part
  %q.wide = zext i64 %q.word to i256
  %r.wide = zext i64 %r.word to i256
  %word.half = insertvalue {i256, i256} undef, i256 %q.wide, 0
  %word.both = insertvalue {i256, i256} %word.half, i256 %r.wide, 1
  ret {i256, i256} %word.both
large:
  %less = icmp ult i256 %n, %d
  br i1 %less, label %nothing, label %some
nothing:
  %none = insertvalue {i256, i256} zeroinitializer, i256 %n, 1
  ret {i256, i256} %none
some:
  %d.less = sub i256 %d, 1
  %d.rest = and i256 %d, %d.less
  %power = icmp eq i256 %d.rest, 0
  br i1 %power, label %shift, label %general
shift:
  %bits = call i256 @llvm.cttz.i256(i256 %d, i1 true)
  %q.shift = lshr i256 %n, %bits
  %r.mask = and i256 %n, %d.less
  %shift.half = insertvalue {i256, i256} undef, i256 %q.shift, 0
  %shift.both = insertvalue {i256, i256} %shift.half, i256 %r.mask, 1
  ret {i256, i256} %shift.both
general:
  %narrow = icmp ule i256 %d, 18446744073709551615
  br i1 %narrow, label %short, label %wide
short:
  %d.short = trunc i256 %d to i64
  %short.both = tail call {i256, i256} @divide_short(i256 %n, i64 %d.short)
  ret {i256, i256} %short.both
wide:
  %is.two = icmp ult i256 %d, 340282366920938463463374607431768211456
  br i1 %is.two, label %two, label %more
two:
  %two.both = tail call {i256, i256} @divide_by_two(i256 %n, i256 %d)
  ret {i256, i256} %two.both
more:
  %wide.both = tail call {i256, i256} @divide_wide(i256 %n, i256 %d)
  ret {i256, i256} %wide.both
}

define internal i256 @divide(i256 %n, i256 %d) alwaysinline nounwind noimplicitfloat {
  %both = call {i256, i256} @divide_both(i256 %n, i256 %d)
  %q = extractvalue {i256, i256} %both, 0
  ret i256 %q
}

define internal i256 @modulo(i256 %n, i256 %d) alwaysinline nounwind noimplicitfloat {
  %both = call {i256, i256} @divide_both(i256 %n, i256 %d)
  %r = extractvalue {i256, i256} %both, 1
  ret i256 %r
}

"""


def ir() -> str:
    """`@divide`, `@modulo`, and the steps `vm.evm.routines.modular` builds on."""
    parts = (
        _reciprocal(),
        _reciprocal_wide(),
        _short_step(),
        _wide_step(),
        _three_by_two(),
        _divide_short(),
        _divide_by_two(),
        _divide_wide(),
        _REST,
    )
    return "\n".join(parts)
