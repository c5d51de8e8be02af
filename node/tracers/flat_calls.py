"""The call tree as a flat list of actions: geth's flatCallTracer, and Parity's form of ``trace_*``.

Geth's form is that of ``eth/tracers/native/call_flat.go``.
"""

from __future__ import annotations

from typing import Final, NamedTuple

import msgspec

from node.api.tracing import TracedRun, TraceOrigin
from node.tracers.calls import CallOptions, CallTreeTracer, TracedCall
from vm.evm.faults import REVERTED
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


class FlatCall(NamedTuple):
    """A call with its positions in the tree and in the chain."""

    call: TracedCall
    address: list[int]
    """``traceAddress``: the position among the calls of each caller, from the outermost on."""
    error: str | None
    """Geth's or Parity's error message."""
    place: TraceOrigin | None
    """None for a simulated call."""


class FlatCallTracer(CallTreeTracer):
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
            self._open[-1].calls.pop()

    def result(self, ended: TransactionResult) -> list[FlatCall]:
        """The calls, each with its place in the tree."""
        return self._flattened(self.root_of(ended))

    def _flattened(self, root: TracedCall) -> list[FlatCall]:
        return [
            FlatCall(call, address, self._words(call.error), self._run.place) for call, address in _in_order(root)
        ]

    def _words(self, error: str | None) -> str | None:
        return parity_words(error) if error is not None and self._flat.convert_parity_errors else error


class ParityTracer(FlatCallTracer):
    """Parity's ``trace_transaction``: Parity's error messages, and calls of precompiled contracts too."""

    def __init__(self, run: TracedRun) -> None:
        super().__init__(run, FlatCallOptions(convert_parity_errors=True, include_precompiles=True))

    def result(self, ended: TransactionResult) -> list[FlatCall]:  # noqa: ARG002
        """The calls; the gas of the outermost is that of its code, without the intrinsic gas."""
        return self._flattened(self.root())


def parity_words(error: str) -> str:
    """Parity's error message for one of geth's; one without an equivalent is unchanged.

    >>> parity_words("stack underflow (0 <=> 2)"), parity_words("max call depth exceeded")
    ('Stack underflow', 'max call depth exceeded')
    """
    known = _PARITY_WORDS.get(error)
    if known is not None:
        return known
    return next((words for begin, words in _PARITY_BEGINNINGS.items() if error.startswith(begin)), error)


def _in_order(root: TracedCall) -> list[tuple[TracedCall, list[int]]]:
    """Each call with its ``traceAddress``, callers first."""
    found = []
    waiting: list[tuple[TracedCall, list[int]]] = [(root, [])]
    while waiting:
        call, address = waiting.pop()
        found.append((call, address))
        waiting += [(child, [*address, place]) for place, child in reversed(list(enumerate(call.calls)))]
    return found
