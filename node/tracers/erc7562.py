"""Geth's erc7562Tracer: callTracer's tree with what bundlers check of a user operation (ERC-7562).

Source: ``eth/tracers/native/erc7562.go``. The rule numbers in comments are those of the ERC.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import msgspec

from chain.types import Address
from node.api.errors import InvalidParams
from node.api.tracing import TracedRun
from node.rpc.format import data, word
from node.tracers.calls import CallOptions, CallTracer
from node.tracers.preimages import Preimages
from node.tracers.touched import CALLS, opcode_at
from vm.evm.opcodes import BY_NAME
from vm.faults import CODE_STORE_OUT_OF_GAS, OUT_OF_GAS
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
_COUNTED: Final = {
    _byte("SSTORE"): "writes",
    _byte("TLOAD"): "transientReads",
    _byte("TSTORE"): "transientWrites",
}
_SLOAD: Final = _byte("SLOAD")
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


class Erc7562Tracer(CallTracer):
    """Counts opcodes and storage accesses of each call."""

    hears_steps = True

    def __init__(self, run: TracedRun, options: Erc7562Options) -> None:
        super().__init__(run, CallOptions(with_log=options.with_log))
        self._ignored = options.ignored()
        self._preimages = Preimages()
        self._last: tuple[int, int] | None = None
        """The opcode before, and the word that was on top; None after RETURN and REVERT."""

    def _node(self, message: Message) -> dict[str, Any]:
        slots: dict[str, dict[str, Any]] = {"reads": {}, "writes": {}, "transientReads": {}, "transientWrites": {}}
        return super()._node(message) | {
            "accessedSlots": slots,
            "extCodeAccessInfo": [],
            "usedOpcodes": {},
            "contractSize": {},
            "outOfGas": False,
        }

    def _nest(self, call: dict[str, Any]) -> None:
        if call["type"] == "SELFDESTRUCT":
            slots: dict[str, Any] = {"reads": {}, "writes": {}, "transientReads": {}, "transientWrites": {}}
            call |= {"accessedSlots": slots, "extCodeAccessInfo": [], "usedOpcodes": {}, "contractSize": {}}
            call["outOfGas"] = False
        super()._nest(call)

    def step(self, frame: Frame) -> None:
        """An opcode is about to run."""
        opcode, node = opcode_at(frame), self._open[-1]
        if opcode in _ENDS:
            self._last = None
        is_plain_check = self._last is not None and (self._last[0], opcode) == (_EXTCODESIZE, _ISZERO)  # [OP-051]
        if self._last is not None and self._last[0] in _EXT and not is_plain_check:
            node["extCodeAccessInfo"].append(data(_address(self._last[1])))
        self._contract_size(frame, opcode, node)
        used = node["usedOpcodes"]
        if self._last is not None and self._last[0] == _GAS and opcode not in CALLS:  # [OP-012]
            used[hex(_GAS)] = used.get(hex(_GAS), 0) + 1
        if opcode != _GAS and opcode not in self._ignored:
            used[hex(opcode)] = used.get(hex(opcode), 0) + 1
        self._storage(frame, opcode, node)
        self._preimages.step(frame)
        self._last = (opcode, frame.peek() if frame.depth else 0)

    def _contract_size(self, frame: Frame, opcode: int, node: dict[str, Any]) -> None:
        """[OP-041]: the size of code that an opcode looks at."""
        operand = 0 if opcode in _EXT else 1
        if (opcode not in _EXT and opcode not in CALLS) or frame.depth <= operand:
            return
        address = _address(frame.peek(operand))
        if data(address) not in node["contractSize"]:
            size = len(self._run.journal.code(address))
            node["contractSize"][data(address)] = {"contractSize": size, "opcode": opcode}

    def _storage(self, frame: Frame, opcode: int, node: dict[str, Any]) -> None:
        if (opcode != _SLOAD and opcode not in _COUNTED) or not frame.depth:
            return
        slots, slot = node["accessedSlots"], word(frame.peek())
        if opcode == _SLOAD:
            if slot not in slots["reads"] and slot not in slots["writes"]:
                slots["reads"][slot] = [word(self._run.journal.storage(frame.message.to, frame.peek()))]
            return
        counts = slots[_COUNTED[opcode]]
        counts[slot] = counts.get(slot, 0) + 1

    def _end(self, node: dict[str, Any], message: Message, outcome: Outcome) -> None:
        super()._end(node, message, outcome)
        fault = outcome.fault
        if message.depth:
            node["outOfGas"] = fault in (OUT_OF_GAS, CODE_STORE_OUT_OF_GAS) or fault.startswith(f"{OUT_OF_GAS}: ")

    def result(self, ended: TransactionResult) -> Any:
        """The outermost call, with all preimages of KECCAK256."""
        found = [data(preimage) for preimage in sorted(self._preimages.found)]
        return super().result(ended) | ({"keccak": found} if found else {})


def _address(word: int) -> Address:
    return Address((word % 2**160).to_bytes(20, "big"))
