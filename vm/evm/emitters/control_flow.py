"""STOP, jumps, RETURN, REVERT, INVALID, PC, GAS."""

from __future__ import annotations

from vm.evm.emitter import Emitter
from vm.evm.emitters.registry import opcode
from vm.evm.layout import Field
from vm.message import Halt


@opcode("STOP")
def stop(c: Emitter) -> None:
    """End successfully without output."""
    c.exit(Halt.STOP)


@opcode("JUMP")
def jump(c: Emitter) -> None:
    """Go on at a JUMPDEST."""
    c.jump(c.pop())


@opcode("JUMPI")
def jumpi(c: Emitter) -> None:
    """Go on at a JUMPDEST if the second word is not 0."""
    # Stack
    target, condition = c.pop(), c.pop()
    # Operation
    c.jumpi(target, condition)


@opcode("JUMPDEST")
def jumpdest(_: Emitter) -> None:
    """Do nothing."""


@opcode("PC")
def pc(c: Emitter) -> None:
    """Push the offset of this opcode."""
    c.push(c.pc())


@opcode("GAS")
def gas(c: Emitter) -> None:
    """Push the gas left after this opcode."""
    c.push(c.let(f"zext i64 {c.gas} to i256"))


def _end(c: Emitter, halt: Halt) -> None:
    # Stack
    offset, length = c.pop(), c.pop()
    # Gas
    start, size = c.memrange(offset, length)
    # Operation
    memory = c.let(f"ptrtoint ptr {c.pointer(Field.MEMORY)} to i64")
    c.set_field(Field.RESULT_OFFSET, c.let(f"sub i64 {c.let(f'ptrtoint ptr {start} to i64')}, {memory}"))
    c.set_field(Field.RESULT_LENGTH, size)
    c.exit(halt)


@opcode("RETURN")
def return_(c: Emitter) -> None:
    """End successfully with output."""
    _end(c, Halt.RETURN)


@opcode("REVERT")
def revert(c: Emitter) -> None:
    """Undo all changes of the frame and end with output (EIP-140)."""
    _end(c, Halt.REVERT)


@opcode("INVALID")
def invalid(c: Emitter) -> None:
    """Halt, as any byte that is not an opcode does (EIP-141)."""
    c.b.do(f"br label %{c.failure(Halt.INVALID_OPCODE)}")
