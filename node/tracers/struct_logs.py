"""The default tracer of ``debug_traceTransaction``: a structured log per opcode, as geth's StructLogger writes it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

import msgspec

from chain.types import Address
from node.rpc.errors import LimitExceeded
from node.rpc.format import word
from node.tracers.calls import GETH_ERRORS
from node.tracers.run import RunTracer, TracedRun
from vm.evm.layout import Field
from vm.evm.opcodes import BY_NAME
from vm.pricing import Pricing
from vm.transaction import TransactionResult

if TYPE_CHECKING:
    from vm.evm.frame import Frame

ANSWER_BYTES_MAX: Final = 20_000_000
"""Written down so far, about: the answer itself may have 25 MB."""
_WORD_BYTES: Final = 70
_LINE_BYTES: Final = 90
_SLOAD: Final = BY_NAME["SLOAD"].byte
_SSTORE: Final = BY_NAME["SSTORE"].byte


class StructLogOptions(msgspec.Struct, forbid_unknown_fields=True, rename="camel", omit_defaults=True):
    """What a line holds; the names and defaults are geth's."""

    enable_memory: bool = False
    disable_stack: bool = False
    disable_storage: bool = False
    enable_return_data: bool = False
    limit: int = 0
    """Most lines; 0 is as many as the answer holds."""
    debug: bool = False


class StructLogTracer(RunTracer):
    """Writes the lines. Raises `LimitExceeded` when they no longer fit an answer."""

    def __init__(self, run: TracedRun, options: StructLogOptions) -> None:
        self._options = options
        self._journal = run.journal
        self._pricing = Pricing(run.environment.fork, run.journal)
        self._lines: list[dict[str, Any]] = []
        self._storage: dict[Address, dict[str, str]] = {}
        self._bytes = 0

    def step(self, frame: Frame) -> None:
        """An opcode is about to run."""
        options = self._options
        if not frame.code.length or (options.limit and len(self._lines) >= options.limit):
            return
        prospect = self._pricing.look(frame)
        line: dict[str, Any] = {
            "pc": frame.pc,
            "op": f"opcode {prospect.byte:#x} not defined" if prospect.opcode is None else prospect.opcode.name,
            "gas": frame.gas,
            "gasCost": prospect.gas,
            "depth": frame.message.depth + 1,
        }
        self._bytes += _LINE_BYTES
        if prospect.failure is not None:
            line["error"] = GETH_ERRORS[prospect.failure]
        if not options.disable_stack:
            line["stack"] = [hex(word) for word in frame.stack()]
            self._bytes += _WORD_BYTES * len(line["stack"])
        if options.enable_memory:
            memory = frame.memory_bytes().hex()
            line["memory"] = ["0x" + memory[i : i + 64] for i in range(0, len(memory), 64)]
            self._bytes += _WORD_BYTES * len(line["memory"])
        if options.enable_return_data and frame.words[Field.RETURNDATA_LENGTH]:
            line["returnData"] = "0x" + frame.returndata.hex()
            self._bytes += len(line["returnData"])
        if refund := self._journal.refund + prospect.refund:
            line["refund"] = refund
        if not options.disable_storage and prospect.byte in (_SLOAD, _SSTORE) and prospect.failure is None:
            line["storage"] = self._storage_after(frame, prospect.byte)
            self._bytes += 2 * _WORD_BYTES * len(line["storage"])
        if self._bytes > ANSWER_BYTES_MAX:
            raise LimitExceeded(
                f"the trace exceeds {ANSWER_BYTES_MAX} bytes after {len(self._lines)} opcodes; set disableStack, "
                "disableStorage or limit, or open the transaction with zvmd_session_create and page through it"
            )
        self._lines.append(line)

    def _storage_after(self, frame: Frame, opcode: int) -> Mapping[str, str]:
        """All slots the account's code has looked at so far, with what this opcode makes of its own."""
        owner, slot = frame.message.to, frame.peek()
        value = frame.peek(1) if opcode == _SSTORE else self._journal.storage(owner, slot)
        slots = self._storage.setdefault(owner, {})
        slots[word(slot)] = word(value)
        return dict(slots)

    def result(self, ended: TransactionResult) -> dict[str, Any]:
        """Geth's ``ExecutionResult``."""
        return {
            "gas": ended.gas_used,
            "failed": not ended.outcome.success,
            "returnValue": "0x" + ended.outcome.output.hex(),
            "structLogs": self._lines,
        }
