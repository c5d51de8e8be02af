"""The interface of a tracer, and the transaction or call it traces."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from chain.environment import BlockEnvironment
from chain.state import StateReader
from chain.transactions import Transaction
from chain.types import Address, Hash32
from vm.evm.trace import Tracer
from vm.journal import Journal
from vm.transaction import TransactionResult


@dataclass(frozen=True, slots=True)
class TraceOrigin:
    """Where a transaction was mined."""

    block_hash: Hash32
    block_number: int
    transaction_hash: Hash32
    index: int


@dataclass(frozen=True, slots=True)
class TracedRun:
    """One transaction, or a call in the form of one, about to run."""

    transaction: Transaction
    """For a call only ``to``, ``gas_limit`` and ``data`` are meaningful."""
    sender: Address
    environment: BlockEnvironment
    below: StateReader
    """The state under the journal, of the block before."""
    before: StateReader
    """The state it starts from, with the transactions of its block that came before it."""
    journal: Journal
    """The state while it runs, and after it."""
    code_bytes_max: int
    """The chain's limit of a contract's code, bytes."""
    place: TraceOrigin | None = None
    """None for a call."""
    logs_before: int = 0
    """Logs of the block's earlier transactions: the ``logIndex`` of this one's first."""


class RunTracer(Tracer):
    """A tracer of one run that has a result at its end."""

    def result(self, ended: TransactionResult) -> Any:
        """A value of the tracer's own type; `node.rpc.format_traces` writes it in JSON."""
        raise NotImplementedError


MakeTracer = Callable[[TracedRun], RunTracer]
