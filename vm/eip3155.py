"""A line of an EIP-3155 trace: the machine state before an operation, and the operation's cost.

Where the EIP leaves room, lines are those of the execution specification's ``ethereum-spec-evm statetest --json``:
the gas cost is what the opcode asked for, paid or not, with the gas given along to a call and without that of a
creation; the refund counter is that of execution, with what the opcode itself changes.
"""

from __future__ import annotations

from typing import Any, Final

import msgspec

from vm.evm.frame import Frame
from vm.evm.layout import Field
from vm.evm.pricing import Pricing
from vm.limits import STACK_ITEMS
from vm.message import Halt

_MAX_COST: Final = 2**64 - 1
"""A price above is left out: numbers of EIP-3155 have 64 bits."""

_ERRORS: Final = {
    Halt.OUT_OF_GAS: "OutOfGasError",
    Halt.STACK_UNDERFLOW: "StackUnderflowError",
    Halt.STACK_OVERFLOW: "StackOverflowError",
    Halt.INVALID_JUMP: "InvalidJumpDestError",
    Halt.INVALID_OPCODE: "InvalidOpcode",
    Halt.STATIC_VIOLATION: "WriteInStaticContext",
    Halt.RETURN_DATA_OUT_OF_BOUNDS: "OutOfBoundsRead",
}
"""Error texts of exceptional halts in trace lines."""


def operation_line(
    pricing: Pricing, frame: Frame, *, memory: bool, words: int = STACK_ITEMS, refund_before: int = 0
) -> dict[str, Any] | None:
    """The line of a frame's next operation; None without code, whose implicit STOP is not an operation of a trace.

    ``memory``: all memory is in the line; ``words`` of the stack are, those at its top. ``refund_before`` is where
    the journal's refund counter stood when the execution began.
    """
    if not frame.code.length:
        return None
    prospect = pricing.look(frame)
    row, failure = prospect.opcode, prospect.failure
    size = frame.words[Field.MEMORY_SIZE]
    line: dict[str, Any] = {"pc": frame.pc, "op": prospect.byte, "gas": hex(frame.gas)}
    if prospect.gas <= _MAX_COST:
        line["gasCost"] = hex(prospect.gas)
    if memory and size:
        line["memory"] = "0x" + frame.memory_bytes().hex()
    line |= {
        "memSize": size,
        "stack": [hex(word) for word in frame.stack(words)],
        "returnData": "0x" + frame.returndata.hex(),
        "depth": frame.message.depth + 1,
        "refund": pricing.journal.refund - refund_before + prospect.refund,
        "opName": "InvalidOpcode" if row is None else row.name,
    }
    if failure is not None:
        line["error"] = _ERRORS[failure]
    elif row is not None and row.name == "REVERT":
        line["error"] = "Revert"
    return line


def encode_line(line: dict[str, Any]) -> str:
    """The line as JSON, without a line end."""
    return msgspec.json.encode(line).decode()
