"""Memory growth and its gas, copies with zero padding, and the search for jump destinations."""

from __future__ import annotations

from chain.gas_schedule import GasSchedule
from vm.evm.layout import Field
from vm.limits import MEMORY_BYTES

_DECLARATIONS = """
declare i64 @llvm.umax.i64(i64, i64)
declare i64 @llvm.umin.i64(i64, i64)
declare i64 @llvm.usub.sat.i64(i64, i64)
declare void @llvm.memcpy.p0.p0.i64(ptr, ptr, i64, i1)
declare void @llvm.memmove.p0.p0.i64(ptr, ptr, i64, i1)
declare void @llvm.memset.p0.i64(ptr, i8, i64, i1)
declare i256 @llvm.bswap.i256(i256)
declare i256 @llvm.ctlz.i256(i256, i1)
declare i256 @llvm.abs.i256(i256, i1)
declare i256 @llvm.umin.i256(i256, i256)
"""


def _expand(gas: GasSchedule) -> str:
    return f"""
; Gas left after making the memory reach to %end; -1 out of gas, -2 buffer too small (no effect).
define internal i64 @expand(ptr %frame, i64 %end, i64 %gas) noinline nounwind {{
  %far = icmp ugt i64 %end, {2 * MEMORY_BYTES}
  br i1 %far, label %poor, label %near
near:
  %up = add i64 %end, 31
  %words = lshr i64 %up, 5
  %linear = mul i64 %words, {gas.memory_word}
  %square = mul i64 %words, %words
  %quadratic = udiv i64 %square, {gas.memory_quadratic_divisor}
  %cost = add i64 %linear, %quadratic
  %paid.at = getelementptr i8, ptr %frame, i64 {8 * Field.MEMORY_COST}
  %paid = load i64, ptr %paid.at
  %extra = sub i64 %cost, %paid
  %enough = icmp uge i64 %gas, %extra
  br i1 %enough, label %affordable, label %poor
affordable:
  %size = shl i64 %words, 5
  %capacity.at = getelementptr i8, ptr %frame, i64 {8 * Field.MEMORY_CAPACITY}
  %capacity = load i64, ptr %capacity.at
  %fits = icmp ule i64 %size, %capacity
  br i1 %fits, label %take, label %grow
take:
  store i64 %cost, ptr %paid.at
  %size.at = getelementptr i8, ptr %frame, i64 {8 * Field.MEMORY_SIZE}
  store i64 %size, ptr %size.at
  %left = sub i64 %gas, %extra
  ret i64 %left
grow:
  %wanted.at = getelementptr i8, ptr %frame, i64 {8 * Field.RESULT_OFFSET}
  store i64 %size, ptr %wanted.at
  ret i64 -2
poor:
  ret i64 -1
}}
"""


_REST = """
; Copy %count bytes from %offset of a buffer, zeros beyond its end.
define internal void @copy_padded(ptr %to, ptr %from, i64 %length, i64 %offset, i64 %count) noinline {
  %rest = call i64 @llvm.usub.sat.i64(i64 %length, i64 %offset)
  %present = call i64 @llvm.umin.i64(i64 %rest, i64 %count)
  %some = icmp ne i64 %present, 0
  br i1 %some, label %copy, label %pad
copy:
  %source = getelementptr i8, ptr %from, i64 %offset
  call void @llvm.memcpy.p0.p0.i64(ptr %to, ptr %source, i64 %present, i1 false)
  br label %pad
pad:
  %gap = getelementptr i8, ptr %to, i64 %present
  %missing = sub i64 %count, %present
  call void @llvm.memset.p0.i64(ptr %gap, i8 0, i64 %missing, i1 false)
  ret void
}

define internal i256 @load_short(ptr %data, i64 %length, i64 %offset) noinline nounwind {
  %room = alloca i256, align 32
  call void @copy_padded(ptr %room, ptr %data, i64 %length, i64 %offset, i64 32)
  %word = load i256, ptr %room
  %swapped = call i256 @llvm.bswap.i256(i256 %word)
  ret i256 %swapped
}

; The big-endian word at %offset (below 2**63) of a buffer, zeros beyond its end.
define internal i256 @load_padded(ptr %data, i64 %length, i64 %offset) alwaysinline nounwind {
  %end = add i64 %offset, 32
  %whole = icmp ule i64 %end, %length
  br i1 %whole, label %fast, label %slow
fast:
  %at = getelementptr i8, ptr %data, i64 %offset
  %word = load i256, ptr %at, align 1
  %swapped = call i256 @llvm.bswap.i256(i256 %word)
  ret i256 %swapped
slow:
  %short = call i256 @load_short(ptr %data, i64 %length, i64 %offset)
  ret i256 %short
}

; Write 1 to %map for every JUMPDEST that is not data of a PUSH. The map is zero before.
define void @map_jumps(ptr %code, i64 %length, ptr %map) nounwind {
entry:
  br label %loop
loop:
  %pc = phi i64 [ 0, %entry ], [ %next, %mark ], [ %next, %plain ]
  %more = icmp ult i64 %pc, %length
  br i1 %more, label %look, label %done
look:
  %at = getelementptr i8, ptr %code, i64 %pc
  %op = load i8, ptr %at
  %from.push = sub i8 %op, 95
  %is.push = icmp ult i8 %from.push, 33
  %data8 = select i1 %is.push, i8 %from.push, i8 0
  %data = zext i8 %data8 to i64
  %step = add i64 %data, 1
  %next = add i64 %pc, %step
  %is.dest = icmp eq i8 %op, 91
  br i1 %is.dest, label %mark, label %plain
mark:
  %cell = getelementptr i8, ptr %map, i64 %pc
  store i8 1, ptr %cell
  br label %loop
plain:
  br label %loop
done:
  ret void
}
"""


def ir(gas: GasSchedule) -> str:
    """All of it under a fork's prices."""
    return _DECLARATIONS + _expand(gas) + _REST
