"""Publishes transactions that enter the pool to ``eth_subscribe`` and event streams.

A transaction is published once it is durable and before the block that contains it, with instant sealing too. One
bounded buffer holds the newest for all followers; a follower that falls behind it gets an error and is dropped.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Iterable
from itertools import islice

from node.api.errors import LimitExceeded
from node.api.types import PendingTransaction

KEPT_MAX = 16_384
"""Transactions kept for followers: as many as the pool holds."""
KEPT_BYTES_MAX = 16 * 2**20
"""Bytes of calldata of the kept transactions; the newest one is kept whatever its size."""


class Arrivals:
    """The newest transactions that entered the pool. Event loop only."""

    def __init__(self) -> None:
        self._kept: deque[PendingTransaction] = deque()
        self._kept_bytes = 0
        self._next = 0
        """Arrivals so far."""
        self._followers = 0
        self._arrived = asyncio.Event()

    @property
    def is_followed(self) -> bool:
        """Whether there are followers. Any thread."""
        return self._followers > 0

    def add(self, arrived: Iterable[PendingTransaction]) -> None:
        """Publish transactions that entered the pool, in this order."""
        if not self._followers:
            return
        for item in arrived:
            self._kept.append(item)
            self._kept_bytes += len(item.transaction.data)
            self._next += 1
        while len(self._kept) > KEPT_MAX or (self._kept_bytes > KEPT_BYTES_MAX and len(self._kept) > 1):
            self._kept_bytes -= len(self._kept.popleft().transaction.data)
        self._arrived.set()
        self._arrived = asyncio.Event()

    async def follow(self) -> AsyncIterator[list[PendingTransaction]]:
        """Transactions that arrive after the iteration begins. Raises `LimitExceeded`."""
        self._followers += 1
        try:
            following = self._next
            while True:
                while self._next == following:
                    await self._arrived.wait()
                oldest = self._next - len(self._kept)
                if following < oldest:
                    raise LimitExceeded(f"{oldest - following} transactions were missed; at most {KEPT_MAX} are kept")
                page = list(islice(self._kept, following - oldest, None))
                following = self._next
                yield page
        finally:
            self._followers -= 1
            if not self._followers:
                self._kept.clear()
                self._kept_bytes = 0
