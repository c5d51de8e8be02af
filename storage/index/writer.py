"""Writes the rows of a block range together with the watermark, in one transaction."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

from sqlalchemy import Connection, delete, insert, select
from sqlalchemy.dialects import postgresql, sqlite

from chain.blocks import Block
from chain.receipts import Receipt
from chain.transactions import sender_of
from chain.types import Address, Hash32
from storage.index.models import contracts, logs, transactions, watermark


@dataclass(frozen=True, slots=True)
class Creation:
    """A contract that a transaction created, directly or deep inside."""

    tx_index: int
    address: Address
    creator: Address


@dataclass(frozen=True, slots=True)
class IndexedBlock:
    """The parts of a block that the index stores."""

    block: Block
    receipts: Sequence[Receipt]
    senders: Sequence[Address] | None = None
    """One a transaction; None: recover them from the signatures."""
    creations: Sequence[Creation] = ()
    """Creations by contracts. Those by transactions are taken from the receipts."""


@dataclass(frozen=True, slots=True)
class IndexWatermark:
    """How far the index reaches."""

    lsn: int
    block: int
    block_hash: Hash32


def read_watermark(connection: Connection) -> IndexWatermark | None:
    """The watermark, None in an empty index."""
    row = connection.execute(select(watermark.c.lsn, watermark.c.block, watermark.c.block_hash)).first()
    return None if row is None else IndexWatermark(row.lsn, row.block, Hash32(row.block_hash))


def write_blocks(connection: Connection, blocks: Sequence[IndexedBlock], lsn: int) -> IndexWatermark:
    """Replace all rows from the first of these consecutive blocks on by theirs; the last is the watermark.

    Writing the same blocks again, or other blocks after a rewind, therefore leaves exactly their rows.
    Raises ValueError if the blocks leave a gap after the watermark.
    """
    first = blocks[0].block.header.number
    for offset, item in enumerate(blocks):
        if item.block.header.number != first + offset:
            raise ValueError(f"block {item.block.header.number} where {first + offset} should be")
    reached = read_watermark(connection)
    if first > (reached.block + 1 if reached is not None else 0):
        raise ValueError(f"block {first} leaves a gap after {reached}")
    delete_from(connection, first)
    transaction_rows: list[dict[str, Any]] = []
    log_rows: list[dict[str, Any]] = []
    contract_rows: list[dict[str, Any]] = []
    for item in blocks:
        senders = item.senders
        if senders is None:
            senders = [sender_of(tx) for tx in item.block.transactions]
        transaction_rows += _transaction_rows(item, senders)
        log_rows += _log_rows(item)
        contract_rows += _contract_rows(item, senders)
    if transaction_rows:
        connection.execute(_upsert(connection.dialect.name, transactions, "hash"), transaction_rows)
    if log_rows:
        connection.execute(insert(logs), log_rows)
    if contract_rows:
        connection.execute(_upsert(connection.dialect.name, contracts, "address", "block"), contract_rows)
    last = blocks[-1].block
    mark = IndexWatermark(lsn, last.header.number, last.hash)
    _set_watermark(connection, mark)
    return mark


def rewind(connection: Connection, mark: IndexWatermark | None) -> None:
    """Delete all rows behind a watermark and set it; None empties the index."""
    delete_from(connection, mark.block + 1 if mark is not None else 0)
    _set_watermark(connection, mark)


def delete_from(connection: Connection, first: int) -> None:
    """Delete the rows of all blocks from ``first`` on."""
    for table in (transactions, logs, contracts):
        connection.execute(delete(table).where(table.c.block >= first))


def _set_watermark(connection: Connection, mark: IndexWatermark | None) -> None:
    connection.execute(delete(watermark))
    if mark is not None:
        row = {"id": 1, "lsn": mark.lsn, "block": mark.block, "block_hash": mark.block_hash}
        connection.execute(insert(watermark), row)


@cache
def _upsert(dialect_name: str, table: Any, *key: str) -> Any:
    """Insert, later rows replacing those of the same key (a dev chain can include a transaction twice)."""
    dialect = postgresql if dialect_name == "postgresql" else sqlite
    statement = dialect.insert(table)
    changed = {column.name: statement.excluded[column.name] for column in table.c if column.name not in key}
    return statement.on_conflict_do_update(index_elements=list(key), set_=changed)


def _transaction_rows(item: IndexedBlock, senders: Sequence[Address]) -> list[dict[str, Any]]:
    number = item.block.header.number
    return [
        {"hash": tx.hash, "block": number, "tx_index": index, "sender": sender, "to": tx.to}
        for index, (tx, sender) in enumerate(zip(item.block.transactions, senders, strict=True))
    ]


def _log_rows(item: IndexedBlock) -> list[dict[str, Any]]:
    number = item.block.header.number
    rows: list[dict[str, Any]] = []
    for tx_index, receipt in enumerate(item.receipts):
        for log in receipt.logs:
            topic0, topic1, topic2, topic3 = (*log.topics, None, None, None, None)[:4]
            rows.append(
                {
                    "block": number,
                    "log_index": len(rows),
                    "tx_index": tx_index,
                    "address": log.address,
                    "topic0": topic0,
                    "topic1": topic1,
                    "topic2": topic2,
                    "topic3": topic3,
                }
            )
    return rows


def _contract_rows(item: IndexedBlock, senders: Sequence[Address]) -> list[dict[str, Any]]:
    number, txs = item.block.header.number, item.block.transactions
    direct = [
        Creation(index, receipt.contract_address, senders[index])
        for index, receipt in enumerate(item.receipts)
        if receipt.contract_address is not None and receipt.status != 0
    ]
    return [
        {
            "address": made.address,
            "block": number,
            "tx_hash": txs[made.tx_index].hash,
            "creator": made.creator,
        }
        for made in (*direct, *item.creations)
    ]
