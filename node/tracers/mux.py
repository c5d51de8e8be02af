"""Geth's noopTracer and muxTracer."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from chain.receipts import Log
from chain.types import Address
from node.api.tracing import MakeTracer, RunTracer, TracedRun
from vm.message import Message, Outcome
from vm.transaction import TransactionResult


class NoopTracer(RunTracer):
    """Traces nothing; shows what a run costs without a tracer's work."""

    def result(self, ended: TransactionResult) -> None:
        """None: there is nothing to report."""


class MuxTracer(RunTracer):
    """Several tracers in one run."""

    def __init__(self, run: TracedRun, makers: Mapping[str, MakeTracer]) -> None:
        self._tracers = {name: make(run) for name, make in makers.items()}
        self._stepping = [tracer for tracer in self._tracers.values() if tracer.hears_steps]
        self.hears_steps = bool(self._stepping)

    def enter(self, message: Message) -> None:
        """To all."""
        for tracer in self._tracers.values():
            tracer.enter(message)

    def step(self, frame: Any) -> None:
        """To the tracers that trace steps."""
        for tracer in self._stepping:
            tracer.step(frame)

    def selfdestruct(self, owner: Address, heir: Address, balance: int) -> None:
        """To all."""
        for tracer in self._tracers.values():
            tracer.selfdestruct(owner, heir, balance)

    def leave(self, message: Message, outcome: Outcome) -> None:
        """To all."""
        for tracer in self._tracers.values():
            tracer.leave(message, outcome)

    def log(self, log: Log, position: int) -> None:
        """To all."""
        for tracer in self._tracers.values():
            tracer.log(log, position)

    def result(self, ended: TransactionResult) -> dict[str, Any]:
        """The results of all, by name."""
        return {name: tracer.result(ended) for name, tracer in self._tracers.items()}
