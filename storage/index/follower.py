"""Feeds the index behind the head, rebuilds a damaged one, and remembers the blocks it has not reached yet."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Sequence
from itertools import islice
from typing import Any

import structlog

from chain.blocks import Block
from chain.receipts import Receipt
from chain.transactions import Transaction
from chain.types import Address, Hash32
from storage.blocks.chaindata import ChainData
from storage.blocks.logs import logs_of
from storage.errors import IndexDamaged, IndexLocked, StorageFull
from storage.index.index import Index
from storage.index.queries import LogFilter, TransactionPosition
from storage.index.rows import BlockRows, ContractRow, IndexWatermark, LogRow, TransactionRow
from storage.io.failpoints import reach

log = structlog.get_logger(__name__)

REMEMBERED_MAX = 100_000
"""Rows kept in memory until they are indexed, about 40 MB. Beyond that the oldest blocks are searched instead."""
TRANSACTIONS_PER_SCRUB = 5_000
"""Compared with the index in one turn of `maintain`, a block counted as one more."""
BLOCKS_PER_TRANSACTION = 256
"""Blocks indexed in one SQL transaction,"""
ROWS_PER_TRANSACTION = 20_000
"""or fewer, when they have so many rows."""


def rows_of(number: int, block_hash: Hash32, sent: Sequence[tuple[Transaction, Receipt, Address]]) -> BlockRows:
    """The rows of a block with its transactions, their receipts and their senders."""
    return BlockRows(
        number,
        block_hash,
        tuple(TransactionRow(transaction.hash, sender, transaction.to) for transaction, _, sender in sent),
        tuple(
            LogRow(index, Address(address), tuple(map(Hash32, topics)))
            for index, (_, receipt, _) in enumerate(sent)
            for address, topics, _ in receipt.rows
        ),
        tuple(
            ContractRow(receipt.contract_address, transaction.hash, sender)
            for transaction, receipt, sender in sent
            if receipt.contract_address is not None and receipt.status != 0
        ),
    )


class IndexFollower:
    """Owns the index, how far it reaches, and the places of transactions in the blocks between there and the head.

    `remember` and `rewind` are called by the writer and the committer; they never wait for a disk or a process.
    `catch_up` and `maintain` may take long; they run one at a time, on any thread. `storage.index.lookup` reads.
    """

    def __init__(self, index: Index, chain: ChainData, clock: Callable[[], float] = time.monotonic) -> None:
        """``clock`` is steady, seconds."""
        self.index = index
        self._chain = chain
        self._clock = clock
        self._waiting: dict[int, BlockRows] = {}
        """Rows by block, for blocks from `_remembered` on that are not indexed yet."""
        self._places: dict[Hash32, tuple[int, int]] = {}
        """Block and index of the transactions in `_waiting`."""
        self._rows = 0
        """Number of rows in `_waiting`, with one more for each block."""
        self._turn = threading.Lock()
        """Held while the database is written or deleted, which may take minutes."""
        self._lock = threading.Lock()
        """Guards the fields above and below; never held while waiting for anything."""
        self._mark = index.watermark() if index.is_current else None
        """Watermark of the rows up to `reached`."""
        self.reached = self._mark.block if self._mark is not None else -1
        """Last indexed block; -1 if none. The database may hold rows of later blocks, which are ignored."""
        self._remembered = max(self.reached, chain.head) + 1 if chain.head else 0  # genesis has no transactions
        """Blocks from here on are in memory until they are indexed; those between the index and here are searched."""
        self._rewinds = 0
        self._is_ahead = False
        """Whether the database may hold rows of later blocks: after a failed write, or from before a rewind."""
        self._waiting_since: float | None = None
        """Clock reading at which the oldest transaction in `_places` came; None if there is none."""
        self._scrubbed = -1
        self.is_abandoned = False
        """Whether the program is shutting down."""

    @property
    def rows_in_memory(self) -> int:
        """Rows kept until they are indexed, with one more for each block."""
        return self._rows

    @property
    def is_rebuilding(self) -> bool:
        """Whether there are blocks that neither the index nor the memory has: those have to be searched."""
        return self.reached + 1 < self._remembered

    def remembered_place(self, transaction_hash: Hash32) -> tuple[int, int] | None:
        """(block, index) of a transaction in a block that is not indexed yet, from memory."""
        return self._places.get(transaction_hash)

    def indexed_place(self, transaction_hash: Hash32) -> TransactionPosition | None:
        """Position of a transaction as the index has it. Raises `IndexDamaged`, `IndexLocked`."""
        found = self.index.transaction(transaction_hash) if self.reached >= 0 else None
        return None if found is None or found.block > self.reached else found

    def is_due(self, seconds: float) -> bool:
        """Whether there is a full batch to index, or a transaction has waited for ``seconds``."""
        behind = self._chain.head - self.reached
        since = self._waiting_since
        return (
            self._is_ahead
            or self.is_rebuilding
            or behind >= BLOCKS_PER_TRANSACTION
            or self._rows >= ROWS_PER_TRANSACTION
            or (since is not None and self._clock() - since >= seconds)
        )

    def rewind_to_chain(self) -> None:
        """Discard an index of another chain: its last block is missing here, or has another hash. At start only."""
        mark = self._mark
        if mark is not None and self._chain.hash_of(mark.block) != mark.block_hash:
            with self._turn:
                try:
                    self._begin_again(IndexDamaged(f"index: its block {mark.block} is not of this chain"))
                except (IndexLocked, StorageFull) as reason:  # the index job does it
                    log.warning("the index cannot be built again now", error=str(reason))
        with self._lock:
            self._forget([number for number in self._waiting if number <= self.reached])  # added by replay

    def remember(self, rows: BlockRows) -> None:
        """Add a block that joined the chain. Called by the thread that publishes it."""
        with self._lock:
            self._waiting[rows.number] = rows
            self._rows += 1 + rows.count
            for index, row in enumerate(rows.transactions):
                self._places[row.hash] = (rows.number, index)
            if rows.transactions and self._waiting_since is None:
                self._waiting_since = self._clock()
            while self._rows > REMEMBERED_MAX:
                oldest = next(iter(self._waiting))
                self._remembered = max(self._remembered, oldest + 1)
                self._forget([oldest])

    def _forget(self, numbers: Iterable[int]) -> None:
        """Drop the remembered rows of some blocks. Called with the lock held."""
        for number in numbers:
            rows = self._waiting.pop(number)
            self._rows -= 1 + rows.count
            for row in rows.transactions:
                if self._places.get(row.hash, (-1, 0))[0] == number:  # otherwise a later block has it too
                    del self._places[row.hash]
        if not self._places:
            self._waiting_since = None

    def catch_up(self, head: Callable[[], tuple[int, int]]) -> int:
        """Index all blocks up to ``head()``, a number and its LSN; returns how many were written.

        A damaged index is deleted and built again. A `rewind` may come in between.
        Raises `IndexLocked`, `IndexUnavailable`, `StorageFull`.
        """
        with self._turn:
            try:
                return self._catch_up(head)
            except IndexDamaged as error:
                self._begin_again(error)
                return self._catch_up(head)

    def _catch_up(self, head: Callable[[], tuple[int, int]]) -> int:
        self._prepare()
        indexed = 0
        while True:
            with self._lock:
                rewinds, (number, lsn) = self._rewinds, head()
            blocks = self._next_rows(number)
            with self._lock:
                if rewinds != self._rewinds:
                    continue
                if not blocks:
                    return indexed
                self._is_ahead = True  # until the answer comes
            reach("index.write.before")
            mark = self.index.write(blocks, lsn)
            reach("index.write.after")
            with self._lock:
                if rewinds == self._rewinds:  # otherwise the next write replaces these rows
                    self._mark, self.reached, self._is_ahead = mark, mark.block, False
                    self._waiting_since = self._clock()
                    self._forget([number for number in self._waiting if number <= mark.block])
                    indexed += len(blocks)

    def _prepare(self) -> None:
        """Create or migrate the database if needed, and take over its watermark if it belongs to this chain."""
        if self.index.is_current:
            return
        self.index.prepare()
        mark = self.index.watermark()
        with self._lock:
            if mark is not None and self._chain.hash_of(mark.block) == mark.block_hash:
                self._mark, self.reached = mark, mark.block
            else:
                self._is_ahead = mark is not None

    def _next_rows(self, head: int) -> list[BlockRows]:
        """Rows of the next blocks up to ``head``, as many as fit in one transaction; fewer if a rewind intervenes."""
        blocks: list[BlockRows] = []
        rows = 0
        # Writing the last block again deletes all rows of later ones.
        first = max(self.reached, 0) if self._is_ahead else self.reached + 1
        for number in range(first, min(head, first + BLOCKS_PER_TRANSACTION - 1) + 1):
            found = self._waiting.get(number) or self._read_rows(number)
            if found is None or rows >= ROWS_PER_TRANSACTION:
                break
            blocks.append(found)
            rows += found.count
        return blocks

    def _read_rows(self, number: int) -> BlockRows | None:
        """The rows of a block that is not in memory; None if a rewind has just removed it."""
        block, receipts = self._chain.block(number), self._chain.receipts(number)
        senders = self._chain.senders(number)
        if block is None or receipts is None or senders is None:
            return None
        return rows_of(number, block.hash, list(zip(block.transactions, receipts, senders, strict=True)))

    def rewind(self, number: int, lsn: int, take_out: Callable[[], None]) -> None:
        """Forget all blocks after ``number`` and let ``take_out`` take them out of the chain. Writer thread.

        Their rows stay in the database until the next write replaces them; lookups ignore them.
        """
        with self._lock:
            kept = self._kept_by_rewind(number, lsn)
            take_out()
            self._rewinds += 1
            self._forget([later for later in self._waiting if later > number])
            self._remembered = min(self._remembered, number + 1)
            self._scrubbed = min(self._scrubbed, number)
            if kept < self.reached:
                block_hash = self._chain.hash_of(kept)
                self._mark = None if block_hash is None else IndexWatermark(lsn, kept, block_hash)
                self.reached, self._is_ahead = kept, True

    def _kept_by_rewind(self, number: int, lsn: int) -> int:
        """Last block whose rows stay. A replay may find an index of an older chain, or one later than this rewind."""
        mark = self._mark
        if mark is None or mark.block <= number or mark.lsn > lsn:
            return self.reached
        return number if self._chain.hash_of(mark.block) == mark.block_hash else -1

    def write_with(self, work: Callable[[Index], int]) -> int:
        """Have another writer write into the index; found damaged, it is deleted and ``work`` done on an empty one."""
        with self._turn:
            try:
                self._prepare()
                return work(self.index)
            except IndexDamaged as error:
                self._begin_again(error)
                self._prepare()
                return work(self.index)

    def _begin_again(self, error: IndexDamaged) -> None:
        """Delete the index; until it is rebuilt, lookups search the blocks. Called with the turn held.

        Raises `IndexLocked` while another program has it open; the index is not used any more then.
        """
        log.error("the index cannot be used: building it again", error=str(error))
        with self._lock:
            self._remembered = max(self._remembered, self.reached + 1)
            self.reached, self._mark, self._is_ahead = -1, None, False
        self.index.begin_again()

    def check_files(self) -> str:
        """Build the index again if its files were removed or replaced; which one, or empty. Raises `IndexLocked`.

        Empty too while a write is under way; the next call checks.
        """
        if not self._turn.acquire(blocking=False):
            return ""
        try:
            moved = self.index.moved
            if moved:
                self._begin_again(IndexDamaged(f"{moved} was removed or replaced"))
            return moved
        finally:
            self._turn.release()

    def maintain(self) -> str:
        """Check the database and fold its own log into it."""
        with self._turn:
            try:
                self.index.check(thorough=False)
                self.index.make_durable()
                checked = self._scrub()
            except IndexDamaged as error:
                self._begin_again(error)
                return "damaged: it is built again"
        return f"checked {checked} blocks against the chain, durable up to block {self.reached}"

    def _scrub(self) -> int:
        """Compare the rows of some blocks, from where the last scrub ended, with the blocks. Raises `IndexDamaged`."""
        left, checked, rewinds = TRANSACTIONS_PER_SCRUB, 0, self._rewinds
        if self._scrubbed >= self.reached:
            self._scrubbed = -1
        for number in range(self._scrubbed + 1, self.reached + 1):
            block = self._chain.block(number)
            difference = "" if block is None else self._difference(block)
            with self._lock:
                if rewinds != self._rewinds:  # the block may have left the chain meanwhile
                    break
                assert block is not None
                if difference:
                    raise IndexDamaged(f"index: block {number}: {difference}")
                self._scrubbed = number
            checked, left = checked + 1, left - 1 - len(block.transactions)
            if left <= 0:
                break
        return checked

    def _difference(self, block: Block) -> str:
        """How the rows of a block differ from the block; empty if they do not. Raises `IndexDamaged`."""
        number = block.header.number
        for index, transaction in enumerate(block.transactions):
            found = self.index.transaction(transaction.hash)
            if found is None or (found.block, found.tx_index) != (number, index):
                return f"transaction {index} is not where it should be"
        positions, _ = self.index.logs(LogFilter(number, number), 10_000)
        expected = len(list(islice(logs_of(self._chain, number), 10_000)))
        if [position.log_index for position in positions] != list(range(expected)):
            return f"it has {expected} logs, the index {len(positions)}"
        return ""

    def status(self) -> dict[str, Any]:
        """How far the index reaches, and the state of the process that writes it."""
        behind = self._chain.head - self.reached
        return {
            "block": self.reached,
            "indexing": behind > 0,
            "behind": behind,
            "inMemory": len(self._places),
            "process": self.index.writer_status(),
        }

    def abandon(self) -> None:
        """Shut down: a write in another process fails at once. Any thread."""
        self.is_abandoned = True
        self.index.abandon()

    def close(self) -> None:
        """Close the database."""
        self.index.close()
