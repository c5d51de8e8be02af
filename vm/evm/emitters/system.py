"""CREATE to SELFDESTRUCT: what is paid and checked natively before Python acts."""

from __future__ import annotations

from chain.forks import Fork
from vm.evm.emitter import Emitter
from vm.evm.emitters.registry import opcode
from vm.evm.layout import Field
from vm.message import Halt


@opcode("CREATE", "CREATE2")
def create(c: Emitter) -> None:
    """Create a contract; what follows the static gas and that of the creation code is Python's."""
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
    """Call an account; only without value in a frame that may change nothing (EIP-214)."""
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
    """Run another account's code for this account; the value goes nowhere."""
    # Stack
    c.drop()
    c.drop()
    c.pop()
    _leave_call(c)


@opcode("DELEGATECALL", "STATICCALL")
def delegatecall(c: Emitter) -> None:
    """A call without a value of its own."""
    # Stack
    c.drop()
    c.drop()
    _leave_call(c)


def _leave_call(c: Emitter) -> None:
    """Pay for memory of input and output, and leave what depends on accounts to Python."""
    # Stack
    data = (c.pop(), c.pop())
    output = (c.pop(), c.pop())
    # Gas
    c.memranges(data, output)
    # Operation
    c.host()


@opcode("SELFDESTRUCT")
def selfdestruct(c: Emitter) -> None:
    """Send the balance away; what depends on accounts is Python's."""
    c.require_not_static()
    c.host()
