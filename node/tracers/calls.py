"""Geth's callTracer: the tree of calls with their inputs and results (``eth/tracers/native/call.go``)."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Final

import msgspec

from chain.receipts import Log
from chain.reverts import unpack_revert
from chain.types import Address, Hash32
from node.api.errors import LimitExceeded
from node.api.tracing import RunTracer, TracedRun
from vm.message import CREATES, CallKind, Halt, Message, Outcome
from vm.transaction import TransactionResult

ANSWER_BYTES_MAX: Final = 20_000_000
"""Characters of input, output and log data, two for each byte, and an allowance for each call."""
_CALL_BYTES: Final = 400


class CallOptions(msgspec.Struct, rename="camel"):
    """``tracerConfig`` of callTracer."""

    only_top_call: bool = False
    with_log: bool = False


@dataclass(slots=True)
class CallLog:
    """A log with its positions in the block and in its call."""

    address: Address
    topics: tuple[Hash32, ...]
    data: bytes
    index: int
    """``logIndex`` of the receipt: counted over the whole block."""
    position: int
    """Number of calls that its call had made before."""


@dataclass(slots=True)
class TracedCall:
    """One message call or creation of a run, with those inside it. Values are in wei."""

    kind: str
    """CALL, STATICCALL, DELEGATECALL, CALLCODE, CREATE, CREATE2 or SELFDESTRUCT."""
    sender: Address
    to: Address | None
    """None: a creation that failed."""
    gas: int
    input: bytes
    value: int | None
    """None: a static call has none."""
    gas_used: int = 0
    output: bytes = b""
    """Of a creation the code it deployed."""
    error: str | None = None
    """Geth's error message; None: it succeeded."""
    revert_reason: str = ""
    logs: list[CallLog] = field(default_factory=list)
    calls: list[TracedCall] = field(default_factory=list)

    def end(self, message: Message, outcome: Outcome) -> None:
        """Set the result."""
        self.gas_used = message.gas - outcome.gas_left
        self.output = outcome.code if outcome.created is not None else outcome.output
        if outcome.success:
            return
        self.error = outcome.fault
        if outcome.halt is Halt.REVERT:
            self.revert_reason = unpack_revert(self.output) or ""
        if message.kind in CREATES:
            self.to = None


class CallTreeTracer(RunTracer):
    """Builds the tree. Raises `LimitExceeded` when it no longer fits an answer."""

    def __init__(self, run: TracedRun, options: CallOptions) -> None:
        self._run = run
        self._options = options
        self._root: TracedCall | None = None
        self._open: list[TracedCall] = []
        self._depth = -1
        self._bytes = 0

    def enter(self, message: Message) -> None:
        """A call begins."""
        self._depth = message.depth
        if not self._is_hidden(message.depth):
            self._open.append(self._node(message))

    def _is_hidden(self, depth: int) -> bool:
        return self._options.only_top_call and depth > 0

    def _node(self, message: Message) -> TracedCall:
        self._count(_CALL_BYTES + 2 * len(message.data))
        is_delegate = message.kind in (CallKind.DELEGATECALL, CallKind.CALLCODE)
        return self._made(
            kind=message.kind.name,
            sender=message.to if is_delegate else message.caller,
            to=message.to if message.kind in CREATES else message.code_address,
            gas=message.gas,
            input=message.data,
            value=None if message.kind is CallKind.STATICCALL else message.value,
        )

    def _made(self, **fields: Any) -> TracedCall:
        """A new node of the tree; subclasses return their own class."""
        return TracedCall(**fields)

    def selfdestruct(self, owner: Address, heir: Address, balance: int) -> None:
        """SELFDESTRUCT shows as a call that moves the balance."""
        if self._options.only_top_call:
            return
        self._count(_CALL_BYTES)
        call = self._made(kind="SELFDESTRUCT", sender=owner, to=heir, gas=0, input=b"", value=balance)
        self._open[-1].calls.append(call)

    def log(self, log: Log, position: int) -> None:
        """A log of the running call, with the index its receipt gives it."""
        if not self._options.with_log or self._is_hidden(self._depth):
            return
        self._count(_CALL_BYTES + 2 * len(log.data))
        node = self._open[-1]
        index = self._run.logs_before + position
        node.logs.append(CallLog(log.address, log.topics, log.data, index, len(node.calls)))

    def leave(self, message: Message, outcome: Outcome) -> None:
        """A call ended, perhaps before it began."""
        self._depth = message.depth - 1
        if self._is_hidden(message.depth):
            return
        node = self._open.pop()
        node.end(message, outcome)
        self._count(2 * len(node.output) + len(node.revert_reason))
        if message.depth:
            self._open[-1].calls.append(node)
        else:
            self._root = node

    def _count(self, amount: int) -> None:
        self._bytes += amount
        if self._bytes > ANSWER_BYTES_MAX:
            raise LimitExceeded(f"the call tree exceeds {ANSWER_BYTES_MAX} bytes; set onlyTopCall")

    def root(self) -> TracedCall:
        """The outermost call, with the gas that its code was given and used."""
        assert self._root is not None, "the run has not ended"
        if self._options.with_log:
            _drop_void_logs(self._root)
        return self._root

    def root_of(self, ended: TransactionResult) -> TracedCall:
        """The outermost call, with the gas of the whole transaction."""
        root = self.root()
        root.gas, root.gas_used = self._run.transaction.gas_limit, ended.gas_used
        return root


class CallTracer(CallTreeTracer):
    """The tree itself."""

    def result(self, ended: TransactionResult) -> TracedCall:
        """The outermost call."""
        return self.root_of(ended)


def _drop_void_logs(root: TracedCall) -> None:
    """Remove the logs of calls that failed, or that are inside a failed one."""
    waiting = [(root, False)]
    while waiting:
        node, is_void = waiting.pop()
        is_void = is_void or node.error is not None
        if is_void:
            node.logs.clear()
        waiting += [(call, is_void) for call in node.calls]
