"""Geth's callTracer and Parity's flat form of it: who called whom, with what, and what came of it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import msgspec

from chain.receipts import Log
from node.rpc.errors import LimitExceeded, revert_reason
from node.rpc.format import data, quantity
from node.tracers.run import RunTracer, TracedRun
from node.tracers.touched import opcode_at
from vm.evm.opcodes import BY_NAME
from vm.message import CREATES, CallKind, Halt, Message, Outcome
from vm.transaction import TransactionResult

if TYPE_CHECKING:
    from vm.evm.frame import Frame

ANSWER_BYTES_MAX: Final = 20_000_000
"""Input, output and log data written down, two hex digits a byte, and a share for each call."""
_CALL_BYTES: Final = 400
_SELFDESTRUCT: Final = BY_NAME["SELFDESTRUCT"].byte

GETH_ERRORS: Final = {
    Halt.REVERT: "execution reverted",
    Halt.OUT_OF_GAS: "out of gas",
    Halt.STACK_UNDERFLOW: "stack underflow",
    Halt.STACK_OVERFLOW: "stack limit reached 1024",
    Halt.INVALID_JUMP: "invalid jump destination",
    Halt.INVALID_OPCODE: "invalid opcode",
    Halt.STATIC_VIOLATION: "write protection",
    Halt.RETURN_DATA_OUT_OF_BOUNDS: "return data out of bounds",
    Halt.CODE_TOO_LARGE: "max code size exceeded",
    Halt.CODE_STARTS_WITH_EF: "invalid code: must not begin with 0xef",
    Halt.CREATE_COLLISION: "contract address collision",
    Halt.PRECOMPILE_FAILURE: "precompile failed",
    Halt.CALL_TOO_DEEP: "max call depth exceeded",
    Halt.INSUFFICIENT_BALANCE: "insufficient balance for transfer",
    Halt.NONCE_OVERFLOW: "nonce uint64 overflow",
}
"""How geth names what ends a call."""
_PARITY_ERRORS: Final = {
    GETH_ERRORS[halt]: words
    for halt, words in {
        Halt.REVERT: "Reverted",
        Halt.OUT_OF_GAS: "Out of gas",
        Halt.STACK_UNDERFLOW: "Stack underflow",
        Halt.STACK_OVERFLOW: "Out of stack",
        Halt.INVALID_JUMP: "Bad jump destination",
        Halt.INVALID_OPCODE: "Bad instruction",
        Halt.STATIC_VIOLATION: "Mutable Call In Static Context",
        Halt.RETURN_DATA_OUT_OF_BOUNDS: "Out of bounds",
        Halt.PRECOMPILE_FAILURE: "Built-in failed",
    }.items()
}
"""Parity's words for geth's; those without any stay."""


class CallOptions(msgspec.Struct, forbid_unknown_fields=True, rename="camel"):
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
        self._log_index = 0
        self._bytes = 0

    def enter(self, message: Message) -> None:
        """A call begins."""
        node = self._node(message)
        self._open.append(node)

    def _node(self, message: Message) -> dict[str, Any]:
        self._count(_CALL_BYTES + 2 * len(message.data))
        is_create = message.kind in CREATES
        is_delegate = message.kind in (CallKind.DELEGATECALL, CallKind.CALLCODE)
        node: dict[str, Any] = {
            "type": message.kind.name,
            "from": data(message.to if is_delegate else message.caller),
            "to": data(message.to if is_create else message.code_address),
            "gas": quantity(message.gas),
            "gasUsed": "0x0",
            "input": data(message.data),
        }
        if message.kind is not CallKind.STATICCALL:
            node["value"] = quantity(message.value)
        return node

    def step(self, frame: Frame) -> None:
        """SELFDESTRUCT shows as a call that moves the balance; `leave` takes it back if it fails."""
        if opcode_at(frame) == _SELFDESTRUCT and frame.depth and self._open:
            owner = frame.message.to
            self._open[-1].setdefault("calls", []).append(
                {
                    "type": "SELFDESTRUCT",
                    "from": data(owner),
                    "to": "0x" + frame.peek().to_bytes(32, "big")[12:].hex(),
                    "gas": "0x0",
                    "gasUsed": "0x0",
                    "input": "0x",
                    "value": quantity(self._run.journal.balance(owner)),
                }
            )

    def log(self, log: Log) -> None:
        """A log of the running call."""
        if not self._options.with_log or not self._open:
            return
        self._count(_CALL_BYTES + 2 * len(log.data))
        node = self._open[-1]
        node.setdefault("logs", []).append(
            {
                "address": data(log.address),
                "topics": [data(topic) for topic in log.topics],
                "data": data(log.data),
                "index": quantity(self._log_index),
                "position": quantity(len(node.get("calls", ()))),
            }
        )
        self._log_index += 1

    def leave(self, message: Message, outcome: Outcome) -> None:
        """A call ended, or failed before it began."""
        began = len(self._open) > message.depth
        node = self._open.pop() if began else self._node(message)
        node["gasUsed"] = quantity(message.gas - outcome.gas_left if began else 0)
        halt = outcome.halt
        if halt is not Halt.SELFDESTRUCT and node.get("calls", [{}])[-1].get("type") == "SELFDESTRUCT":
            node["calls"].pop()
        output = self._run.journal.code(message.to) if outcome.created is not None else outcome.output
        if output:
            self._count(2 * len(output))
            node["output"] = data(output)
        if not halt.is_success:
            node["error"] = GETH_ERRORS[halt]
            if halt.is_revert and (reason := revert_reason(output)):
                node["revertReason"] = reason
            node.pop("logs", None)
            if message.kind in CREATES:
                del node["to"]
        if not self._open:
            self._root = node
        elif not self._options.only_top_call:
            self._open[-1].setdefault("calls", []).append(node)

    def _count(self, amount: int) -> None:
        self._bytes += amount
        if self._bytes > ANSWER_BYTES_MAX:
            raise LimitExceeded(f"the call tree exceeds {ANSWER_BYTES_MAX} bytes; set onlyTopCall")

    def root(self, ended: TransactionResult) -> dict[str, Any]:
        """The outermost call, as the code saw it."""
        if not ended.outcome.success:
            _drop_logs(self._root)
        return self._root

    def result(self, ended: TransactionResult) -> Any:
        """The outermost call, with the gas of the whole transaction."""
        gas = {"gas": quantity(self._run.transaction.gas_limit), "gasUsed": quantity(ended.gas_used)}
        return self.root(ended) | gas


class FlatCallTracer(CallTracer):
    """The call tree as Parity's list of actions."""

    def __init__(self, run: TracedRun) -> None:
        super().__init__(run, CallOptions())

    def result(self, ended: TransactionResult) -> Any:
        """The actions, callers before what they call."""
        return flat_calls(self.root(ended))


def _drop_logs(root: dict[str, Any]) -> None:
    """Logs of calls inside a failed one are void too."""
    waiting = [root]
    while waiting:
        node = waiting.pop()
        node.pop("logs", None)
        waiting += node.get("calls", ())


def flat_calls(root: dict[str, Any]) -> list[dict[str, Any]]:
    """The tree as Parity's list of actions, each with its ``traceAddress``."""
    flat: list[dict[str, Any]] = []
    waiting: list[tuple[dict[str, Any], list[int]]] = [(root, [])]
    while waiting:
        node, address = waiting.pop()
        calls = node.get("calls", [])
        flat.append(_flat(node, len(calls), address))
        waiting += [(child, [*address, place]) for place, child in reversed(list(enumerate(calls)))]
    return flat


def _flat(node: dict[str, Any], subtraces: int, address: list[int]) -> dict[str, Any]:
    kind = node["type"]
    value = node.get("value", "0x0")
    entry: dict[str, Any] = {"subtraces": subtraces, "traceAddress": address}
    if kind == "SELFDESTRUCT":
        entry["type"] = "suicide"
        entry["action"] = {"address": node["from"], "refundAddress": node["to"], "balance": value}
        entry["result"] = None
        return entry
    action = {"from": node["from"], "gas": node["gas"], "value": value}
    if kind in ("CREATE", "CREATE2"):
        entry["type"] = "create"
        entry["action"] = action | {"init": node["input"], "creationMethod": kind.lower()}
        result = {"code": node.get("output", "0x"), "address": node.get("to")}
    else:
        entry["type"] = "call"
        entry["action"] = action | {"callType": kind.lower(), "to": node["to"], "input": node["input"]}
        result = {"output": node.get("output", "0x")}
    entry["result"] = result | {"gasUsed": node["gasUsed"]}
    if "error" in node:
        entry["error"] = _PARITY_ERRORS.get(node["error"], node["error"])
        if entry["error"] != "Reverted":
            entry["result"] = None
    return entry
