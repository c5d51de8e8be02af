"""EIP-3155 traces: one JSON object per opcode, with the values before it, and one at the end.

Where the EIP leaves room, lines are those of the execution specification's ``ethereum-spec-evm statetest --json``:
the gas cost is what the opcode asked for, paid or not, with the gas given along to a call and without that of a
creation; the refund counter is that of execution, with what the opcode itself changes.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

import msgspec

from chain.receipts import Log
from chain.types import Hash32
from vm.evm.layout import Field
from vm.limits import STACK_ITEMS
from vm.machine import Machine
from vm.message import CallKind, ExecutionContext, Halt, Message, Outcome
from vm.pricing import Pricing
from vm.trace import Tracer

if TYPE_CHECKING:
    from vm.evm.frame import Frame

_CREATES: Final = (CallKind.CREATE, CallKind.CREATE2)
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
"""How lines name what ends a frame."""


class TraceWriter:
    """A `vm.trace.Tracer` that writes a line per opcode, and `finish` the last one."""

    def __init__(
        self, write: Callable[[str], None], *, memory: bool = False, words: int = STACK_ITEMS
    ) -> None:
        """``memory``: all memory in every line; ``words`` of the stack are shown, those at its top."""
        self._write = write
        self._words = words
        self._memory = memory
        self._pricing: Pricing | None = None
        self._refund_before = 0
        self._summary: dict[str, Any] = {}

    def begin(self, context: ExecutionContext) -> None:
        """An execution begins."""
        self._pricing = Pricing(context.environment.fork, context.journal)
        self._refund_before = context.journal.refund

    def end(self, message: Message, outcome: Outcome, gas: int) -> None:
        """The execution of the message ended, having been given ``gas``."""
        assert self._pricing is not None
        output = outcome.output
        if outcome.success and message.kind in _CREATES:
            output = self._pricing.journal.code(message.to)
        self._summary = {"output": output.hex(), "gasUsed": hex(gas - outcome.gas_left)}
        self._summary["pass"] = outcome.success

    def finish(self, fork: str, state_root: Hash32 | None = None, error: str | None = None) -> None:
        """Write the last line; ``error`` says why nothing was executed."""
        line: dict[str, Any] = {} if state_root is None else {"stateRoot": "0x" + state_root.hex()}
        line |= self._summary or {"output": "", "gasUsed": "0x0", "pass": False}
        line["fork"] = fork
        if error is not None:
            line["error"] = error
        self._summary = {}
        self._write(_encode(line))

    def step(self, frame: Frame) -> None:
        """An opcode is about to run."""
        if frame.code.length:  # calls and creations without code have no opcodes
            self._write(_encode(self.line(frame)))

    def line(self, frame: Frame) -> dict[str, Any]:
        """The line of the opcode that is about to run."""
        assert self._pricing is not None
        prospect = self._pricing.look(frame)
        row, failure = prospect.opcode, prospect.failure
        line: dict[str, Any] = {"pc": frame.pc, "op": prospect.byte, "gas": hex(frame.gas)}
        if prospect.gas <= _MAX_COST:
            line["gasCost"] = hex(prospect.gas)
        if self._memory and frame.words[Field.MEMORY_SIZE]:
            line["memory"] = "0x" + frame.memory_bytes().hex()
        line |= {
            "memSize": frame.words[Field.MEMORY_SIZE],
            "stack": [hex(word) for word in frame.stack(self._words)],
            "returnData": "0x" + frame.returndata.hex(),
            "depth": frame.message.depth + 1,
            "refund": self._pricing.journal.refund - self._refund_before + prospect.refund,
            "opName": "InvalidOpcode" if row is None else row.name,
        }
        if failure is not None:
            line["error"] = _ERRORS[failure]
        elif row is not None and row.name == "REVERT":
            line["error"] = "Revert"
        return line

    def enter(self, message: Message) -> None:
        """Calls show in the depth of lines."""

    def leave(self, message: Message, outcome: Outcome) -> None:
        """The last opcode's line says how a frame ended."""

    def log(self, log: Log) -> None:
        """Logs are not part of EIP-3155."""


class TracedMachine(Machine):
    """A machine whose executions are written down."""

    def __init__(self, writer: TraceWriter, **options: Any) -> None:
        """``options`` are those of `Machine`."""
        super().__init__(**options)
        self.writer = writer

    def execute(self, message: Message, context: ExecutionContext, tracer: Tracer | None = None) -> Outcome:
        """As the plain machine does, opcode by opcode."""
        gas = message.gas
        self.writer.begin(context)
        outcome = super().execute(message, context, tracer or self.writer)
        self.writer.end(message, outcome, gas)
        return outcome


def _encode(line: dict[str, Any]) -> str:
    return msgspec.json.encode(line).decode()
