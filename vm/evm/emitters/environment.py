"""ADDRESS to EXTCODEHASH: the account, the call, the code and what a call returned."""

from __future__ import annotations

from vm.evm.builder import Emitter
from vm.evm.emitters.registry import Emit, opcode
from vm.evm.layout import Env, Field
from vm.message import Halt


def _env(word: Env) -> Emit:
    return lambda c: c.push(c.env(word))


def _size(field: Field) -> Emit:
    return lambda c: c.push(c.let(f"zext i64 {c.field(field)} to i256"))


for _word in (Env.ADDRESS, Env.CALLER, Env.CALLVALUE, Env.ORIGIN, Env.GASPRICE):
    opcode(_word.name)(_env(_word))

opcode("CALLDATASIZE")(_size(Field.CALLDATA_LENGTH))
opcode("CODESIZE")(_size(Field.CODE_LENGTH))
opcode("RETURNDATASIZE")(_size(Field.RETURNDATA_LENGTH))


@opcode("CALLDATALOAD")
def _calldataload(c: Emitter) -> None:
    offset = c.saturated(c.pop())
    data, length = c.pointer(Field.CALLDATA), c.field(Field.CALLDATA_LENGTH)
    c.push(c.let(f"call i256 @load_padded(ptr {data}, i64 {length}, i64 {offset})"))


@opcode("CALLDATACOPY")
def _calldatacopy(c: Emitter) -> None:
    c.copy_padded(Field.CALLDATA, Field.CALLDATA_LENGTH, (c.pop(), c.pop(), c.pop()))


@opcode("CODECOPY")
def _codecopy(c: Emitter) -> None:
    c.copy_padded(Field.CODE, Field.CODE_LENGTH, (c.pop(), c.pop(), c.pop()))


@opcode("RETURNDATACOPY")
def _returndatacopy(c: Emitter) -> None:
    operands = (c.pop(), c.pop(), c.pop())
    start, size = c.saturated(operands[1]), c.bounded(operands[2])
    end = c.let(f"add i64 {start}, {size}")  # below 2**64: the start is below 2**63
    available = c.field(Field.RETURNDATA_LENGTH)
    c.require(c.let(f"icmp ule i64 {end}, {available}"), Halt.RETURN_DATA_OUT_OF_BOUNDS)
    c.copy_padded(Field.RETURNDATA, Field.RETURNDATA_LENGTH, operands)


@opcode("EXTCODECOPY")
def _extcodecopy(c: Emitter) -> None:
    c.drop()
    target = c.pop()
    c.drop()
    _, size = c.memrange(target, c.pop())
    c.charge_size(size)
    c.host()


@opcode("BALANCE", "EXTCODESIZE", "EXTCODEHASH")
def _account(c: Emitter) -> None:
    c.host()
