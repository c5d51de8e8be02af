"""Lets coroutines wait for published blocks, log records and pool transactions."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable

from node.api.types import PendingTransaction
from node.engine.arrivals import Arrivals
from node.engine.loop_calls import LoopCalls
from node.engine.pool import PooledTransaction
from storage.store import Store


class Publications:
    """`published` and `admitted` are called on the committer thread; everything else is for one event loop.

    Owns the waiters; the store owns what is published.
    """

    def __init__(self, store: Store, also: Callable[[], None] = lambda: None) -> None:
        """``also`` is called on the committer thread too, after each publication."""
        self._store = store
        self._also = also
        self._lsn = store.last_lsn
        self.calls = LoopCalls()
        """What the committer thread has for the loop: `LoopCalls.wake` after each group."""
        self._is_followed = False
        """Whether somebody has waited on the loop."""
        self._happened = asyncio.Event()
        self._arrivals = Arrivals()

    @property
    def lsn(self) -> int:
        """Everything in the log up to here is durable and seen by readers. Any thread."""
        return self._lsn

    def published(self, lsn: int) -> None:
        """Readers see everything up to this record: let the loop wake the waiters."""
        self._lsn = lsn
        self._also()
        if self._is_followed:
            self.calls.add(self._wake)

    def _wake(self) -> None:
        self._happened.set()
        self._happened = asyncio.Event()

    def _follow(self) -> None:
        self.calls.bind()
        self._is_followed = True

    def admitted(self, entries: list[PooledTransaction]) -> None:
        """These transactions entered the pool: notify its followers."""
        if self._arrivals.is_followed:
            arrived = [PendingTransaction(entry.transaction, entry.sender) for entry in entries]
            self.calls.add(self._arrivals.add, arrived)

    def arrivals(self) -> AsyncIterator[list[PendingTransaction]]:
        """Transactions that enter the pool, each when it is durable and before its block is published."""
        self.calls.bind()
        return self._arrivals.follow()

    async def wait_for_lsn(self, lsn: int) -> None:
        """Return once reads see everything up to this record."""
        self._follow()
        while self._lsn < lsn:
            await self._happened.wait()

    async def wait_for_block(self, number: int, rewinds: int | None = None) -> int:
        """Return the head's number once it is at least ``number``, or once the chain has been rewound again."""
        self._follow()
        store = self._store
        while store.head.number < number and (rewinds is None or store.rewinds.count <= rewinds):
            await self._happened.wait()
        return store.head.number
