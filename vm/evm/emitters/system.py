"""Emitters of CREATE to SELFDESTRUCT: the gas and the checks of native code before Python takes over."""

from __future__ import annotations

from chain.forks import Fork
from vm.evm.emitter import Emitter
from vm.evm.emitters.registry import opcode
from vm.evm.layout import Field
from vm.message import Halt


@opcode("CREATE", "CREATE2")
def create(c: Emitter) -> None:
    """Create a contract: static gas and gas for the init code are paid here, the rest is done by Python."""
    c.require_not_static()
    # Stack
    c.drop()
    offset, length = c.pop(), c.pop()
    # Gas
    _, size = c.memrange(offset, length)
    c.charge_size(size)
    # Operation
    c.host()


@opcode("CALL")
def call(c: Emitter) -> None:
    """Call an account; in a static frame only without value (EIP-214)."""
    # Stack
    c.drop()
    c.drop()
    value = c.pop()
    if c.fork >= Fork.BYZANTIUM:
        worthless = c.let(f"icmp eq i256 {value}, 0")
        changing = c.let(f"icmp eq i64 {c.field(Field.STATIC)}, 0")
        c.require(c.let(f"or i1 {worthless}, {changing}"), Halt.STATIC_VIOLATION)
    _leave_call(c)


@opcode("CALLCODE")
def callcode(c: Emitter) -> None:
    """Run another account's code on this account's storage; the value is not transferred."""
    # Stack
    c.drop()
    c.drop()
    c.pop()
    _leave_call(c)


@opcode("DELEGATECALL", "STATICCALL")
def delegatecall(c: Emitter) -> None:
    """DELEGATECALL and STATICCALL: a call without a value operand (EIP-7, EIP-214)."""
    # Stack
    c.drop()
    c.drop()
    _leave_call(c)


def _leave_call(c: Emitter) -> None:
    """Pay for the memory of input and output, and leave the account-dependent part to Python."""
    # Stack
    data = (c.pop(), c.pop())
    output = (c.pop(), c.pop())
    # Gas
    c.memranges(data, output)
    # Operation
    c.host()


@opcode("SELFDESTRUCT")
def selfdestruct(c: Emitter) -> None:
    """Send the balance to the heir; the account-dependent part is done by Python."""
    c.require_not_static()
    c.host()
