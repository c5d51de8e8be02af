"""The call tree as a flat list of actions: geth's flatCallTracer, and Parity's form of ``trace_*``.

Geth's form is that of ``eth/tracers/native/call_flat.go``.
"""

from __future__ import annotations

from typing import Any, Final

import msgspec

from node.api.tracing import Place, TracedRun
from node.rpc.format import data
from node.tracers.calls import CallOptions, CallTracer
from vm.faults import REVERTED
from vm.message import CallKind, Message, Outcome
from vm.precompiles import precompile_addresses
from vm.transaction import TransactionResult

_PARITY_WORDS: Final = {
    "contract creation code storage out of gas": "Out of gas",
    "out of gas": "Out of gas",
    "gas uint64 overflow": "Out of gas",
    "max code size exceeded": "Out of gas",
    "invalid jump destination": "Bad jump destination",
    REVERTED: "Reverted",
    "return data out of bounds": "Out of bounds",
    "stack limit reached 1024 (1023)": "Out of stack",
    "precompiled failed": "Built-in failed",
    "invalid input length": "Built-in failed",
}
_PARITY_BEGINNINGS: Final = {
    "out of gas:": "Out of gas",
    "invalid opcode:": "Bad instruction",
    "stack underflow": "Stack underflow",
}


class FlatCallOptions(msgspec.Struct, rename="camel"):
    """``tracerConfig`` of flatCallTracer."""

    convert_parity_errors: bool = False
    include_precompiles: bool = False


class FlatCallTracer(CallTracer):
    """The call tree, flat, callers before what they call."""

    def __init__(self, run: TracedRun, options: FlatCallOptions) -> None:
        super().__init__(run, CallOptions())
        self._flat = options
        self._precompiles = frozenset(precompile_addresses(run.environment.fork))

    def leave(self, message: Message, outcome: Outcome) -> None:
        """A call ended; those of precompiled contracts are left out unless asked for."""
        super().leave(message, outcome)
        is_plain = message.kind in (CallKind.CALL, CallKind.STATICCALL)
        is_shown = self._flat.include_precompiles or not is_plain or message.code_address not in self._precompiles
        if message.depth and not is_shown:
            self._open[-1]["calls"].pop()

    def result(self, ended: TransactionResult) -> Any:
        """The actions, each with its place in the chain."""
        return [
            self._entry(node, address) | _context(self._run.place) for node, address in _in_order(super().result(ended))
        ]

    def _entry(self, node: dict[str, Any], address: list[int]) -> dict[str, Any]:
        entry = _action(node) | {"subtraces": len(node.get("calls", ())), "traceAddress": address}
        error = node.get("error")
        if error is not None:
            entry["error"] = parity_words(error) if self._flat.convert_parity_errors else error
            if error != REVERTED:
                del entry["result"]
        return entry


class ParityTracer(FlatCallTracer):
    """What ``trace_transaction`` answers: Parity's words, precompiled contracts too, null for no result."""

    def __init__(self, run: TracedRun) -> None:
        super().__init__(run, FlatCallOptions(convert_parity_errors=True, include_precompiles=True))

    def result(self, ended: TransactionResult) -> Any:  # noqa: ARG002
        """The actions; the gas of the outermost is that of its code, without the intrinsic gas."""
        return [
            {"result": None} | self._entry(node, address) | _context(self._run.place)
            for node, address in _in_order(self.root())
        ]


def parity_words(error: str) -> str:
    """Parity's words for geth's; those without any stay.

    >>> parity_words("stack underflow (0 <=> 2)"), parity_words("max call depth exceeded")
    ('Stack underflow', 'max call depth exceeded')
    """
    known = _PARITY_WORDS.get(error)
    if known is not None:
        return known
    return next((words for begin, words in _PARITY_BEGINNINGS.items() if error.startswith(begin)), error)


def _in_order(root: dict[str, Any]) -> list[tuple[dict[str, Any], list[int]]]:
    """Each call with its ``traceAddress``, callers first."""
    found = []
    waiting: list[tuple[dict[str, Any], list[int]]] = [(root, [])]
    while waiting:
        node, address = waiting.pop()
        found.append((node, address))
        calls = node.get("calls", [])
        waiting += [(child, [*address, place]) for place, child in reversed(list(enumerate(calls)))]
    return found


def _action(node: dict[str, Any]) -> dict[str, Any]:
    """Type, action and result of a call."""
    kind, value = node["type"], node.get("value", "0x0")
    if kind == "SELFDESTRUCT":
        action = {"address": node["from"], "refundAddress": node["to"], "balance": value}
        return {"type": "suicide", "action": action}
    action = {"from": node["from"], "gas": node["gas"], "value": value}
    used = {"gasUsed": node["gasUsed"]}
    if kind in ("CREATE", "CREATE2"):
        action |= {"init": node["input"], "creationMethod": kind.lower()}
        address = {"address": node["to"]} if "to" in node else {}
        return {"type": "create", "action": action, "result": used | address | {"code": node.get("output", "0x")}}
    action |= {"callType": kind.lower(), "to": node["to"], "input": node["input"]}
    return {"type": "call", "action": action, "result": used | {"output": node.get("output", "0x")}}


def _context(place: Place | None) -> dict[str, Any]:
    return {
        "blockHash": None if place is None else data(place.block_hash),
        "blockNumber": 0 if place is None else place.block_number,
        "transactionHash": None if place is None else data(place.transaction_hash),
        "transactionPosition": 0 if place is None else place.index,
    }
