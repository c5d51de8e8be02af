"""Keccak-256 as IR (FIPS 202's permutation, with the padding byte 0x01 of Ethereum)."""

from __future__ import annotations

from itertools import pairwise
from typing import Final

from vm.ir.builder import Builder

RATE: Final = 136
"""Bytes absorbed per permutation."""
_ROUNDS: Final = 24
_UNROLLED: Final = 2
"""Rounds per turn of the loop."""


def round_constants() -> list[int]:
    """The 24 constants of iota, from the degree-8 LFSR of FIPS 202, algorithm 5."""
    constants = []
    register = 1
    for _ in range(_ROUNDS):
        constant = 0
        for j in range(7):
            if register & 1:
                constant |= 1 << ((1 << j) - 1)
            register <<= 1
            if register & 0x100:
                register ^= 0x171
        constants.append(constant)
    return constants


def rotations() -> list[tuple[int, int]]:
    """Rho and pi as one walk: (lane the value moves to, bits it is rotated by), starting at lane 1."""
    x, y, walk = 1, 0, []
    for t in range(24):
        offset = (t + 1) * (t + 2) // 2 % 64
        x, y = y, (2 * x + 3 * y) % 5
        walk.append((x + 5 * y, offset))
    return walk


def _rotate(b: Builder, lane: str, bits: int) -> str:
    return b.let(f"call i64 @llvm.fshl.i64(i64 {lane}, i64 {lane}, i64 {bits})")


def _round(b: Builder, lanes: list[str], constant: str) -> list[str]:
    columns = []
    for x in range(5):
        parity = lanes[x]
        for y in range(1, 5):
            parity = b.let(f"xor i64 {parity}, {lanes[x + 5 * y]}")
        columns.append(parity)
    for x in range(5):
        theta = b.let(f"xor i64 {columns[x - 1]}, {_rotate(b, columns[(x + 1) % 5], 1)}")
        for y in range(5):
            lanes[x + 5 * y] = b.let(f"xor i64 {lanes[x + 5 * y]}, {theta}")
    moved = [lanes[0]] * 25
    walk = rotations()
    for (source, _), (target, bits) in pairwise([(1, 0), *walk]):
        moved[target] = _rotate(b, lanes[source], bits)
    for y in range(0, 25, 5):
        for x in range(5):
            inverted = b.let(f"xor i64 {moved[y + (x + 1) % 5]}, -1")
            chi = b.let(f"and i64 {inverted}, {moved[y + (x + 2) % 5]}")
            lanes[x + y] = b.let(f"xor i64 {moved[x + y]}, {chi}")
    lanes[0] = b.let(f"xor i64 {lanes[0]}, {constant}")
    return lanes


def _permutation() -> str:
    b = Builder()
    b.place("entry")
    cells = [b.let(f"getelementptr i64, ptr %state, i64 {i}") for i in range(25)]
    before = [b.let(f"load i64, ptr {cell}") for cell in cells]
    b.do("br label %loop")
    b.place("loop")
    turn = b.let("phi i64 [ 0, %entry ], [ %turn.next, %loop ]")
    starts = [f"%lane{i}" for i in range(25)]
    phis_at = len(b.lines)
    lanes = list(starts)
    for i in range(_UNROLLED):
        index = b.let(f"add i64 {turn}, {i}")
        at = b.let(f"getelementptr i64, ptr @keccak_constants, i64 {index}")
        lanes = _round(b, lanes, b.let(f"load i64, ptr {at}"))
    phis = [
        f"  {start} = phi i64 [ {first}, %entry ], [ {after}, %loop ]"
        for start, first, after in zip(starts, before, lanes, strict=True)
    ]
    b.lines[phis_at:phis_at] = phis
    b.do(f"%turn.next = add i64 {turn}, {_UNROLLED}")
    b.branch(b.let(f"icmp ult i64 %turn.next, {_ROUNDS}"), "loop", "done")
    b.place("done")
    for cell, lane in zip(cells, lanes, strict=True):
        b.do(f"store i64 {lane}, ptr {cell}")
    b.do("ret void")
    return b.function("define internal void @keccak_permute(ptr %state) noinline nounwind")


def ir() -> str:
    """`@keccak256(ptr, length)` giving the digest as a number, and what it needs."""
    constants = ", ".join(f"i64 {c}" for c in round_constants())
    lanes = RATE // 8
    return f"""
declare i64 @llvm.fshl.i64(i64, i64, i64)
@keccak_constants = internal constant [{_ROUNDS} x i64] [{constants}]
{_permutation()}

define internal void @keccak_absorb(ptr %state, ptr %block) noinline nounwind {{
entry:
  br label %loop
loop:
  %i = phi i64 [ 0, %entry ], [ %next, %loop ]
  %cell = getelementptr i64, ptr %state, i64 %i
  %from = getelementptr i64, ptr %block, i64 %i
  %lane = load i64, ptr %cell
  %data = load i64, ptr %from, align 1
  %mixed = xor i64 %lane, %data
  store i64 %mixed, ptr %cell
  %next = add i64 %i, 1
  %more = icmp ult i64 %next, {lanes}
  br i1 %more, label %loop, label %done
done:
  call void @keccak_permute(ptr %state)
  ret void
}}

define internal i256 @keccak256(ptr %data, i64 %length) noinline nounwind {{
entry:
  %state = alloca [25 x i64], align 32
  %tail = alloca [{RATE} x i8], align 32
  call void @llvm.memset.p0.i64(ptr %state, i8 0, i64 200, i1 false)
  br label %loop
loop:
  %at = phi ptr [ %data, %entry ], [ %at.next, %full ]
  %left = phi i64 [ %length, %entry ], [ %left.next, %full ]
  %whole = icmp uge i64 %left, {RATE}
  br i1 %whole, label %full, label %last
full:
  call void @keccak_absorb(ptr %state, ptr %at)
  %at.next = getelementptr i8, ptr %at, i64 {RATE}
  %left.next = sub i64 %left, {RATE}
  br label %loop
last:
  call void @llvm.memset.p0.i64(ptr %tail, i8 0, i64 {RATE}, i1 false)
  call void @llvm.memcpy.p0.p0.i64(ptr %tail, ptr %at, i64 %left, i1 false)
  %pad.at = getelementptr i8, ptr %tail, i64 %left
  store i8 1, ptr %pad.at
  %end.at = getelementptr i8, ptr %tail, i64 {RATE - 1}
  %end = load i8, ptr %end.at
  %end.set = or i8 %end, -128
  store i8 %end.set, ptr %end.at
  call void @keccak_absorb(ptr %state, ptr %tail)
  %digest = load i256, ptr %state
  %swapped = call i256 @llvm.bswap.i256(i256 %digest)
  ret i256 %swapped
}}
"""
