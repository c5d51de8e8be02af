"""Keccak-256 as IR (FIPS 202's permutation, with the padding byte 0x01 of Ethereum)."""

from __future__ import annotations

from itertools import pairwise
from typing import Final

from vm.evm.routines.division import join
from vm.ir.builder import Builder

RATE: Final = 136
"""Bytes absorbed per permutation."""
_ROUNDS: Final = 24
_UNROLLED: Final = 2
"""Rounds per turn of the loop. The first and the last of `_ROUNDS` stand alone where a word is hashed."""


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
    """One round. Theta, rho, pi and chi go row by row: LLVM keeps to this order, and what waits for its row waits in
    memory. Rotating all lanes first took a fifth longer.
    """
    columns = []
    for x in range(5):
        parity = lanes[x]
        for y in range(1, 5):
            parity = b.let(f"xor i64 {parity}, {lanes[x + 5 * y]}")
        columns.append(parity)
    thetas = [b.let(f"xor i64 {columns[x - 1]}, {_rotate(b, columns[(x + 1) % 5], 1)}") for x in range(5)]
    sources = {target: (source, bits) for (source, _), (target, bits) in pairwise([(1, 0), *rotations()])}
    after = []
    for y in range(0, 25, 5):
        row = []
        for target in range(y, y + 5):
            source, bits = sources.get(target, (0, 0))
            mixed = b.let(f"xor i64 {lanes[source]}, {thetas[source % 5]}")
            row.append(_rotate(b, mixed, bits) if bits else mixed)
        for x in range(5):
            inverted = b.let(f"xor i64 {row[(x + 1) % 5]}, -1")
            chi = b.let(f"and i64 {inverted}, {row[(x + 2) % 5]}")
            after.append(b.let(f"xor i64 {row[x]}, {chi}"))
    after[0] = b.let(f"xor i64 {after[0]}, {constant}")
    return after


def _rounds(b: Builder, lanes: list[str], first: int, end: int) -> list[str]:
    """The rounds from ``first`` up to ``end`` as a loop, from the block ``entry`` on."""
    b.go("loop")
    b.place("loop")
    number = b.let(f"phi i64 [ {first}, %entry ], [ %number.next, %loop ]")
    starts = [f"%lane{i}" for i in range(25)]
    phis_at = len(b.lines)
    after = starts
    for i in range(_UNROLLED):
        index = b.let(f"add i64 {number}, {i}")
        after = _round(b, after, b.load("i64", b.element("i64", "@keccak_constants", index)))
    b.lines[phis_at:phis_at] = [
        f"  {start} = phi i64 [ {before}, %entry ], [ {last}, %loop ]"
        for start, before, last in zip(starts, lanes, after, strict=True)
    ]
    b.do(f"%number.next = add i64 {number}, {_UNROLLED}")
    b.branch(b.let(f"icmp ult i64 %number.next, {end}"), "loop", "done")
    b.place("done")
    return after


def _permutation() -> str:
    b = Builder()
    b.place("entry")
    cells = [b.element("i64", "%state", i) for i in range(25)]
    lanes = _rounds(b, [b.load("i64", cell) for cell in cells], 0, _ROUNDS)
    for cell, lane in zip(cells, lanes, strict=True):
        b.store("i64", lane, cell)
    b.do("ret void")
    return b.function("define internal void @keccak_permute(ptr %state) noinline nounwind")


def _one_word() -> str:
    """The digest of 32 bytes: most lanes of its first round are constants, and of the last one four are wanted."""
    b = Builder()
    b.place("entry")
    given = [b.let(f"load i64, ptr {b.element('i64', '%data', i)}, align 1") for i in range(4)]
    block = [*given, "1", *["0"] * (RATE // 8 - 6), str(-(1 << 63))]
    constants = [str(constant) for constant in round_constants()]
    lanes = _round(b, [*block, *["0"] * (25 - len(block))], constants[0])
    lanes = _rounds(b, lanes, 1, _ROUNDS - 1)
    digest = _round(b, lanes, constants[-1])[:4]
    b.do(f"ret i256 {join(b, [b.let(f'call i64 @llvm.bswap.i64(i64 {lane})') for lane in reversed(digest)])}")
    return b.function("define internal i256 @keccak_of_word(ptr %data) noinline nounwind")


def ir() -> str:
    """`@keccak256(ptr, length)` giving the digest as a number, and what it needs."""
    constants = ", ".join(f"i64 {c}" for c in round_constants())
    lanes = RATE // 8
    return f"""
declare i64 @llvm.fshl.i64(i64, i64, i64)
@keccak_constants = internal constant [{_ROUNDS} x i64] [{constants}]
{_permutation()}
{_one_word()}

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
  %is.word = icmp eq i64 %length, 32
  br i1 %is.word, label %word, label %blocks
word:
  %of.word = tail call i256 @keccak_of_word(ptr %data)
  ret i256 %of.word
blocks:
  call void @llvm.memset.p0.i64(ptr %state, i8 0, i64 200, i1 false)
  %is.short = icmp ult i64 %length, {RATE}
  br i1 %is.short, label %short, label %loop
short:
  call void @llvm.memcpy.p0.p0.i64(ptr %state, ptr %data, i64 %length, i1 false)
  call void @keccak_pad(ptr %state, i64 %length)
  call void @keccak_permute(ptr %state)
  br label %done
loop:
  %at = phi ptr [ %data, %blocks ], [ %at.next, %full ]
  %left = phi i64 [ %length, %blocks ], [ %left.next, %full ]
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
  call void @keccak_pad(ptr %tail, i64 %left)
  call void @keccak_absorb(ptr %state, ptr %tail)
  br label %done
done:
  %digest = load i256, ptr %state
  %swapped = call i256 @llvm.bswap.i256(i256 %digest)
  ret i256 %swapped
}}

; The bits of padding behind the last byte of a block that is zero from there on.
define internal void @keccak_pad(ptr %block, i64 %length) alwaysinline nounwind {{
  %pad.at = getelementptr i8, ptr %block, i64 %length
  store i8 1, ptr %pad.at
  %end.at = getelementptr i8, ptr %block, i64 {RATE - 1}
  %end = load i8, ptr %end.at
  %end.set = or i8 %end, -128
  store i8 %end.set, ptr %end.at
  ret void
}}
"""
