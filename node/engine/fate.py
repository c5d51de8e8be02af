"""The fate of a transaction, from the chain, the pool and the FATE records of the log."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from chain.errors import InvalidTransaction
from chain.forks import ChainConfig
from chain.state import EMPTY_ACCOUNT
from chain.types import Hash32
from node.api.types import TransactionFate, TransactionLocation
from node.engine.admission import check_against_state, next_block
from node.engine.pool import Pool, PooledTransaction
from storage.store import Store


@dataclass(frozen=True, slots=True)
class Fates:
    """Looks up fates. Any thread."""

    store: Store
    pool: Pool
    config: ChainConfig
    location: Callable[[Hash32], TransactionLocation | None]
    """In published blocks."""

    def of(self, transaction_hash: Hash32) -> TransactionFate:
        """The fate of a transaction: mined, waiting and why, or why it is in no block."""
        # The pool first: a transaction that leaves it for a block is found in the block then.
        entry = self.pool.shown_entry(transaction_hash, self.store.head.number)
        known = self.store.fates.get(transaction_hash)
        if (place := self.location(transaction_hash)) is not None:
            return TransactionFate("mined", "", place.block_number)
        if entry is not None:
            return TransactionFate("waiting", self._why_waiting(entry))
        if known is None:
            return TransactionFate("unknown", "never accepted by this node, or no longer known")
        status: Any = known.kind
        replaced_by = Hash32(known.replaced_by) if known.replaced_by is not None else None
        return TransactionFate(status, known.reason, known.block, replaced_by)

    def _why_waiting(self, entry: PooledTransaction) -> str:
        """What keeps a transaction out of the next block, judged by published state."""
        transaction, sender = entry.transaction, entry.sender
        settings, head = self.store.applied.settings, self.store.head
        state = self.store.view(head.number)
        block = next_block(head, settings, self.config, int(time.time()))
        account = state.account(sender) or EMPTY_ACCOUNT
        if (expected := self.pool.next_nonce(sender, account.nonce)) < transaction.nonce:
            return f"nonce gap: the sender's next is {expected}"
        try:
            check_against_state(transaction, sender, account, state, block)
        except InvalidTransaction as error:
            return str(error)
        if transaction.nonce > account.nonce:
            return f"after the sender's transaction with nonce {account.nonce}"
        if settings.automine:
            return "for the next block"
        interval = settings.interval_milliseconds / 1000
        return f"for a block: one is sealed every {interval:g} s" if interval else "for a block: automine is off"
