"""Transactions that wait for a block: by sender and nonce, replaced by fee, bounded."""

from __future__ import annotations

import heapq
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass

from chain.errors import UnderpricedReplacement
from chain.fees import cost_of
from chain.transactions import Transaction
from chain.types import Address, Hash32
from node.api.errors import PoolFull

TRANSACTIONS_MAX = 16_384
TRANSACTIONS_PER_SENDER_MAX = 4_096
REPLACEMENT_BUMP_PERCENT = 10


@dataclass(slots=True, eq=False)
class PoolEntry:
    """An admitted transaction."""

    transaction: Transaction
    sender: Address
    raw: bytes
    arrival: int
    """Order of admission, unique."""
    lsn: int | None = None
    """LSN of its POOL_ADMIT record; None while it is only in memory."""


class Pool:
    """Admitted transactions in the order a block takes them: a sender's by nonce, then by tip, then by arrival."""

    def __init__(self) -> None:
        self.transactions_max = TRANSACTIONS_MAX
        self._by_sender: dict[Address, dict[int, PoolEntry]] = {}
        self._by_hash: dict[Hash32, PoolEntry] = {}
        self._leaving: dict[Hash32, tuple[int, PoolEntry]] = {}
        self._leaving_nonces: dict[tuple[Address, int], int] = {}
        self.version = 0
        """Changes with the content."""

    def __len__(self) -> int:
        return len(self._by_hash)

    def get(self, transaction_hash: Hash32) -> PoolEntry | None:
        """The waiting transaction with this hash. Safe to call from any thread."""
        return self._by_hash.get(transaction_hash)

    def entries(self) -> list[PoolEntry]:
        """All waiting transactions in order of arrival. Safe to call from any thread."""
        return sorted(self._by_hash.copy().values(), key=lambda entry: entry.arrival)

    def add(self, entry: PoolEntry) -> PoolEntry | None:
        """Take a transaction in; returns the one it replaces.

        Raises `UnderpricedReplacement` and `PoolFull`.
        """
        nonces = self._by_sender.get(entry.sender, {})
        replaced = nonces.get(entry.transaction.nonce)
        if replaced is not None:
            self._check_replacement(replaced.transaction, entry.transaction)
        elif len(self._by_hash) >= self.transactions_max or len(nonces) >= TRANSACTIONS_PER_SENDER_MAX:
            raise PoolFull(f"{len(self._by_hash)} transactions wait, {len(nonces)} of them from this sender")
        self.put(entry)
        return replaced

    def put(self, entry: PoolEntry) -> None:
        """Take a transaction in, in place of any other with its sender and nonce."""
        self.version += 1
        replaced = self._by_sender.get(entry.sender, {}).get(entry.transaction.nonce)
        if replaced is not None:
            self.remove(replaced)
        self._by_sender.setdefault(entry.sender, {})[entry.transaction.nonce] = entry
        self._by_hash[entry.transaction.hash] = entry

    @staticmethod
    def _check_replacement(old: Transaction, new: Transaction) -> None:
        for field in ("max_fee_per_gas", "max_priority_fee_per_gas", "max_fee_per_blob_gas"):
            least = -(-getattr(old, field) * (100 + REPLACEMENT_BUMP_PERCENT) // 100)
            if getattr(new, field) < least:
                raise UnderpricedReplacement(f"{field} {getattr(new, field)} is below {least}")

    def remove(self, entry: PoolEntry) -> None:
        """Remove a transaction that is in a block, replaced, or permanently invalid; its replacement stays."""
        self.version += 1
        if self._by_hash.get(entry.transaction.hash) is entry:
            del self._by_hash[entry.transaction.hash]
        nonces = self._by_sender.get(entry.sender, {})
        if nonces.get(entry.transaction.nonce) is entry:
            del nonces[entry.transaction.nonce]
            if not nonces:
                del self._by_sender[entry.sender]

    def take(self, entry: PoolEntry, block: int) -> None:
        """`remove` for a transaction that goes into a block: `shown` has it until readers see that block."""
        self._leaving[entry.transaction.hash] = block, entry
        self._leaving_nonces[entry.sender, entry.transaction.nonce] = block
        self.remove(entry)

    def forget_left(self, head: int) -> None:
        """Readers see the blocks up to ``head``: their transactions are not shown as waiting any more."""
        for block, entry in [left for left in self._leaving.values() if left[0] <= head]:
            del self._leaving[entry.transaction.hash]
            if self._leaving_nonces[entry.sender, entry.transaction.nonce] == block:
                del self._leaving_nonces[entry.sender, entry.transaction.nonce]

    def shown(self, head: int) -> Pool:
        """A pool of its own with what waits for readers who see the blocks up to ``head``. Any thread."""
        shown = Pool()
        for entry in self.shown_entries(head):
            shown.put(entry)
        return shown

    def shown_entries(self, head: int) -> list[PoolEntry]:
        """What `shown` would hold, in order of arrival. Any thread."""
        waiting = self._by_hash.copy()  # first: what leaves meanwhile is in both
        waiting.update({digest: entry for digest, (block, entry) in self._leaving.copy().items() if block > head})
        return sorted(waiting.values(), key=lambda entry: entry.arrival)

    def shown_entry(self, transaction_hash: Hash32, head: int) -> PoolEntry | None:
        """What `shown` would have under this hash. Any thread."""
        leaving = self._leaving.get(transaction_hash)
        if leaving is not None and leaving[0] > head:
            return leaving[1]
        return self._by_hash.get(transaction_hash)

    def clear(self) -> None:
        """Forget everything."""
        self.version += 1
        self._by_hash, self._by_sender = {}, {}
        self._leaving, self._leaving_nonces = {}, {}

    def next_nonce(self, sender: Address, account_nonce: int) -> int:
        """The nonce after the unbroken run of waiting transactions that starts at the account's nonce."""
        nonces = self._by_sender.get(sender, {})
        while account_nonce in nonces:
            account_nonce += 1
        return account_nonce

    def shown_nonce(self, sender: Address, account_nonce: int, head: int) -> int:
        """`next_nonce` of what `shown` would hold, from the account's nonce after block ``head``. Any thread."""
        while account_nonce in self._by_sender.get(sender, {}) or (
            self._leaving_nonces.get((sender, account_nonce), 0) > head
        ):
            account_nonce += 1
        return account_nonce

    def below(self, sender: Address, nonce: int) -> list[PoolEntry]:
        """What a sender has waiting with lower nonces."""
        return [entry for known, entry in self._by_sender.get(sender, {}).items() if known < nonce]

    def spending(self, sender: Address, but: int) -> int:
        """Wei that a sender's waiting transactions may cost together, the one with nonce ``but`` left out."""
        waiting = self._by_sender.get(sender, {})
        return sum(cost_of(entry.transaction) for nonce, entry in waiting.items() if nonce != but)

    def executable(
        self, base_fee: int, nonce_of: Callable[[Address], int], senders: Collection[Address] | None = None
    ) -> Iterator[PoolEntry]:
        """Transactions a block may take now, best tip first, each sender's in nonce order; of these senders, if given.

        A sender's next transaction is offered only if the caller removed the one before it.
        """
        heap: list[tuple[int, int, PoolEntry]] = []

        def offer(sender: Address, nonce: int) -> None:
            entry = self._by_sender.get(sender, {}).get(nonce)
            if entry is not None and entry.transaction.max_fee_per_gas >= base_fee:
                fields = entry.transaction
                tip = min(fields.max_priority_fee_per_gas, fields.max_fee_per_gas - base_fee)
                heapq.heappush(heap, (-tip, entry.arrival, entry))

        for sender in list(self._by_sender if senders is None else senders):
            offer(sender, nonce_of(sender))
        while heap:
            entry = heapq.heappop(heap)[2]
            yield entry
            if entry.transaction.hash not in self._by_hash:
                offer(entry.sender, entry.transaction.nonce + 1)

    def oldest_lsn(self) -> int | None:
        """Smallest LSN of a POOL_ADMIT record that recovery would still need."""
        return min((e.lsn for e in self._by_hash.copy().values() if e.lsn is not None), default=None)
