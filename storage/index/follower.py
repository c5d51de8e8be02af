"""Feeds the index behind the head, rebuilds a damaged one, and remembers the blocks it has not reached yet."""

from __future__ import annotations

import threading
from collections.abc import Callable
from itertools import islice
from typing import Any

import structlog

from chain.blocks import Block
from chain.types import Hash32
from storage.blocks.chaindata import ChainData
from storage.blocks.logs import logs_of
from storage.errors import IndexDamaged, IndexLocked, StorageFull
from storage.index.index import Index
from storage.index.queries import LogFilter
from storage.index.writer import IndexedBlock, IndexWatermark
from storage.io.failpoints import reach

log = structlog.get_logger(__name__)

REMEMBERED_AT_START = 50_000
"""Blocks whose transactions are taken into memory at start if the index has not reached them."""
TRANSACTIONS_PER_SCRUB = 5_000
"""Compared with the index in one turn of `maintain`, a block counted as one more: new blocks wait meanwhile."""
BLOCKS_PER_TRANSACTION = 256
"""Blocks indexed in one SQL transaction."""


class IndexFollower:
    """Owns the index, how far it reaches, and the places of transactions in the blocks between there and the head.

    The writer thread remembers and rewinds; one thread at a time indexes; `storage.index.lookup` reads.
    ``reopen`` deletes a damaged index and opens an empty one; it is then filled again from the blocks.
    """

    def __init__(self, index: Index, chain: ChainData, reopen: Callable[[], Index]) -> None:
        self._index = index
        self._chain = chain
        self._reopen = reopen
        self._places: dict[Hash32, tuple[int, int]] = {}
        self._lock = threading.Lock()
        mark = index.watermark()
        self.reached = mark.block if mark is not None else -1
        """Last indexed block; -1 if none."""
        self._remembered = self.reached + 1
        """Blocks from here on are in memory until they are indexed; those between the index and here are searched."""
        self._scrubbed = -1

    @property
    def index(self) -> Index:
        """The open index; another one after damage."""
        return self._index

    @property
    def is_rebuilding(self) -> bool:
        """Whether there are blocks that neither the index nor the memory has: those have to be searched."""
        return self.reached + 1 < self._remembered

    def remembered_place(self, transaction_hash: Hash32) -> tuple[int, int] | None:
        """(block, index) of a transaction in a block that is not indexed yet, from memory."""
        return self._places.get(transaction_hash)

    def rewind_to_chain(self) -> None:
        """Forget index rows of blocks that the chain does not have, or has with another hash. At start only."""
        mark = self._index.watermark()
        if mark is not None and self._chain.hash_of(mark.block) != mark.block_hash:
            log.warning("the index is of other blocks: building it again", block=mark.block)
            self._index.rewind(None)
            self.reached = -1
        self._places.clear()  # replay has put indexed blocks into it
        self._remembered = max(self.reached + 1, self._chain.head + 1 - REMEMBERED_AT_START)
        for number in range(self._remembered, self._chain.head + 1):
            block = self._chain.block(number)
            assert block is not None
            self.remember(block)

    def remember(self, block: Block) -> None:
        """A block joined the chain. Writer thread."""
        number = block.header.number
        for index, transaction in enumerate(block.transactions):
            self._places[transaction.hash] = (number, index)

    def catch_up(self, head: Callable[[], tuple[int, int]]) -> int:
        """Index all blocks up to ``head()``, a number and its LSN; returns how many.

        A damaged index is deleted and built again. A `rewind` may come in between. Raises `IndexLocked`, `StorageFull`.
        """
        indexed = 0
        while True:
            with self._lock:
                try:
                    more = self._write_some(*head())
                except IndexDamaged as error:
                    self._begin_again(error)
                    more = self._write_some(*head())
            indexed += more
            if not more:
                return indexed

    def rewind(self, number: int, lsn: int, take_out: Callable[[], None]) -> None:
        """Forget all blocks after ``number`` and let ``take_out`` take them out of the chain. Writer thread."""
        with self._lock:
            kept = self._kept_by_rewind(number, lsn)
            take_out()
            for transaction_hash, (block, _) in self._places.copy().items():
                if block > number:
                    self._places.pop(transaction_hash, None)
            self._remembered = min(self._remembered, number + 1)
            self._scrubbed = min(self._scrubbed, number)
            if kept < self.reached:
                block_hash = self._chain.hash_of(kept)
                self.reached = kept
                try:
                    self._index.rewind(None if block_hash is None else IndexWatermark(lsn, kept, block_hash))
                except IndexDamaged as error:
                    self._begin_again_later(error)
                except (IndexLocked, StorageFull) as error:  # the next blocks written replace these rows
                    log.warning("the index cannot be rewound now", error=str(error))

    def _kept_by_rewind(self, number: int, lsn: int) -> int:
        """Last block whose rows stay. A replay may find an index of an older chain, or one later than this rewind."""
        try:
            mark = self._index.watermark()
        except IndexDamaged as error:
            self._begin_again_later(error)
            return -1
        except IndexLocked:
            return min(self.reached, number)
        if mark is None or mark.block <= number or mark.lsn > lsn:
            return self.reached
        return number if self._chain.hash_of(mark.block) == mark.block_hash else -1

    def write_with(self, work: Callable[[Index], int]) -> int:
        """Have another writer write into the index; found damaged, it is deleted and ``work`` done on an empty one."""
        with self._lock:
            try:
                return work(self._index)
            except IndexDamaged as error:
                self._begin_again(error)
                return work(self._index)

    def _begin_again(self, error: IndexDamaged) -> None:
        """Delete the index; until it is built again, lookups go through the blocks.

        Raises `IndexLocked` while another program has it: then all that was done is to believe it no more.
        """
        log.error("the index is damaged: building it again", error=str(error))
        self._remembered = max(self._remembered, self.reached + 1)
        self.reached = -1
        self._index.close()
        self._index = self._reopen()

    def _begin_again_later(self, error: IndexDamaged) -> None:
        """As `_begin_again`; if that cannot be done now, the next turn of the index job does it. Writer thread."""
        try:
            self._begin_again(error)
        except (IndexLocked, StorageFull) as reason:
            log.warning("the index cannot be built again now", error=str(reason))

    def check_files(self) -> str:
        """Build the index again if its files were removed or replaced; which one, or empty. Raises `IndexLocked`."""
        with self._lock:
            moved = self._index.moved
            if moved:
                self._begin_again(IndexDamaged(f"{moved} was removed or replaced"))
        return moved

    def _write_some(self, head: int, lsn: int) -> int:
        """Index the next blocks up to ``head``, as many as one transaction takes; returns how many."""
        first, last = self.reached + 1, min(head, self.reached + BLOCKS_PER_TRANSACTION)
        if last < first:
            return 0
        blocks = [self._indexed(number) for number in range(first, last + 1)]
        reach("index.write.before")
        self._index.write(blocks, lsn)
        reach("index.write.after")
        self.reached = last
        for item in blocks:
            for transaction in item.block.transactions:
                self._places.pop(transaction.hash, None)
        return len(blocks)

    def _indexed(self, number: int) -> IndexedBlock:
        block, receipts = self._chain.block(number), self._chain.receipts(number)
        assert block is not None
        assert receipts is not None
        return IndexedBlock(block, receipts, self._chain.senders(number))

    def maintain(self) -> str:
        """Check the database and fold its own log into it."""
        with self._lock:
            try:
                self._index.check(thorough=False)
                self._index.make_durable()
                checked = self._scrub()
            except IndexDamaged as error:
                self._begin_again(error)
                return "damaged: it is built again"
        return f"checked {checked} blocks against the chain, durable up to block {self.reached}"

    def _scrub(self) -> int:
        """Compare the rows of some blocks, from where the last scrub ended, with the blocks. Raises `IndexDamaged`."""
        first = self._scrubbed + 1 if self._scrubbed < self.reached else 0
        last, left = first - 1, TRANSACTIONS_PER_SCRUB
        for number in range(first, self.reached + 1):
            if left <= 0:
                break
            block = self._chain.block(number)
            assert block is not None
            last, left = number, left - 1 - len(block.transactions)
            for index, transaction in enumerate(block.transactions):
                found = self._index.transaction(transaction.hash)
                if found is None or (found.block, found.tx_index) != (number, index):
                    raise IndexDamaged(f"index: transaction {index} of block {number} is not where it should be")
            positions, _ = self._index.logs(LogFilter(number, number), 10_000)
            expected = len(list(islice(logs_of(self._chain, number), 10_000)))
            if [position.log_index for position in positions] != list(range(expected)):
                raise IndexDamaged(f"index: block {number} has {expected} logs, the index {len(positions)}")
        self._scrubbed = last
        return last + 1 - first

    def status(self) -> dict[str, Any]:
        """How far the index is."""
        return {
            "block": self.reached,
            "indexing": self.reached < self._chain.head,
            "inMemory": len(self._places),
        }

    def close(self) -> None:
        """Close the database."""
        self._index.close()
