"""Emitters of the environment opcodes, ADDRESS to EXTCODEHASH (Yellow Paper, appendix H)."""

from __future__ import annotations

from functools import partial

from vm.evm.emitter import Emitter
from vm.evm.emitters.registry import opcode
from vm.evm.layout import Env, Field
from vm.message import Halt


def environment_word(c: Emitter, word: Env) -> None:
    """Push a word of the environment that is constant during the frame."""
    c.push(c.env(word))


def size_of(c: Emitter, field: Field) -> None:
    """Push the length in bytes of calldata, code or return data."""
    c.push(c.let(f"zext i64 {c.field(field)} to i256"))


for _word in (Env.ADDRESS, Env.CALLER, Env.CALLVALUE, Env.ORIGIN, Env.GASPRICE):
    opcode(_word.name)(partial(environment_word, word=_word))

opcode("CALLDATASIZE")(partial(size_of, field=Field.CALLDATA_LENGTH))
opcode("CODESIZE")(partial(size_of, field=Field.CODE_LENGTH))
opcode("RETURNDATASIZE")(partial(size_of, field=Field.RETURNDATA_LENGTH))


@opcode("CALLDATALOAD")
def calldataload(c: Emitter) -> None:
    """Push a word of the calldata, with zeros beyond its end."""
    # Stack
    offset = c.saturated(c.pop())
    # Operation
    data, length = c.pointer(Field.CALLDATA), c.field(Field.CALLDATA_LENGTH)
    c.push(c.let(f"call i256 @load_padded(ptr {data}, i64 {length}, i64 {offset})"))


@opcode("CALLDATACOPY")
def calldatacopy(c: Emitter) -> None:
    """Copy calldata to memory."""
    c.copy_padded(Field.CALLDATA, Field.CALLDATA_LENGTH, (c.pop(), c.pop(), c.pop()))


@opcode("CODECOPY")
def codecopy(c: Emitter) -> None:
    """Copy the running code to memory."""
    c.copy_padded(Field.CODE, Field.CODE_LENGTH, (c.pop(), c.pop(), c.pop()))


@opcode("RETURNDATACOPY")
def returndatacopy(c: Emitter) -> None:
    """Copy return data to memory; halts beyond its end (EIP-211)."""
    # Stack
    operands = (c.pop(), c.pop(), c.pop())
    # Operation
    start, size = c.saturated(operands[1]), c.bounded(operands[2])
    end = c.let(f"add i64 {start}, {size}")  # below 2**64: the start is below 2**63
    available = c.field(Field.RETURNDATA_LENGTH)
    c.require(c.let(f"icmp ule i64 {end}, {available}"), Halt.RETURN_DATA_OUT_OF_BOUNDS)
    c.copy_padded(Field.RETURNDATA, Field.RETURNDATA_LENGTH, operands)


@opcode("EXTCODECOPY")
def extcodecopy(c: Emitter) -> None:
    """Copy an account's code to memory: memory is paid for here, the copy is made by Python."""
    # Stack
    c.drop()
    target = c.pop()
    c.drop()
    length = c.pop()
    # Gas
    _, size = c.memrange(target, length)
    c.charge_size(size)
    # Operation
    c.host()


@opcode("BALANCE", "EXTCODESIZE", "EXTCODEHASH")
def account_word(c: Emitter) -> None:
    """Push a property of an account; Python supplies it, and charges for a cold account."""
    c.host()
