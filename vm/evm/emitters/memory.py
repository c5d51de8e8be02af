"""Emitters of the memory opcodes, MLOAD to MSIZE, and MCOPY (Yellow Paper, appendix H; EIP-5656)."""

from __future__ import annotations

from vm.evm.emitter import Emitter
from vm.evm.emitters.registry import opcode
from vm.evm.layout import WORD_BYTES, Field


@opcode("MLOAD")
def mload(c: Emitter) -> None:
    """Push a word of memory."""
    # Stack
    offset = c.pop()
    # Gas
    at, _ = c.memrange(offset, WORD_BYTES)
    # Operation
    c.push(c.let(f"call i256 @llvm.bswap.i256(i256 {c.let(f'load i256, ptr {at}, align 1')})"))


@opcode("MSTORE")
def mstore(c: Emitter) -> None:
    """Write a word to memory."""
    # Stack
    offset, value = c.pop(), c.pop()
    # Gas
    at, _ = c.memrange(offset, WORD_BYTES)
    # Operation
    c.b.do(f"store i256 {c.let(f'call i256 @llvm.bswap.i256(i256 {value})')}, ptr {at}, align 1")


@opcode("MSTORE8")
def mstore8(c: Emitter) -> None:
    """Write the lowest byte of a word to memory."""
    # Stack
    offset, value = c.pop(), c.pop()
    # Gas
    at, _ = c.memrange(offset, 1)
    # Operation
    c.b.do(f"store i8 {c.let(f'trunc i256 {value} to i8')}, ptr {at}")


@opcode("MSIZE")
def msize(c: Emitter) -> None:
    """Push the bytes of memory in use."""
    c.push(c.let(f"zext i64 {c.field(Field.MEMORY_SIZE)} to i256"))


@opcode("MCOPY")
def mcopy(c: Emitter) -> None:
    """Copy within memory; the ranges may overlap (EIP-5656)."""
    # Stack
    to, source, length = c.pop(), c.pop(), c.pop()
    # Gas
    (target, size), (start, _) = c.memranges((to, length), (source, length))
    c.charge_size(size)
    # Operation
    c.b.do(f"call void @llvm.memmove.p0.p0.i64(ptr {target}, ptr {start}, i64 {size}, i1 false)")
