"""Builds the pending block, which the writer would seal now, for readers.

It is built when it is asked for, by the writer's own steps (`next_environment`, `Pool.executable`, `fill`,
`BlockBuilder`) over a copy of the pool and the newest published state, and kept until the head, the pool, a setting or
the second changes. The writer never waits for it. The block gas limit bounds its cost.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import NamedTuple

from chain.environment import BlockEnvironment
from chain.errors import InvalidTransaction
from chain.forks import ChainConfig
from chain.production import next_environment
from chain.state import EMPTY_ACCOUNT, OverlayState
from chain.types import Address
from node.api.pending_block import PendingBlock
from node.engine.executor import BlockBuilder
from node.engine.filling import fill
from node.engine.pool import Pool, PooledTransaction
from storage.errors import StateUnavailable
from storage.state.reader import StateView
from storage.store import Store
from vm.block import build_header
from vm.interruption import checkpoint
from vm.machine import Machine

LOOKS = 8
"""Attempts to read head, pool and settings without a change in between; the last attempt is used anyway."""


class _Key(NamedTuple):
    """Everything that determines a pending block."""

    environment: BlockEnvironment
    published: tuple[int, int]
    """Of `Store.published`."""
    pool_version: int


class PendingBlocks:
    """Builds the pending block and caches the newest one. Any thread."""

    def __init__(
        self, store: Store, pool: Pool, machine: Machine, config: ChainConfig, now: Callable[[], int]
    ) -> None:
        self._store = store
        self._pool = pool
        self._machine = machine
        self._config = config
        self._now = now
        self._building = threading.Lock()
        self._newest: tuple[_Key, PendingBlock] | None = None

    def newest(self) -> PendingBlock:
        """The block that would be sealed now. Raises the interruption of the thread."""
        known = self._known(self._key())
        if known is not None:
            return known
        with self._building:  # other threads wait for the one that builds, and use its block
            return self._known(self._key()) or self._build()

    def _known(self, key: _Key) -> PendingBlock | None:
        newest = self._newest
        return newest[1] if newest is not None and newest[0] == key else None

    def _key(self) -> _Key:
        store = self._store
        environment = next_environment(self._config, store.head, store.applied.settings, self._now())
        return _Key(environment, store.published, self._pool.version)

    def _build(self) -> PendingBlock:
        for look in range(LOOKS):
            key = self._key()
            head = key.environment.number - 1
            try:
                view, pool = self._store.view(head), self._pool.shown(head)
            except StateUnavailable:  # the chain is being rewound
                if look == LOOKS - 1:
                    raise
                continue
            if self._key() == key:
                break
        built = self._filled(key.environment, view, pool)
        self._newest = key, built
        return built

    def _filled(self, environment: BlockEnvironment, view: StateView, pool: Pool) -> PendingBlock:
        builder = BlockBuilder(self._machine, environment, view, self._store.applied.block_hash)

        def nonce_of(sender: Address) -> int:
            return (view.account(sender) or EMPTY_ACCOUNT).nonce

        def refuse(entry: PooledTransaction, error: Exception) -> None:
            if not isinstance(error, InvalidTransaction):
                checkpoint()  # an interruption ends the build; a bug leaves the transaction out, as the writer does
            pool.remove(entry)

        fill(builder, pool.executable(environment.base_fee, nonce_of), pool.remove, refuse)
        result = builder.finish()
        transactions = tuple(row.transaction for row in builder.rows)
        return PendingBlock(
            environment=environment,
            transactions=transactions,
            senders=tuple(row.sender for row in builder.rows),
            receipts=tuple(result.receipts),
            before=view,
            state=OverlayState(view, result.delta),
            header_with=lambda root: build_header(environment, result, root, transactions),
        )
