"""Bytecode to text, by the opcode table."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from chain.forks import LATEST_FORK, Fork
from vm.evm.opcodes import opcodes


class Instruction(NamedTuple):
    """One opcode in its place."""

    pc: int
    byte: int
    name: str
    """``UNKNOWN_xx`` where the fork has no such opcode."""
    immediate: bytes
    """Data of a PUSH, cut off at the end of the code as in the code itself."""

    def __str__(self) -> str:
        return f"{self.pc:05x} {self.name}" + (f" 0x{self.immediate.hex()}" if self.immediate else "")


def disassemble(code: bytes, fork: Fork = LATEST_FORK) -> Iterator[Instruction]:
    """Instructions of the code in order.

    >>> [str(i) for i in disassemble(bytes.fromhex("602a00"))]
    ['00000 PUSH1 0x2a', '00002 STOP']
    """
    table = opcodes(fork)
    pc = 0
    while pc < len(code):
        row = table.get(code[pc])
        size = row.immediate if row else 0
        yield Instruction(
            pc, code[pc], row.name if row else f"UNKNOWN_{code[pc]:02x}", code[pc + 1 : pc + 1 + size]
        )
        pc += 1 + size
