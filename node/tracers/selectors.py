"""Geth's 4byteTracer: how often which function was called, by selector and size of the arguments."""

from __future__ import annotations

from collections import Counter

from node.api.tracing import RunTracer, TracedRun
from vm.message import CREATES, Message
from vm.precompiles import precompile_addresses
from vm.transaction import TransactionResult


class SelectorTracer(RunTracer):
    """Counts calls with at least four bytes of calldata, those of precompiles left out."""

    def __init__(self, run: TracedRun) -> None:
        self._counts: Counter[tuple[bytes, int]] = Counter()
        self._precompiles = frozenset(precompile_addresses(run.environment.fork))

    def enter(self, message: Message) -> None:
        """A call begins."""
        if message.kind in CREATES or len(message.data) < 4 or message.code_address in self._precompiles:
            return
        self._counts[message.data[:4], len(message.data) - 4] += 1

    def result(self, ended: TransactionResult) -> dict[tuple[bytes, int], int]:  # noqa: ARG002
        """Number of calls by selector and bytes of arguments."""
        return dict(self._counts)
