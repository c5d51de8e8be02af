"""Which accounts and slots a call uses: an access list of EIP-2930 that would warm them."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from chain.types import Address
from node.api.tracing import RunTracer, TracedRun
from node.tracers.touched import Touches
from vm.precompiles import precompile_addresses
from vm.transaction import TransactionResult

if TYPE_CHECKING:
    from vm.evm.frame import Frame

AccessList = tuple[tuple[Address, tuple[int, ...]], ...]


class UsedAccessList(NamedTuple):
    """The accounts and slots that a run used."""

    entries: AccessList
    """Accounts and slots, ascending."""
    gas_used: int
    halt: str | None
    """Why it failed, None if it did not."""


class AccessTracer(RunTracer):
    """Leaves out what is warm without a list: sender, recipient, precompiles (EIP-2929)."""

    hears_steps = True

    def __init__(self, run: TracedRun, recipient: Address) -> None:
        """The result extends the access list that the run has."""
        self._touches = Touches(run)
        self._listed = dict(run.transaction.access_list)
        for address, slots in run.transaction.access_list:
            self._touches.add(address, *slots)
        self._warm_anyway = {run.sender, recipient, *precompile_addresses(run.environment.fork)}

    def step(self, frame: Frame) -> None:
        """Record what the next opcode is about to access."""
        self._touches.step(frame)

    def result(self, ended: TransactionResult) -> UsedAccessList:
        """The list so far, and how the run ended."""
        entries = tuple(
            (address, tuple(sorted(slots)))
            for address, slots in sorted(self._touches.slots.items())
            if slots or address in self._listed or address not in self._warm_anyway
        )
        halt = ended.outcome.halt
        return UsedAccessList(entries, ended.gas_used, None if halt.is_success else halt.name.lower())
