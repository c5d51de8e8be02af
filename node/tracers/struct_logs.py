"""The default tracer of ``debug_traceTransaction``: one struct log per opcode, as geth's StructLogger writes it.

Source: ``eth/tracers/logger/logger.go``. ``error`` is what refused the opcode before it ran; how one failed that was
paid for (a bad jump, INVALID) is not in its line.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, NamedTuple

import msgspec

from chain.types import Address
from node.api.errors import InvalidParams, LimitExceeded
from node.api.tracing import RunTracer, TracedRun
from vm.evm.faults import OUT_OF_GAS, opcode_name, refusal
from vm.evm.layout import Field
from vm.evm.opcodes import BY_NAME, opcodes
from vm.evm.pricing import Pricing
from vm.message import Message, Outcome
from vm.transaction import TransactionResult

if TYPE_CHECKING:
    from vm.evm.frame import Frame

ANSWER_BYTES_MAX: Final = 20_000_000
"""Approximate memory of the lines: the answer itself may have 25 MB."""
_WORD_BYTES: Final = 70
_LINE_BYTES: Final = 90
_REACH: Final = 17
"""Most stack words that an opcode reads."""
_SLOAD: Final = BY_NAME["SLOAD"].byte
_SSTORE: Final = BY_NAME["SSTORE"].byte
_SLOT_OPERANDS: Final = {_SLOAD: 1, _SSTORE: 2}
"""Stack words that the opcode needs to name its slot, or the slot's new value."""


class StructLogOptions(msgspec.Struct, rename="camel"):
    """What a line holds; the names and defaults are geth's."""

    enable_memory: bool = False
    disable_stack: bool = False
    disable_storage: bool = False
    enable_return_data: bool = False
    limit: int = 0
    """Bytes of lines, as JSON, after which no further line is written; 0 is as many as the answer holds."""

    def check(self) -> None:
        """Raises `InvalidParams` for an invalid limit."""
        if self.limit < 0:
            raise InvalidParams("limit: a number of bytes, 0 for none")


@dataclass(slots=True)
class StructLog:
    """The machine state before an opcode. Parts that the options leave out are None or empty."""

    pc: int
    opcode: str
    gas: int
    gas_cost: int
    depth: int
    """1 for the outermost message."""
    refund: int
    error: str | None
    """Geth's error message if the opcode was refused."""
    stack: list[int] | None = None
    """The top last."""
    return_data: bytes = b""
    memory: bytes = b""
    storage: dict[int, int] | None = None
    """Only at SLOAD and SSTORE: the account's slots that its code has accessed so far."""


class StructLogTrace(NamedTuple):
    """A whole run."""

    gas_used: int
    failed: bool
    output: bytes
    """Return data of the outermost message; of a creation its code."""
    lines: list[StructLog]


class StructLogTracer(RunTracer):
    """Writes the lines. Raises `LimitExceeded` when they no longer fit an answer."""

    hears_steps = True

    def __init__(self, run: TracedRun, options: StructLogOptions, size_of: Callable[[StructLog], int]) -> None:
        """``size_of`` a line: its bytes in the answer, which ``limit`` of the options counts."""
        self._options = options
        self._size_of = size_of
        self._journal = run.journal
        self._pricing = Pricing(run.environment.fork, run.journal, run.code_bytes_max)
        self._opcodes = opcodes(run.environment.fork)
        self._lines: list[StructLog] = []
        self._storage: dict[Address, dict[int, int]] = {}
        self._bytes = 0
        self._written = 0
        self._output = b""

    def step(self, frame: Frame) -> None:
        """An opcode is about to run."""
        limit = self._options.limit
        if not frame.code.length or (limit and self._written > limit):
            return
        line = self._line(frame)
        if limit:
            self._written += self._size_of(line)
        if self._bytes > ANSWER_BYTES_MAX:
            raise LimitExceeded(
                f"the trace exceeds {ANSWER_BYTES_MAX} bytes after {len(self._lines)} opcodes; set disableStack, "
                "disableStorage or limit, or open the transaction with zvmd_session_create and page through it"
            )
        self._lines.append(line)

    def _line(self, frame: Frame) -> StructLog:
        options = self._options
        byte = frame.code.padded[frame.pc] if frame.pc < frame.code.length else 0
        cost, refund, error = self._price(frame, byte)
        line = StructLog(frame.pc, opcode_name(byte), frame.gas, cost, frame.message.depth + 1, refund, error)
        self._bytes += _LINE_BYTES
        if not options.disable_stack:
            line.stack = frame.stack()
            self._bytes += _WORD_BYTES * len(line.stack)
        if options.enable_return_data and frame.words[Field.RETURNDATA_LENGTH]:
            line.return_data = bytes(frame.returndata)
            self._bytes += 2 * len(line.return_data)
        if options.enable_memory and frame.words[Field.MEMORY_SIZE]:
            line.memory = bytes(frame.memory_bytes())
            self._bytes += _WORD_BYTES * len(line.memory) // 32
        if not options.disable_storage and byte in _SLOT_OPERANDS and frame.depth >= _SLOT_OPERANDS[byte]:
            line.storage = self._storage_after(frame, byte)
            self._bytes += 2 * _WORD_BYTES * len(line.storage)
        return line

    def _price(self, frame: Frame, byte: int) -> tuple[int, int, str | None]:
        """The cost and refund counter that geth shows, and why the opcode is refused."""
        row, refund = self._opcodes.get(byte), self._journal.refund
        if row is None:
            return 0, refund, None
        refused = refusal(self._pricing, row, frame.operands(_REACH), frame.depth, frame.gas)
        if refused is not None:
            return refused.cost, refund, refused.words
        prospect = self._pricing.look(frame)
        error = OUT_OF_GAS if prospect.gas > frame.gas else None
        return prospect.gas, refund + prospect.refund, error

    def _storage_after(self, frame: Frame, opcode: int) -> dict[int, int]:
        """All slots that the account's code has accessed so far, including the effect of this opcode."""
        owner, slot = frame.message.to, frame.peek()
        value = frame.peek(1) if opcode == _SSTORE else self._journal.storage(owner, slot)
        slots = self._storage.setdefault(owner, {})
        slots[slot] = value
        return dict(slots)

    def leave(self, message: Message, outcome: Outcome) -> None:
        """The outermost message's output is the trace's: of a creation its code."""
        if not message.depth:
            self._output = outcome.code if outcome.created is not None else outcome.output

    def result(self, ended: TransactionResult) -> StructLogTrace:
        """The lines and how the run ended."""
        return StructLogTrace(ended.gas_used, not ended.outcome.success, self._output, self._lines)
