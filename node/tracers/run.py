"""What a tracer is told of the transaction or call it listens to."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from chain.environment import BlockEnvironment
from chain.receipts import Log
from chain.state import StateReader
from chain.transactions import Transaction
from chain.types import Address
from vm.journal import Journal
from vm.message import Message, Outcome
from vm.transaction import TransactionResult

if TYPE_CHECKING:
    from vm.evm.frame import Frame


@dataclass(frozen=True, slots=True)
class TracedRun:
    """One transaction, or a call in the form of one, about to run."""

    transaction: Transaction
    """Of a call only `to`, `gas_limit` and `data` mean something."""
    sender: Address
    environment: BlockEnvironment
    below: StateReader
    """The state under the journal, of the block before."""
    before: StateReader
    """The state it starts from, with the transactions of its block that came before it."""
    journal: Journal
    """The state while it runs, and after it."""


class RunTracer:
    """A `vm.trace.Tracer` of one run, deaf to everything, that has something to say at its end."""

    def enter(self, message: Message) -> None:
        """A message begins."""

    def step(self, frame: Frame) -> None:
        """An opcode is about to run."""

    def leave(self, message: Message, outcome: Outcome) -> None:
        """A message ended, or failed before it began."""

    def log(self, log: Log) -> None:
        """A log was emitted."""

    def result(self, ended: TransactionResult) -> Any:
        """The answer, ready for JSON."""
        raise NotImplementedError
