"""STOP, jumps, RETURN, REVERT, INVALID, PC, GAS."""

from __future__ import annotations

from vm.evm.builder import Emitter
from vm.evm.emitters.registry import opcode
from vm.evm.layout import Field
from vm.message import Halt


@opcode("STOP")
def _stop(c: Emitter) -> None:
    c.exit(Halt.STOP)


@opcode("JUMP")
def _jump(c: Emitter) -> None:
    c.jump(c.pop())


@opcode("JUMPI")
def _jumpi(c: Emitter) -> None:
    target, condition = c.pop(), c.pop()
    c.jumpi(target, condition)


@opcode("JUMPDEST")
def _jumpdest(_: Emitter) -> None:
    pass


@opcode("PC")
def _pc(c: Emitter) -> None:
    c.push(c.pc())


@opcode("GAS")
def _gas(c: Emitter) -> None:
    c.push(c.let(f"zext i64 {c.gas} to i256"))


def _end(c: Emitter, halt: Halt) -> None:
    offset, length = c.pop(), c.pop()
    start, size = c.memrange(offset, length)
    memory = c.let(f"ptrtoint ptr {c.pointer(Field.MEMORY)} to i64")
    c.set_field(Field.RESULT_OFFSET, c.let(f"sub i64 {c.let(f'ptrtoint ptr {start} to i64')}, {memory}"))
    c.set_field(Field.RESULT_LENGTH, size)
    c.exit(halt)


@opcode("RETURN")
def _return(c: Emitter) -> None:
    _end(c, Halt.RETURN)


@opcode("REVERT")
def _revert(c: Emitter) -> None:
    _end(c, Halt.REVERT)


@opcode("INVALID")
def _invalid(c: Emitter) -> None:
    c.b.do(f"br label %{c.failure(Halt.INVALID_OPCODE)}")
