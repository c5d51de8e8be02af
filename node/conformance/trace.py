"""EIP-3155 traces of test cases: one JSON object per opcode (`vm.eip3155`), and one at the end."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from chain.types import Hash32
from vm.context import ExecutionContext
from vm.eip3155 import encode_line, operation_line
from vm.evm.pricing import Pricing
from vm.evm.trace import Tracer
from vm.limits import STACK_ITEMS
from vm.machine import Machine, Parts
from vm.message import CREATES, Message, Outcome

if TYPE_CHECKING:
    from vm.evm.frame import Frame



class TraceWriter(Tracer):
    """Writes a line per opcode, and with `finish` the last one."""

    hears_steps = True

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
        if outcome.success and message.kind in CREATES:
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
        self._write(encode_line(line))

    def step(self, frame: Frame) -> None:
        """An opcode is about to run."""
        if (line := self.line(frame)) is not None:
            self._write(encode_line(line))

    def line(self, frame: Frame) -> dict[str, Any] | None:
        """The line of the opcode that is about to run, if the frame has code."""
        assert self._pricing is not None
        return operation_line(
            self._pricing, frame, memory=self._memory, words=self._words, refund_before=self._refund_before
        )


class TracedMachine(Machine):
    """A machine that traces its executions."""

    def __init__(self, writer: TraceWriter, parts: Parts) -> None:
        super().__init__(parts)
        self.writer = writer

    def execute(self, message: Message, context: ExecutionContext, tracer: Tracer | None = None) -> Outcome:
        """As the plain machine does, opcode by opcode."""
        gas = message.gas
        self.writer.begin(context)
        outcome = super().execute(message, context, tracer or self.writer)
        self.writer.end(message, outcome, gas)
        return outcome
