"""EIP-3155 traces: one JSON object per opcode, with the values before it, and one at the end."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import msgspec

from chain.receipts import Log
from vm.evm.opcodes import opcodes
from vm.machine import Machine
from vm.message import CallKind, ExecutionContext, Halt, Message, Outcome
from vm.trace import Tracer

if TYPE_CHECKING:
    from vm.evm.frame import Frame

_CREATES = (CallKind.CREATE, CallKind.CREATE2)


class TraceWriter:
    """A `vm.trace.Tracer` that writes each line once the cost of its opcode is known."""

    def __init__(self, write: Callable[[str], None]) -> None:
        self._write = write
        self._context: ExecutionContext | None = None
        self._names: dict[int, str] = {}
        self._line: dict[str, Any] | None = None
        self._frame: Frame | None = None

    def start(self, context: ExecutionContext) -> None:
        """An execution begins."""
        self._context = context
        self._names = {byte: row.name for byte, row in opcodes(context.environment.fork).items()}
        self._line = self._frame = None

    def finish(self, outcome: Outcome, gas: int, fork: str) -> None:
        """The execution ended, having been given ``gas``."""
        self._flush(None, 0)
        summary = {"output": "0x" + outcome.output.hex(), "gasUsed": hex(gas - outcome.gas_left)}
        self._write(_encode(summary | {"pass": outcome.success, "fork": fork}))

    def step(self, frame: Frame) -> None:
        """An opcode is about to run."""
        self._flush(None, 0)
        assert self._context is not None
        if not frame.code.length:
            return  # calls and creations without code have no opcodes
        opcode = frame.code.bytes[frame.pc] if frame.pc < frame.code.length else 0
        self._frame = frame
        self._line = {
            "pc": frame.pc,
            "op": opcode,
            "gas": frame.gas,
            "gasCost": "0x0",
            "memSize": len(frame.memory_bytes()),
            "stack": [hex(word) for word in frame.stack()],
            "depth": frame.message.depth + 1,
            "returnData": "0x" + frame.returndata.hex(),
            "refund": self._context.journal.refund,
            "opName": self._names.get(opcode, "INVALID"),
        }

    def enter(self, message: Message) -> None:
        """A call's cost includes the gas given along, a creation's does not (as in geth and EELS)."""
        self._flush(None, message.gas if message.kind in _CREATES else 0)

    def leave(self, message: Message, outcome: Outcome) -> None:  # noqa: ARG002 - the protocol's
        """The frame's last opcode is known to have failed only now."""
        self._flush(outcome.halt if outcome.halt.is_exceptional else None, 0)

    def log(self, log: Log) -> None:
        """Logs are not part of EIP-3155."""

    def _flush(self, failure: Halt | None, given_along: int) -> None:
        line, frame = self._line, self._frame
        if line is None or frame is None:
            return
        before = line["gas"]
        line["gas"] = hex(before)
        line["gasCost"] = hex(max(0, before - frame.gas - given_along))
        if failure is not None:
            line["error"] = failure.name
        self._line = self._frame = None
        self._write(_encode(line))


class TracedMachine(Machine):
    """A machine whose executions are written down."""

    def __init__(self, writer: TraceWriter) -> None:
        super().__init__()
        self._writer = writer

    def execute(self, message: Message, context: ExecutionContext, tracer: Tracer | None = None) -> Outcome:
        """As the plain machine does, opcode by opcode."""
        gas = message.gas
        self._writer.start(context)
        outcome = super().execute(message, context, tracer or self._writer)
        self._writer.finish(outcome, gas, context.environment.fork.name.title())
        return outcome


def _encode(line: dict[str, Any]) -> str:
    return msgspec.json.encode(line).decode()
