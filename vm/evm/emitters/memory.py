"""MLOAD to MSIZE, and MCOPY."""

from __future__ import annotations

from vm.evm.builder import Emitter
from vm.evm.emitters.registry import opcode
from vm.evm.layout import Field


@opcode("MLOAD")
def _mload(c: Emitter) -> None:
    at, _ = c.memrange(c.pop(), 32)
    c.push(c.let(f"call i256 @llvm.bswap.i256(i256 {c.let(f'load i256, ptr {at}, align 1')})"))


@opcode("MSTORE")
def _mstore(c: Emitter) -> None:
    offset, value = c.pop(), c.pop()
    at, _ = c.memrange(offset, 32)
    c.b.do(f"store i256 {c.let(f'call i256 @llvm.bswap.i256(i256 {value})')}, ptr {at}, align 1")


@opcode("MSTORE8")
def _mstore8(c: Emitter) -> None:
    offset, value = c.pop(), c.pop()
    at, _ = c.memrange(offset, 1)
    c.b.do(f"store i8 {c.let(f'trunc i256 {value} to i8')}, ptr {at}")


@opcode("MSIZE")
def _msize(c: Emitter) -> None:
    c.push(c.let(f"zext i64 {c.field(Field.MEMORY_SIZE)} to i256"))


@opcode("MCOPY")
def _mcopy(c: Emitter) -> None:
    to, source, length = c.pop(), c.pop(), c.pop()
    (target, size), (start, _) = c.memranges((to, length), (source, length))
    c.charge_size(size)
    c.b.do(f"call void @llvm.memmove.p0.p0.i64(ptr {target}, ptr {start}, i64 {size}, i1 false)")
