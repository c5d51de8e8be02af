"""Writes the rows of a block range, or of sessions, together with their watermark, in one transaction."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from functools import cache
from typing import Any

from sqlalchemy import Connection, delete, insert, select
from sqlalchemy.dialects import sqlite

from storage.errors import IndexDamaged
from storage.index.models import (
    contracts,
    logs,
    session_tags,
    session_watermark,
    sessions,
    transactions,
    watermark,
)
from storage.index.rows import BlockRows, IndexWatermark
from storage.index.sessions import SessionRow

AT_ONCE = 500
"""Ids in one statement; SQLite takes 32,766 variables."""


def write_blocks(connection: Connection, blocks: Sequence[BlockRows], lsn: int) -> IndexWatermark:
    """Replace all rows from the first of these consecutive blocks on by theirs; the last is the watermark.

    Writing the same blocks again, or other blocks after a rewind, therefore leaves exactly their rows.
    Raises `IndexDamaged` if the blocks leave a gap after the watermark.
    """
    first = blocks[0].number
    for offset, block in enumerate(blocks):
        if block.number != first + offset:
            raise ValueError(f"block {block.number} where {first + offset} should be")
    reached = connection.execute(select(watermark.c.block)).scalar()
    if first > (reached + 1 if reached is not None else 0):
        raise IndexDamaged(f"index: it ends with block {reached}, and block {first} was to follow")
    for table in (transactions, logs, contracts):
        connection.execute(delete(table).where(table.c.block >= first))
    for statement, rows in (
        (_upsert(transactions, "hash"), [row for block in blocks for row in _transaction_rows(block)]),
        (insert(logs), [row for block in blocks for row in _log_rows(block)]),
        (_upsert(contracts, "address", "block"), [row for block in blocks for row in _contract_rows(block)]),
    ):
        if rows:
            connection.execute(statement, rows)
    last = blocks[-1]
    connection.execute(delete(watermark))
    connection.execute(insert(watermark), {"id": 1, "lsn": lsn, "block": last.number, "block_hash": last.hash})
    return IndexWatermark(lsn, last.number, last.hash)


@cache
def _upsert(table: Any, *key: str) -> Any:
    """Insert, later rows replacing those of the same key (a dev chain can include a transaction twice)."""
    statement = sqlite.insert(table)
    changed = {column.name: statement.excluded[column.name] for column in table.c if column.name not in key}
    return statement.on_conflict_do_update(index_elements=list(key), set_=changed)


def _transaction_rows(block: BlockRows) -> list[dict[str, Any]]:
    return [
        {"hash": row.hash, "block": block.number, "tx_index": index, "sender": row.sender, "to": row.to}
        for index, row in enumerate(block.transactions)
    ]


def _log_rows(block: BlockRows) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = []
    for index, row in enumerate(block.logs):
        topic0, topic1, topic2, topic3 = (*row.topics, None, None, None, None)[:4]
        rows.append(
            {
                "block": block.number,
                "log_index": index,
                "tx_index": row.tx_index,
                "address": row.address,
                "topic0": topic0,
                "topic1": topic1,
                "topic2": topic2,
                "topic3": topic3,
            }
        )
    return rows


def _contract_rows(block: BlockRows) -> list[dict[str, Any]]:
    return [
        {"address": row.address, "block": block.number, "tx_hash": row.tx_hash, "creator": row.creator}
        for row in block.contracts
    ]


def write_sessions(
    connection: Connection, rows: Sequence[SessionRow], gone: Sequence[int], lsn: int, *, all_: bool
) -> None:
    """Replace the rows of sessions and delete those gone; ``all_``: also those not among them."""
    if all_:
        connection.execute(delete(session_tags))
        connection.execute(delete(sessions))
    else:
        replaced = [*gone, *(row.id for row in rows)]
        for start in range(0, len(replaced), AT_ONCE):
            ids = replaced[start : start + AT_ONCE]
            connection.execute(delete(session_tags).where(session_tags.c.session.in_(ids)))
            connection.execute(delete(sessions).where(sessions.c.id.in_(ids)))
    if rows:
        connection.execute(insert(sessions), [_values(row) for row in rows])
    tags = [{"tag": tag, "session": row.id} for row in rows for tag in sorted(set(row.tags))]
    if tags:
        connection.execute(insert(session_tags), tags)
    connection.execute(delete(session_watermark))
    connection.execute(insert(session_watermark), {"id": 1, "lsn": lsn})


def _values(row: SessionRow) -> dict[str, Any]:
    values = asdict(row)
    del values["tags"]
    for field in ("code_hash", "contract", "transaction", "halt"):
        values[field] = values[field] or None
    return {**values, "name": row.name.casefold(), "pinned": int(row.pinned)}
