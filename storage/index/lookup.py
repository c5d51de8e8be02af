"""Lookups that are always up to date: in the index, and in memory or the blocks for what it has not reached yet."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator

from chain.types import Hash32
from storage.blocks.chaindata import ChainData
from storage.blocks.logs import FoundLog, LogQuery, logs_of
from storage.errors import IndexBehind, IndexDamaged, IndexLocked
from storage.index.follower import IndexFollower
from storage.index.queries import LogCoordinates, LogFilter

SEARCH_SECONDS = 2.0
"""Time limit for searching unindexed blocks for one transaction: about 20,000 transactions."""


class IndexLookup:
    """Answers from the index and, behind it, from the blocks. Any thread; changes nothing.

    The index is never believed without asking the chain, and while it is being built again the blocks are searched.
    """

    def __init__(self, follower: IndexFollower, chain: ChainData, clock: Callable[[], float] = time.monotonic) -> None:
        """``clock`` is steady, seconds."""
        self._follower = follower
        self._chain = chain
        self._clock = clock

    def transaction_place(
        self, transaction_hash: Hash32, is_waiting: Callable[[Hash32], bool]
    ) -> tuple[int, int] | None:
        """(block, index) of a transaction of an applied block. Blocks are not searched if it ``is_waiting`` in a pool.

        Any thread. Raises `IndexBehind`.
        """
        follower = self._follower
        place = follower.remembered_place(transaction_hash)
        if place is not None:
            return place
        indexed, believed = follower.reached, True
        try:
            found = follower.indexed_place(transaction_hash)
            if found is not None and self._is_at(transaction_hash, *found):
                return found
            believed = found is None
        except (IndexDamaged, IndexLocked):
            believed = False
        # It may have been indexed, and forgotten here, between the two look-ups; never the other way round.
        place = follower.remembered_place(transaction_hash)
        if place is None and (follower.is_rebuilding or not believed) and not is_waiting(transaction_hash):
            place = self._search(transaction_hash, indexed if believed else -1)
        return place

    def _is_at(self, transaction_hash: Hash32, number: int, index: int) -> bool:
        """Whether the chain agrees with the index. The index is never believed without asking."""
        block = self._chain.block(number)
        transactions = block.transactions if block is not None else ()
        return 0 <= index < len(transactions) and transactions[index].hash == transaction_hash

    def _search(self, transaction_hash: Hash32, indexed: int) -> tuple[int, int] | None:
        """Without an index: newest block first. Slow, right, and only until the index is built again."""
        end = self._clock() + SEARCH_SECONDS
        for number in range(self._chain.head, indexed, -1):
            block = self._chain.block(number)
            for index, transaction in enumerate(block.transactions if block else ()):
                if transaction.hash == transaction_hash:
                    return number, index
            if self._clock() > end:
                where = f"no block from {number} on, and the index has reached block {indexed}"
                raise IndexBehind(f"transaction 0x{transaction_hash.hex()} is in {where}")
        return None

    def logs(self, query: LogQuery) -> list[FoundLog]:
        """Matching logs in chain order, at most ``query.limit``. Any thread."""
        reached = self._follower.reached
        found: list[FoundLog] = []
        if query.from_block <= reached:
            try:
                found = self._indexed_logs(query, min(query.to_block, reached))
            except (IndexDamaged, IndexLocked):
                reached = query.from_block - 1
        for entry in self._unindexed_logs(query, max(query.from_block, reached + 1)):
            if len(found) >= query.limit:
                break
            found.append(entry)
        return found

    def _indexed_logs(self, query: LogQuery, last: int) -> list[FoundLog]:
        wanted = LogFilter(
            query.from_block, last, query.addresses, [alternatives or None for alternatives in query.topics]
        )
        after = LogCoordinates(*query.after, 0) if query.after is not None else None
        positions, _ = self._follower.index.logs(wanted, min(query.limit, 10_000), after)
        found: list[FoundLog] = []
        blocks: dict[int, list[FoundLog]] = {}
        for position in positions:
            if position.block not in blocks:
                blocks = {position.block: list(logs_of(self._chain, position.block))}
            entries = blocks[position.block]
            if not 0 <= position.log_index < len(entries) or not query.matches(entries[position.log_index].log):
                raise IndexDamaged(f"index: block {position.block} has no such log {position.log_index}")
            found.append(entries[position.log_index])
        return found

    def _unindexed_logs(self, query: LogQuery, first: int) -> Iterator[FoundLog]:
        for number in range(first, query.to_block + 1):
            for entry in logs_of(self._chain, number):
                if query.after is not None and (number, entry.log_index) <= query.after:
                    continue
                if query.matches(entry.log):
                    yield entry
