"""CREATE to SELFDESTRUCT: what is paid and checked natively before Python acts."""

from __future__ import annotations

from chain.forks import Fork
from vm.evm.builder import Emitter
from vm.evm.emitters.registry import opcode
from vm.evm.layout import Field
from vm.message import Halt


@opcode("CREATE", "CREATE2")
def _create(c: Emitter) -> None:
    c.require_not_static()
    c.drop()
    offset, length = c.pop(), c.pop()
    _, size = c.memrange(offset, length)
    c.charge_size(size)
    c.host()


def _call(c: Emitter, *, has_value: bool, moves_value: bool) -> None:
    c.drop()
    c.drop()
    if has_value:
        value = c.pop()
        if moves_value and c.fork >= Fork.BYZANTIUM:
            worthless = c.let(f"icmp eq i256 {value}, 0")
            changing = c.let(f"icmp eq i64 {c.field(Field.STATIC)}, 0")
            c.require(c.let(f"or i1 {worthless}, {changing}"), Halt.STATIC_VIOLATION)
    data = (c.pop(), c.pop())
    output = (c.pop(), c.pop())
    c.memranges(data, output)
    c.host()


@opcode("CALL")
def _call1(c: Emitter) -> None:
    _call(c, has_value=True, moves_value=True)


@opcode("CALLCODE")
def _callcode(c: Emitter) -> None:
    _call(c, has_value=True, moves_value=False)


@opcode("DELEGATECALL", "STATICCALL")
def _delegatecall(c: Emitter) -> None:
    _call(c, has_value=False, moves_value=False)


@opcode("SELFDESTRUCT")
def _selfdestruct(c: Emitter) -> None:
    c.require_not_static()
    c.host()
