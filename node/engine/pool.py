"""Transactions that wait for a block: by sender and nonce, replaced by fee, bounded."""

from __future__ import annotations

import heapq
from collections.abc import Callable, Collection, Container, Iterable, Iterator
from dataclasses import dataclass, field

from chain.errors import UnderpricedReplacement
from chain.fees import cost_of
from chain.forks import Fork
from chain.transactions import Transaction, decode_transaction, sender_of
from chain.types import Address, Hash32
from node.api.errors import PoolFull

TRANSACTIONS_MAX = 16_384
TRANSACTIONS_PER_SENDER_MAX = 4_096
REPLACEMENT_BUMP_PERCENT = 10


@dataclass(slots=True, eq=False)
class PooledTransaction:
    """A transaction from the moment it is decoded until a block has it. Compared by identity."""

    transaction: Transaction
    sender: Address
    raw: bytes
    """The encoding in the log (`chain.transactions.encode_transaction`)."""
    arrival: int = 0
    """Order of admission, unique in the pool."""
    lsn: int | None = None
    """LSN of its POOL_ADMIT record; None while it is only in memory."""
    checked: Fork | None = None
    """The fork under which `chain.validity.check_static` has accepted it on this chain."""
    cost: int = field(init=False)
    """The most that it may take from its sender, wei."""

    def __post_init__(self) -> None:
        self.cost = cost_of(self.transaction)

    def arrived(self, number: int) -> None:
        """A copy with its order of admission, given by the writer."""
        self.arrival = number

    def logged_at(self, lsn: int) -> None:
        """A copy with the LSN of its POOL_ADMIT record."""
        self.lsn = lsn

    @classmethod
    def from_log(cls, raw: bytes, lsn: int) -> PooledTransaction:
        """The transaction of a POOL_ADMIT record. Records are in order of arrival, so the LSN is also the arrival."""
        transaction = decode_transaction(raw)
        return cls(transaction, sender_of(transaction), raw, lsn, lsn)


class Pool:
    """Admitted transactions in the order in which blocks take them: a sender's by nonce, then by tip, then by arrival.

    Owned by the writer; methods that other threads may call say so.
    """

    def __init__(self, transactions_max: int = TRANSACTIONS_MAX) -> None:
        self.transactions_max = transactions_max
        self._by_sender: dict[Address, dict[int, PooledTransaction]] = {}
        self._costs: dict[Address, int] = {}
        """By sender: wei that its transactions may cost together."""
        self._by_hash: dict[Hash32, PooledTransaction] = {}
        self._leaving: dict[Hash32, tuple[int, PooledTransaction]] = {}
        self._leaving_nonces: dict[tuple[Address, int], int] = {}
        self._at_snapshots: dict[int, list[PooledTransaction]] = {}
        """Content of the pool at each snapshot, by snapshot id."""
        self.version = 0
        """Incremented with every change of the content."""

    def __len__(self) -> int:
        return len(self._by_hash)

    def get(self, transaction_hash: Hash32) -> PooledTransaction | None:
        """The waiting transaction with this hash. Safe to call from any thread."""
        return self._by_hash.get(transaction_hash)

    def has(self, transaction_hash: Hash32) -> bool:
        """Whether the transaction waits. Any thread."""
        return transaction_hash in self._by_hash

    def holds_any_of(self, senders: Iterable[Address] | None) -> bool:
        """Whether a transaction of one of these senders waits; of anybody, for None."""
        return bool(self._by_sender) if senders is None else any(sender in self._by_sender for sender in senders)

    def entries(self) -> list[PooledTransaction]:
        """All waiting transactions in order of arrival. Safe to call from any thread."""
        return sorted(self._by_hash.copy().values(), key=lambda entry: entry.arrival)

    def add(self, entry: PooledTransaction) -> PooledTransaction | None:
        """Add a transaction; returns the one it replaces.

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

    def put(self, entry: PooledTransaction) -> None:
        """Add a transaction in place of any other with its sender and nonce."""
        self.version += 1
        replaced = self._by_sender.get(entry.sender, {}).get(entry.transaction.nonce)
        if replaced is not None:
            self.remove(replaced)
        self._by_sender.setdefault(entry.sender, {})[entry.transaction.nonce] = entry
        self._costs[entry.sender] = self._costs.get(entry.sender, 0) + entry.cost
        self._by_hash[entry.transaction.hash] = entry

    @staticmethod
    def _check_replacement(old: Transaction, new: Transaction) -> None:
        for name in ("max_fee_per_gas", "max_priority_fee_per_gas", "max_fee_per_blob_gas"):
            least = -(-getattr(old, name) * (100 + REPLACEMENT_BUMP_PERCENT) // 100)
            if getattr(new, name) < least:
                raise UnderpricedReplacement(f"{name} {getattr(new, name)} is below {least}")

    def remove(self, entry: PooledTransaction) -> None:
        """Remove a transaction that is in a block, replaced, or permanently invalid; its replacement stays."""
        self.version += 1
        if self._by_hash.get(entry.transaction.hash) is entry:
            del self._by_hash[entry.transaction.hash]
        nonces = self._by_sender.get(entry.sender, {})
        if nonces.get(entry.transaction.nonce) is entry:
            del nonces[entry.transaction.nonce]
            self._costs[entry.sender] -= entry.cost
            if not nonces:
                del self._by_sender[entry.sender], self._costs[entry.sender]

    def take(self, entry: PooledTransaction, block: int) -> None:
        """Remove a transaction that goes into a block; `shown` has it until readers see that block."""
        self._leaving[entry.transaction.hash] = block, entry
        self._leaving_nonces[entry.sender, entry.transaction.nonce] = block
        self.remove(entry)

    def forget_left(self, head: int) -> None:
        """Readers see the blocks up to ``head``: stop showing their transactions as waiting."""
        for block, entry in [left for left in self._leaving.values() if left[0] <= head]:
            del self._leaving[entry.transaction.hash]
            if self._leaving_nonces[entry.sender, entry.transaction.nonce] == block:
                del self._leaving_nonces[entry.sender, entry.transaction.nonce]

    def is_leaving(self, transaction_hash: Hash32) -> bool:
        """Whether a block that readers do not see yet has this transaction."""
        return transaction_hash in self._leaving

    def shown(self, head: int) -> Pool:
        """A copy of the pool as readers who see the blocks up to ``head`` should see it. Any thread."""
        shown = Pool()
        for entry in self.shown_entries(head):
            shown.put(entry)
        return shown

    def shown_entries(self, head: int) -> list[PooledTransaction]:
        """The transactions of `shown`, in order of arrival. Any thread."""
        waiting = self._by_hash.copy()  # first, so that a transaction that leaves meanwhile is in both
        waiting.update({digest: entry for digest, (block, entry) in self._leaving.copy().items() if block > head})
        return sorted(waiting.values(), key=lambda entry: entry.arrival)

    def shown_entry(self, transaction_hash: Hash32, head: int) -> PooledTransaction | None:
        """The transaction of `shown` with this hash. Any thread."""
        leaving = self._leaving.get(transaction_hash)
        if leaving is not None and leaving[0] > head:
            return leaving[1]
        return self._by_hash.get(transaction_hash)

    def next_nonce(self, sender: Address, account_nonce: int) -> int:
        """The nonce after the waiting transactions that follow the account's nonce without a gap."""
        nonces = self._by_sender.get(sender, {})
        while account_nonce in nonces:
            account_nonce += 1
        return account_nonce

    def shown_nonce(self, sender: Address, account_nonce: int, head: int) -> int:
        """`next_nonce` in `shown`, from the account's nonce after block ``head``. Any thread."""
        while account_nonce in self._by_sender.get(sender, {}) or (
            self._leaving_nonces.get((sender, account_nonce), 0) > head
        ):
            account_nonce += 1
        return account_nonce

    def below(self, sender: Address, nonce: int) -> list[PooledTransaction]:
        """A sender's waiting transactions with lower nonces."""
        return [entry for known, entry in self._by_sender.get(sender, {}).items() if known < nonce]

    def spending(self, sender: Address, but: int) -> int:
        """Wei that a sender's waiting transactions may cost together, without the one with nonce ``but``."""
        waiting = self._by_sender.get(sender)
        if waiting is None:
            return 0
        excepted = waiting.get(but)
        return self._costs[sender] - (0 if excepted is None else excepted.cost)

    def executable(
        self, base_fee: int, nonce_of: Callable[[Address], int], senders: Collection[Address] | None = None
    ) -> Iterator[PooledTransaction]:
        """Transactions a block may take now, best tip first, each sender's in nonce order; of these senders, if given.

        A sender's next transaction is offered only if the caller removed the one before it.
        """
        heap: list[tuple[int, int, PooledTransaction]] = []

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

    # Snapshots

    def keep_for(self, snapshot: int, waiting: Iterable[PooledTransaction]) -> None:
        """Keep the pool's content at a snapshot, in order of arrival, for a revert to it."""
        self._at_snapshots[snapshot] = list(waiting)

    def forget_snapshots(self, known: Container[int]) -> None:
        """Drop the content kept for all but these snapshots."""
        self._at_snapshots = {number: kept for number, kept in self._at_snapshots.items() if number in known}

    def at(self, lsns: Iterable[int]) -> list[PooledTransaction]:
        """Transactions that wait, or waited at a snapshot, by the LSNs of their POOL_ADMIT records."""
        pools = (self._by_hash.values(), *self._at_snapshots.values())
        by_lsn = {entry.lsn: entry for pool in pools for entry in pool}
        return [by_lsn[lsn] for lsn in lsns]

    def replace_all(self, waiting: Iterable[PooledTransaction]) -> None:
        """Replace the whole content; each transaction keeps its arrival."""
        self.version += 1
        self._by_hash, self._by_sender, self._costs = {}, {}, {}
        self._leaving, self._leaving_nonces = {}, {}
        for entry in waiting:
            self.put(entry)

    def oldest_lsn(self) -> int | None:
        """Smallest LSN of a POOL_ADMIT record that recovery needs, for the pool and for the snapshots."""
        pools = (self._by_hash.values(), *self._at_snapshots.values())
        return min((entry.lsn for pool in pools for entry in pool if entry.lsn is not None), default=None)
