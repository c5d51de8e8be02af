"""Logs in chain order, from the blocks, and queries for them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

from chain.receipts import Log
from chain.types import Address, Hash32
from storage.blocks.chaindata import ChainData


class FoundLog(NamedTuple):
    """A log and where it was emitted."""

    log: Log
    block_number: int
    block_hash: Hash32
    block_timestamp: int
    transaction_hash: Hash32
    transaction_index: int
    log_index: int
    """Counted over the whole block."""


@dataclass(frozen=True, slots=True)
class LogQuery:
    """Logs of a block range, both ends included, in chain order."""

    from_block: int
    to_block: int
    addresses: frozenset[Address] = frozenset()
    """Empty: any."""
    topics: tuple[frozenset[Hash32], ...] = ()
    """By position; an empty set matches anything, but the position must exist."""
    after: tuple[int, int] | None = None
    """Only logs after this (block, log index)."""
    limit: int = 10_000

    def matches(self, entry: Log) -> bool:
        """Whether address and topics fit."""
        if self.addresses and entry.address not in self.addresses:
            return False
        if len(entry.topics) < len(self.topics):
            return False
        return all(not wanted or topic in wanted for wanted, topic in zip(self.topics, entry.topics, strict=False))


def logs_of(chain: ChainData, number: int) -> Iterator[FoundLog]:
    """Every log of a block, in order."""
    block, receipts = chain.block(number), chain.receipts(number)
    if block is None or receipts is None:
        return
    log_index = 0
    for index, (transaction, receipt) in enumerate(zip(block.transactions, receipts, strict=True)):
        for entry in receipt.logs:
            header = block.header
            yield FoundLog(entry, number, header.hash, header.timestamp, transaction.hash, index, log_index)
            log_index += 1
