"""Everything that grows in memory, with its size and its limit, for ``zvmd status``."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from node.engine.committer import INBOX_MAX, OVERLAY_BYTES_MAX, Committer
from node.engine.pool import Pool
from storage.amendments import SNAPSHOT_POOLS_MAX, SNAPSHOTS_MAX
from storage.blocks.chaindata import HEADERS_CACHED, RECEIPTS_CACHED, TRANSACTIONS_CACHED
from storage.idempotency import ANSWERS_MAX
from storage.index.engine import CACHE_KIB, READERS_MAX
from storage.io.kv.port import BLOCK_CACHE_BYTES, WRITE_BUFFER_BYTES
from storage.state.reader import ACCOUNT_CACHE_ENTRIES, CODE_CACHE_BYTES, SLOT_CACHE_ENTRIES
from storage.store import Store
from storage.wal.writer import MAX_PENDING

Usage = tuple[int | None, int]
"""The current size, None if it is not measured, and the limit."""


def limit_usage(
    store: Store, pool: Pool, committer: Committer, others: Callable[[], Mapping[str, Usage]] = dict
) -> dict[str, dict[str, Any]]:
    """``used`` and ``max`` by name, including ``others``; docs/operations.md says what happens at each limit."""
    applied = store.applied
    headers, transactions, receipts = store.chain.cached()
    accounts, slots, code = store.state.cached()
    table: dict[str, Usage] = {
        "inbox requests": (committer.waiting, INBOX_MAX),
        "pool transactions": (len(pool), pool.transactions_max),
        "overlay bytes": (store.state.overlay_bytes, OVERLAY_BYTES_MAX),
        "unwritten log bytes": (store.wal.pending_bytes, MAX_PENDING),
        "answers kept": (len(applied.answers), ANSWERS_MAX),
        "snapshots": (len(applied.snapshots), SNAPSHOTS_MAX),
        "snapshot transactions": (applied.transactions_in_snapshots(), SNAPSHOT_POOLS_MAX),
        "cached headers": (headers, HEADERS_CACHED),
        "cached transactions": (transactions, TRANSACTIONS_CACHED),
        "cached receipts": (receipts, RECEIPTS_CACHED),
        "cached accounts": (accounts, 2 * ACCOUNT_CACHE_ENTRIES),
        "cached slots": (slots, 2 * SLOT_CACHE_ENTRIES),
        "cached code bytes": (code, CODE_CACHE_BYTES),
        "state store bytes": (None, BLOCK_CACHE_BYTES + 2 * WRITE_BUFFER_BYTES),
        "sqlite bytes": (None, (READERS_MAX + 1) * CACHE_KIB * 1024),
        **others(),
    }
    return {name: {"used": used, "max": most} for name, (used, most) in table.items()}
