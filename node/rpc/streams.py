"""Event streams: the chain read forward from a cursor, waiting at its head.

There are no queues to overflow: a slow reader is simply further behind, and resuming after a lost connection
is the same thing as reading on. What is sent is durable, so a cursor never points at something that could
vanish, unless a development call brings the chain back: the stream goes on from there with the blocks that follow.
"""

from __future__ import annotations

from collections.abc import AsyncIterator

from chain.blocks import Header
from chain.types import Address, Hash32
from node.api.chain import ChainReader
from node.api.types import LogPosition
from node.rpc.readers import Readers
from storage.blocks.logs import FoundLog, LogQuery

PAGE_LOGS = 1000
PAGE_BLOCKS = 256
END_OF_BLOCK = 2**62


class RewindCursor:
    """The rewinds of the chain that a stream has already handled."""

    def __init__(self, chain: ChainReader) -> None:
        self._chain = chain
        self.seen = chain.rewinds().count

    def target(self) -> int | None:
        """The lowest block that the chain was rewound to since the last call, None if it was not."""
        self.seen, lowest = self._chain.rewinds().since(self.seen)
        return lowest


async def head_stream(chain: ChainReader, readers: Readers, cursor: LogPosition | None) -> AsyncIterator[list[Header]]:
    """Headers after the cursor, without an end; without a cursor those after the current head."""
    following = (cursor.block_number if cursor else chain.head().number) + 1
    rewinds = RewindCursor(chain)
    while True:
        head = await chain.wait_for_block(following, rewinds.seen)
        if (target := rewinds.target()) is not None:
            following = min(following, target + 1)
        if head < following:
            continue
        last = min(head, following + PAGE_BLOCKS - 1)

        def read(first: int = following, last: int = last) -> list[Header]:
            found = [chain.header(number) for number in range(first, last + 1)]
            return [header for header in found if header is not None]

        if last == head == following:
            yield [chain.head()] if chain.head().number == head else await readers.run(read)
        else:
            yield await readers.run(read)
        following = last + 1


async def log_stream(
    chain: ChainReader,
    readers: Readers,
    addresses: frozenset[Address],
    topics: tuple[frozenset[Hash32], ...],
    cursor: LogPosition | None,
) -> AsyncIterator[list[FoundLog]]:
    """Matching logs after the cursor, without an end; without a cursor those of blocks after the current head."""
    position = cursor or LogPosition(chain.head().number, END_OF_BLOCK)
    rewinds = RewindCursor(chain)
    while True:
        whole = position.log_index == END_OF_BLOCK
        first = position.block_number + 1 if whole else position.block_number
        head = await chain.wait_for_block(first, rewinds.seen)
        target = rewinds.target()
        if target is not None and target < position.block_number:
            position = LogPosition(target, END_OF_BLOCK)
        if target is not None or head < first:
            continue
        last = min(head, first + PAGE_BLOCKS - 1)
        query = LogQuery(first, last, addresses, topics, after=None if whole else position, limit=PAGE_LOGS)
        entries = list(await readers.run(lambda query=query: chain.logs(query)))  # type: ignore[misc]
        if len(entries) == PAGE_LOGS:
            position = LogPosition(entries[-1].block_number, entries[-1].log_index)
        else:
            position = LogPosition(last, END_OF_BLOCK)
        if entries:
            yield entries
