"""Geth's callTracer: who called whom, with what, and what came of it (``eth/tracers/native/call.go``)."""

from __future__ import annotations

from typing import Any, Final

import msgspec

from chain.receipts import Log
from chain.reverts import unpack_revert
from chain.types import Address
from node.api.errors import LimitExceeded
from node.api.tracing import RunTracer, TracedRun
from node.rpc.format import data, quantity
from vm.message import CREATES, CallKind, Halt, Message, Outcome
from vm.transaction import TransactionResult

ANSWER_BYTES_MAX: Final = 20_000_000
"""Input, output and log data written down, two hex digits a byte, and a share for each call."""
_CALL_BYTES: Final = 400


class CallOptions(msgspec.Struct, rename="camel"):
    """``tracerConfig`` of callTracer."""

    only_top_call: bool = False
    with_log: bool = False


class CallTracer(RunTracer):
    """Builds the tree. Raises `LimitExceeded` when it no longer fits an answer."""

    def __init__(self, run: TracedRun, options: CallOptions) -> None:
        self._run = run
        self._options = options
        self._root: dict[str, Any] = {}
        self._open: list[dict[str, Any]] = []
        self._depth = -1
        self._bytes = 0

    def enter(self, message: Message) -> None:
        """A call begins."""
        self._depth = message.depth
        if not self._is_hidden(message.depth):
            self._open.append(self._node(message))

    def _is_hidden(self, depth: int) -> bool:
        return self._options.only_top_call and depth > 0

    def _node(self, message: Message) -> dict[str, Any]:
        self._count(_CALL_BYTES + 2 * len(message.data))
        is_delegate = message.kind in (CallKind.DELEGATECALL, CallKind.CALLCODE)
        node: dict[str, Any] = {
            "type": message.kind.name,
            "from": data(message.to if is_delegate else message.caller),
            "to": data(message.to if message.kind in CREATES else message.code_address),
            "gas": quantity(message.gas),
            "gasUsed": "0x0",
            "input": data(message.data),
        }
        if message.kind is not CallKind.STATICCALL:
            node["value"] = quantity(message.value)
        return node

    def selfdestruct(self, owner: Address, heir: Address, balance: int) -> None:
        """SELFDESTRUCT shows as a call that moves the balance."""
        if self._options.only_top_call:
            return
        self._count(_CALL_BYTES)
        call = {"type": "SELFDESTRUCT", "from": data(owner), "to": data(heir), "gas": "0x0", "gasUsed": "0x0"}
        self._nest(call | {"input": "0x", "value": quantity(balance)})

    def _nest(self, call: dict[str, Any]) -> None:
        """Add a call that has ended to the one that made it."""
        self._open[-1].setdefault("calls", []).append(call)

    def log(self, log: Log, position: int) -> None:
        """A log of the running call, with the index its receipt gives it."""
        if not self._options.with_log or self._is_hidden(self._depth):
            return
        self._count(_CALL_BYTES + 2 * len(log.data))
        node = self._open[-1]
        node.setdefault("logs", []).append(
            {
                "address": data(log.address),
                "topics": [data(topic) for topic in log.topics],
                "data": data(log.data),
                "index": quantity(self._run.logs_before + position),
                "position": quantity(len(node.get("calls", ()))),
            }
        )

    def leave(self, message: Message, outcome: Outcome) -> None:
        """A call ended, perhaps before it began."""
        self._depth = message.depth - 1
        if self._is_hidden(message.depth):
            return
        node = self._open.pop()
        node["gasUsed"] = quantity(message.gas - outcome.gas_left)
        self._end(node, message, outcome)
        if message.depth:
            self._nest(node)
        else:
            self._root = node

    def _end(self, node: dict[str, Any], message: Message, outcome: Outcome) -> None:
        output = outcome.code if outcome.created is not None else outcome.output
        if output:
            self._count(2 * len(output))
            node["output"] = data(output)
        if outcome.success:
            return
        node["error"] = outcome.fault
        if outcome.halt is Halt.REVERT and (reason := unpack_revert(output)):
            self._count(len(reason))
            node["revertReason"] = reason
        if message.kind in CREATES:
            del node["to"]

    def _count(self, amount: int) -> None:
        self._bytes += amount
        if self._bytes > ANSWER_BYTES_MAX:
            raise LimitExceeded(f"the call tree exceeds {ANSWER_BYTES_MAX} bytes; set onlyTopCall")

    def root(self) -> dict[str, Any]:
        """The outermost call, with the gas that its code was given and used."""
        if self._options.with_log:
            _drop_void_logs(self._root)
        return self._root

    def result(self, ended: TransactionResult) -> Any:
        """The outermost call, with the gas of the whole transaction."""
        gas = {"gas": quantity(self._run.transaction.gas_limit), "gasUsed": quantity(ended.gas_used)}
        return self.root() | gas


def _drop_void_logs(root: dict[str, Any]) -> None:
    """Take away logs that a failed call, or one around it, has undone."""
    waiting = [(root, False)]
    while waiting:
        node, is_void = waiting.pop()
        is_void = is_void or "error" in node
        if is_void:
            node.pop("logs", None)
        waiting += [(call, is_void) for call in node.get("calls", ())]
