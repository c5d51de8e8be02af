"""Geth's erc7562Tracer: callTracer's tree with the data by which bundlers validate user operations (ERC-7562).

Source: ``eth/tracers/native/erc7562.go``. The rule numbers in comments are those of the ERC.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import msgspec

from chain.types import Address
from node.api.errors import InvalidParams
from node.api.tracing import TracedRun
from node.tracers.calls import CallOptions, CallTreeTracer, TracedCall
from node.tracers.preimages import Preimages
from node.tracers.touched import CALLS, opcode_at
from vm.evm.faults import CODE_STORE_OUT_OF_GAS, OUT_OF_GAS
from vm.evm.opcodes import BY_NAME
from vm.message import Message, Outcome
from vm.transaction import TransactionResult

if TYPE_CHECKING:
    from vm.evm.frame import Frame


def _byte(name: str) -> int:
    return BY_NAME[name].byte


_GAS: Final = _byte("GAS")
_EXTCODESIZE: Final = _byte("EXTCODESIZE")
_ISZERO: Final = _byte("ISZERO")
_ENDS: Final = frozenset(map(_byte, ("RETURN", "REVERT")))
_EXT: Final = frozenset(map(_byte, ("EXTCODEHASH", "EXTCODESIZE", "EXTCODECOPY")))
_SLOAD: Final = _byte("SLOAD")
_SSTORE: Final = _byte("SSTORE")
_TLOAD: Final = _byte("TLOAD")
_TSTORE: Final = _byte("TSTORE")
_IGNORED: Final = frozenset(range(_byte("PUSH0"), _byte("SWAP16") + 1)) | frozenset(
    map(
        _byte,
        ("POP", "ADD", "SUB", "MUL", "DIV", "EQ", "LT", "GT", "SLT", "SGT", "SHL", "SHR", "AND", "OR", "NOT", "ISZERO"),
    )
)
STACK_ITEMS_MAX: Final = 1024


class Erc7562Options(msgspec.Struct, rename="camel"):
    """``tracerConfig`` of erc7562Tracer."""

    stack_top_items_size: int = 3
    ignored_opcodes: list[str] | None = None
    """Opcodes not counted, as quantities; None for arithmetic, PUSH, DUP and SWAP."""
    with_log: bool = False

    def check(self) -> None:
        """Raises `InvalidParams` for values out of range."""
        if not 0 <= self.stack_top_items_size <= STACK_ITEMS_MAX:
            raise InvalidParams(f"stackTopItemsSize: 0 to {STACK_ITEMS_MAX}")
        self.ignored()

    def ignored(self) -> frozenset[int]:
        """Bytes of the opcodes not counted."""
        if self.ignored_opcodes is None:
            return _IGNORED
        try:
            return frozenset(int(text, 16) & 0xFF for text in self.ignored_opcodes if text.startswith("0x"))
        except ValueError:
            raise InvalidParams("ignoredOpcodes: quantities such as 0x54") from None


class ContractSize(NamedTuple):
    """A contract whose code size was read, and the opcode that read it first."""

    size: int
    """Bytes."""
    opcode: int


@dataclass(slots=True)
class UserOperationCall(TracedCall):
    """A call with what it executed and accessed. Counts are of opcodes that were about to run."""

    reads: dict[int, int] = field(default_factory=dict)
    """Slots that SLOAD read before SSTORE wrote them, with the values read."""
    writes: Counter[int] = field(default_factory=Counter)
    transient_reads: Counter[int] = field(default_factory=Counter)
    transient_writes: Counter[int] = field(default_factory=Counter)
    ext_code_access: list[Address] = field(default_factory=list)
    used_opcodes: Counter[int] = field(default_factory=Counter)
    contract_sizes: dict[Address, ContractSize] = field(default_factory=dict)
    out_of_gas: bool = False
    preimages: list[bytes] = field(default_factory=list)
    """Preimages of KECCAK256 in the whole run; only the outermost call has them."""

    def end(self, message: Message, outcome: Outcome) -> None:
        """Set the result; like geth, never report the outermost call as out of gas."""
        TracedCall.end(self, message, outcome)
        fault = outcome.fault
        if message.depth:
            self.out_of_gas = fault in (OUT_OF_GAS, CODE_STORE_OUT_OF_GAS) or fault.startswith(f"{OUT_OF_GAS}: ")


class Erc7562Tracer(CallTreeTracer):
    """Counts opcodes and storage accesses of each call."""

    hears_steps = True

    def __init__(self, run: TracedRun, options: Erc7562Options) -> None:
        super().__init__(run, CallOptions(with_log=options.with_log))
        self._ignored = options.ignored()
        self._preimages = Preimages()
        self._last: tuple[int, int] | None = None
        """The opcode before, and the word that was on top; None after RETURN and REVERT."""

    def _made(self, **fields: Any) -> UserOperationCall:
        return UserOperationCall(**fields)

    @property
    def _running(self) -> UserOperationCall:
        call = self._open[-1]
        assert isinstance(call, UserOperationCall)
        return call

    def step(self, frame: Frame) -> None:
        """An opcode is about to run."""
        opcode, call = opcode_at(frame), self._running
        if opcode in _ENDS:
            self._last = None
        is_plain_check = self._last is not None and (self._last[0], opcode) == (_EXTCODESIZE, _ISZERO)  # [OP-051]
        if self._last is not None and self._last[0] in _EXT and not is_plain_check:
            call.ext_code_access.append(_address(self._last[1]))
        self._contract_size(frame, opcode, call)
        if self._last is not None and self._last[0] == _GAS and opcode not in CALLS:  # [OP-012]
            call.used_opcodes[_GAS] += 1
        if opcode != _GAS and opcode not in self._ignored:
            call.used_opcodes[opcode] += 1
        self._storage(frame, opcode, call)
        self._preimages.step(frame)
        self._last = (opcode, frame.peek() if frame.depth else 0)

    def _contract_size(self, frame: Frame, opcode: int, call: UserOperationCall) -> None:
        """[OP-041]: the size of code that an opcode looks at."""
        operand = 0 if opcode in _EXT else 1
        if (opcode not in _EXT and opcode not in CALLS) or frame.depth <= operand:
            return
        address = _address(frame.peek(operand))
        if address not in call.contract_sizes:
            call.contract_sizes[address] = ContractSize(len(self._run.journal.code(address)), opcode)

    def _storage(self, frame: Frame, opcode: int, call: UserOperationCall) -> None:
        if not frame.depth:
            return
        slot = frame.peek()
        if opcode == _SLOAD and slot not in call.reads and slot not in call.writes:
            call.reads[slot] = self._run.journal.storage(frame.message.to, slot)
        elif opcode == _SSTORE:
            call.writes[slot] += 1
        elif opcode == _TLOAD:
            call.transient_reads[slot] += 1
        elif opcode == _TSTORE:
            call.transient_writes[slot] += 1

    def result(self, ended: TransactionResult) -> UserOperationCall:
        """The outermost call, with all preimages of KECCAK256."""
        root = self.root_of(ended)
        assert isinstance(root, UserOperationCall)
        root.preimages = sorted(self._preimages.found)
        return root


def _address(word: int) -> Address:
    return Address((word % 2**160).to_bytes(20, "big"))
