"""Memory growth and its gas, copies with zero padding, and the search for jump destinations."""

from __future__ import annotations

from chain.gas_schedule import GasSchedule
from vm.evm.convention import field_at, get_field, set_field
from vm.evm.layout import WORD_BYTES, Field
from vm.evm.opcodes import BY_NAME
from vm.evm.routines.push_data import step_over
from vm.ir.builder import Builder
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


def ir(gas: GasSchedule) -> str:
    """All of it under a fork's prices."""
    return _DECLARATIONS + _expand(gas) + _copy_padded() + _load_short() + _load_padded() + _map_jumps()


def _expand(gas: GasSchedule) -> str:
    """``@expand``: gas left after making the memory reach to %end; -1 out of gas, -2 buffer too small (no effect)."""
    b = Builder()
    b.branch(b.let(f"icmp ugt i64 %end, {2 * MEMORY_BYTES}"), "poor", "near")
    b.place("near")
    words = b.let(f"lshr i64 {b.let(f'add i64 %end, {WORD_BYTES - 1}')}, 5")
    linear = b.let(f"mul i64 {words}, {gas.memory_word}")
    quadratic = b.let(f"udiv i64 {b.let(f'mul i64 {words}, {words}')}, {gas.memory_quadratic_divisor}")
    cost = b.let(f"add i64 {linear}, {quadratic}")
    paid_at = field_at(b, Field.MEMORY_COST)
    extra = b.let(f"sub i64 {cost}, {b.load('i64', paid_at)}")
    b.branch(b.let(f"icmp uge i64 %gas, {extra}"), "affordable", "poor")
    b.place("affordable")
    size = b.let(f"shl i64 {words}, 5")
    b.branch(b.let(f"icmp ule i64 {size}, {get_field(b, Field.MEMORY_CAPACITY)}"), "take", "grow")
    b.place("take")
    b.store("i64", cost, paid_at)
    set_field(b, Field.MEMORY_SIZE, size)
    b.do(f"ret i64 {b.let(f'sub i64 %gas, {extra}')}")
    b.place("grow")
    set_field(b, Field.RESULT_OFFSET, size)
    b.do("ret i64 -2")
    b.place("poor")
    b.do("ret i64 -1")
    return b.function("define internal i64 @expand(ptr %frame, i64 %end, i64 %gas) noinline nounwind")


def _copy_padded() -> str:
    """``@copy_padded``: copy %count bytes from %offset of a buffer, zeros beyond its end."""
    b = Builder()
    rest = b.let("call i64 @llvm.usub.sat.i64(i64 %length, i64 %offset)")
    present = b.let(f"call i64 @llvm.umin.i64(i64 {rest}, i64 %count)")
    b.branch(b.let(f"icmp ne i64 {present}, 0"), "copy", "pad")
    b.place("copy")
    source = b.at("%from", "%offset")
    b.do(f"call void @llvm.memcpy.p0.p0.i64(ptr %to, ptr {source}, i64 {present}, i1 false)")
    b.go("pad")
    b.place("pad")
    gap, missing = b.at("%to", present), b.let(f"sub i64 %count, {present}")
    b.do(f"call void @llvm.memset.p0.i64(ptr {gap}, i8 0, i64 {missing}, i1 false)")
    b.do("ret void")
    return b.function(
        "define internal void @copy_padded(ptr %to, ptr %from, i64 %length, i64 %offset, i64 %count) noinline"
    )


def _load_short() -> str:
    b = Builder()
    room = b.let(f"alloca i256, align {WORD_BYTES}")
    b.do(f"call void @copy_padded(ptr {room}, ptr %data, i64 %length, i64 %offset, i64 {WORD_BYTES})")
    word = b.load("i256", room)
    b.do(f"ret i256 {b.let(f'call i256 @llvm.bswap.i256(i256 {word})')}")
    return b.function("define internal i256 @load_short(ptr %data, i64 %length, i64 %offset) noinline nounwind")


def _load_padded() -> str:
    """``@load_padded``: the big-endian word at %offset (below 2**63) of a buffer, zeros beyond its end."""
    b = Builder()
    end = b.let(f"add i64 %offset, {WORD_BYTES}")
    b.branch(b.let(f"icmp ule i64 {end}, %length"), "whole", "short")
    b.place("whole")
    word = b.let(f"load i256, ptr {b.at('%data', '%offset')}, align 1")
    b.do(f"ret i256 {b.let(f'call i256 @llvm.bswap.i256(i256 {word})')}")
    b.place("short")
    b.do(f"ret i256 {b.let('call i256 @load_short(ptr %data, i64 %length, i64 %offset)')}")
    return b.function(
        "define internal i256 @load_padded(ptr %data, i64 %length, i64 %offset) alwaysinline nounwind"
    )


def _map_jumps() -> str:
    """``@map_jumps``: write 1 to %map for every JUMPDEST that is not data of a PUSH. The map is zero before."""
    b = Builder()
    b.place("start")
    b.go("loop")
    b.place("loop")
    pc = b.choose("i64", ((0, "start"), ("%next", "mark"), ("%next", "look")))
    b.branch(b.let(f"icmp ult i64 {pc}, %length"), "look", "done")
    b.place("look")
    opcode = b.load("i8", b.at("%code", pc))
    step_over(b, opcode, pc, "%next")
    b.branch(b.let(f"icmp eq i8 {opcode}, {BY_NAME['JUMPDEST'].byte}"), "mark", "loop")
    b.place("mark")
    b.store("i8", 1, b.at("%map", pc))
    b.go("loop")
    b.place("done")
    b.do("ret void")
    return b.function("define void @map_jumps(ptr %code, i64 %length, ptr %map) nounwind")
