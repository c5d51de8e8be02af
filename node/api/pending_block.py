"""The pending block: the block that would be sealed next, as readers see it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property

from chain.blocks import Block, Header
from chain.environment import BlockEnvironment
from chain.receipts import Receipt
from chain.state import OverlayState
from chain.transactions import Transaction
from chain.types import Address, Hash32
from storage.state.proof import AccountProof, prove, root_after
from storage.state.reader import StateView


@dataclass(frozen=True, eq=False)
class PendingBlock:
    """Built on the newest published block from what waits in the pool; an immutable value, not in the chain.

    It equals the block that is sealed next if neither the pool nor the clock nor a setting changes until then.
    """

    environment: BlockEnvironment
    transactions: tuple[Transaction, ...]
    senders: tuple[Address, ...]
    receipts: tuple[Receipt, ...]
    before: StateView
    """The state it starts from."""
    state: OverlayState
    """The state after it."""
    header_with: Callable[[Hash32], Header]
    """Makes its header for a state root."""

    @property
    def number(self) -> int:
        """One above the newest published block."""
        return self.environment.number

    @cached_property
    def block(self) -> Block:
        """The whole block. The state root costs some 20 us for each account changed since the last checkpoint."""
        root = root_after(self.before, self.state.delta)
        return Block(self.header_with(root), self.transactions, (), self.environment.withdrawals)

    @property
    def header(self) -> Header:
        """The header of `block`."""
        return self.block.header

    def prove(self, address: Address, slots: Sequence[int]) -> AccountProof:
        """Merkle proof in the state after it (EIP-1186)."""
        return prove(self.before, address, slots, self.state.delta)


BlockAt = int | PendingBlock
"""A published block's number, or the pending block."""
