"""KECCAK256."""

from __future__ import annotations

from vm.evm.builder import Emitter
from vm.evm.emitters.registry import opcode


@opcode("KECCAK256")
def _keccak256(c: Emitter) -> None:
    offset, length = c.pop(), c.pop()
    start, size = c.memrange(offset, length)
    c.charge_size(size)
    c.push(c.let(f"call i256 @keccak256(ptr {start}, i64 {size})"))
