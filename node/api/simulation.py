"""Execution without changing the chain: calls, gas estimates, traces."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Protocol

from node.api.pending_block import BlockAt
from node.api.tracing import MakeTracer
from node.api.types import CallFields, CallResult, Overrides


class Simulator(Protocol):
    """Runs calls on the state after a block, and the transactions of a block again.

    All raise `StateUnavailable` outside retention and `UnknownBlock` for a block that was reverted meanwhile.
    """

    def call(self, fields: CallFields, at: BlockAt, overrides: Overrides | None = None) -> CallResult:
        """Simulate by the rules of ``eth_call``. Raises `InvalidTransaction` subclasses where geth refuses."""

    def estimate_gas(self, fields: CallFields, at: BlockAt, overrides: Overrides | None = None) -> int | CallResult:
        """Smallest sufficient gas limit, or the failed result when no gas limit helps."""

    def trace_call(
        self,
        fields: CallFields,
        at: BlockAt,
        overrides: Overrides | None,
        make: MakeTracer,
        index: int | None = None,
    ) -> Any:
        """Result of a tracer on a simulated call after a block, or before its transaction ``index``."""

    def trace_block(self, at: BlockAt, make: MakeTracer, index: int | None = None) -> Iterator[Any]:
        """Results of tracers on a block's transactions; of one only with ``index``.

        Each transaction runs again when its result is taken, so that a reader holds one at a time.
        """
