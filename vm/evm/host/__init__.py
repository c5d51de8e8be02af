"""Opcodes that Python carries out: one handler each. `handlers` gives a fork's table by opcode byte.

A handler finds gas, pc and sp as they are after the opcode, with the operands still above sp: operand ``i``
of an opcode that takes P words and gives Q lies at ``sp + 32 * (P - Q - 1 - i)``, and its result belongs at
``sp - 32``. It returns the `Halt` that ends the frame, or None to go on with whatever frame is then the
innermost.
"""

from __future__ import annotations

from chain.forks import Fork
from vm.evm.frame import Frame
from vm.evm.host import accounts, calls, creates, logs
from vm.evm.host.protocol import Handler, OpcodeHost
from vm.evm.opcodes import opcodes
from vm.message import Halt


def handlers(fork: Fork) -> list[Handler]:
    """The handlers of a fork by opcode byte."""
    named = {
        **accounts.HANDLERS,
        **logs.HANDLERS,
        **calls.HANDLERS,
        **creates.HANDLERS,
    }
    rows = opcodes(fork)
    return [
        named.get(rows[byte].name, _not_for_python) if byte in rows else _not_for_python
        for byte in range(256)
    ]


def _not_for_python(_: OpcodeHost, frame: Frame) -> Halt | None:
    raise AssertionError(f"opcode before pc {frame.pc} is native")
