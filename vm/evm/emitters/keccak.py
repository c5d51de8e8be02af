"""Emitter of KECCAK256 (Yellow Paper, appendix H)."""

from __future__ import annotations

from vm.evm.emitter import Emitter
from vm.evm.emitters.registry import opcode


@opcode("KECCAK256")
def keccak(c: Emitter) -> None:
    """Keccak-256 of a range of memory."""
    # Stack
    offset, length = c.pop(), c.pop()
    # Gas
    start, size = c.memrange(offset, length)
    c.charge_size(size)
    # Operation
    c.push(c.let(f"call i256 @digest(ptr %frame, ptr {start}, i64 {size})"))
