"""Event streams: the chain read forward from a cursor, waiting at its head.

There are no queues to overflow: a slow reader is simply further behind, and resuming after a lost connection
is the same thing as reading on. What is sent is durable, so a cursor never points at something that could
vanish, unless a development call brings the chain back: the stream goes on from there with the blocks that follow.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Hashable, Sequence
from typing import Any, Protocol

from chain.blocks import Header
from chain.types import Address, Hash32
from node.api.chain import ChainReader
from node.api.types import LogPosition
from storage.blocks.logs import FoundLog, LogQuery

PAGE_LOGS = 1000
PAGE_BLOCKS = 256
END_OF_BLOCK = 2**62
LOOKED_AT_GAS = 200_000
"""A block that used no more is looked through on the event loop. A log takes 375 at least, so it has 500 at most."""


class Reads(Protocol):
    """Runs reads (`node.rpc.service.RpcService`)."""

    async def read(self, job: Callable[[], Any]) -> Any:
        """Its value, from a reader thread."""

    async def read_soon(self, job: Callable[[], Any], kind: Hashable) -> Any:
        """Its value, at once if it is short, else from a reader thread."""


class RewindCursor:
    """The rewinds of the chain that a stream has already handled."""

    def __init__(self, chain: ChainReader) -> None:
        self._chain = chain
        self.seen = chain.rewinds().count

    def target(self) -> int | None:
        """The lowest block that the chain was rewound to since the last call, None if it was not."""
        self.seen, lowest = self._chain.rewinds().since(self.seen)
        return lowest


async def head_stream(chain: ChainReader, reads: Reads, cursor: LogPosition | None) -> AsyncIterator[list[Header]]:
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
            yield [chain.head()] if chain.head().number == head else await reads.read(read)
        else:
            yield await reads.read(read)
        following = last + 1


async def log_stream(
    chain: ChainReader,
    reads: Reads,
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
        entries = list(await _logs(chain, reads, query))
        if len(entries) == PAGE_LOGS:
            position = LogPosition(entries[-1].block_number, entries[-1].log_index)
        else:
            position = LogPosition(last, END_OF_BLOCK)
        if entries:
            yield entries


async def _logs(chain: ChainReader, reads: Reads, query: LogQuery) -> Sequence[FoundLog]:
    """The logs asked for; those of a small new block need no thread."""

    def find() -> Sequence[FoundLog]:
        return chain.logs(query)

    newest = chain.head()
    if query.from_block == query.to_block == newest.number and newest.gas_used <= LOOKED_AT_GAS:
        found: Sequence[FoundLog] = await reads.read_soon(find, "logs of a new block")
        return found
    return await reads.read(find)  # type: ignore[no-any-return]
