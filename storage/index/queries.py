"""Lookups in the index. Answers are positions, whose content is read from the chain data.

All that is read of the index is read here and in `storage.index.sessions`, in plain SQL with named parameters.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from sqlite3 import Connection
from typing import Any, NamedTuple

from chain.types import Address, Hash32
from storage.errors import IndexDamaged
from storage.index.rows import IndexWatermark

LOGS_MAX = 10_000
"""Log positions one query returns at most; a cursor continues."""
ADDRESSES_MAX = 1_000
TOPIC_ALTERNATIVES_MAX = 1_000
TOPIC_POSITIONS = 4

TABLES = ("transactions", "logs", "contracts", "watermark", "sessions", "session_tags", "session_watermark")


class TransactionPosition(NamedTuple):
    """Where a transaction is."""

    block: int
    tx_index: int


class LogCoordinates(NamedTuple):
    """Where a log is; positions sort in chain order."""

    block: int
    log_index: int
    tx_index: int


class ContractOrigin(NamedTuple):
    """Who created a contract, where."""

    block: int
    tx_hash: Hash32
    creator: Address


@dataclass(frozen=True, slots=True)
class LogFilter:
    """Which logs: those of any of ``addresses`` (none: all) whose topics match position by position.

    A position is None (anything) or alternatives. As in geth, a log needs at least as many topics as the
    filter has positions. Raises ValueError when a limit is exceeded.
    """

    first_block: int
    last_block: int
    addresses: Collection[Address] = ()
    topics: Sequence[Collection[Hash32] | None] = ()

    def __post_init__(self) -> None:
        if len(self.addresses) > ADDRESSES_MAX:
            raise ValueError(f"{len(self.addresses)} addresses; the limit is {ADDRESSES_MAX}")
        if len(self.topics) > TOPIC_POSITIONS:
            raise ValueError(f"{len(self.topics)} topic positions; logs have {TOPIC_POSITIONS}")
        if any(len(alternatives or ()) > TOPIC_ALTERNATIVES_MAX for alternatives in self.topics):
            raise ValueError(f"too many alternatives for a topic; the limit is {TOPIC_ALTERNATIVES_MAX}")


def revisions_of(migrations: Path) -> list[str]:
    """Schema revisions this program knows, the newest last: files are named by their revision, in ascending order."""
    return sorted(path.name.partition("_")[0] for path in migrations.glob("versions/*_*.py"))


def revision(connection: Connection) -> str | None:
    """Revision of the schema in the database; None if it has none."""
    if not _has_table(connection, "alembic_version"):
        return None
    found = connection.execute("SELECT version_num FROM alembic_version").fetchone()
    return None if found is None else str(found[0])


def _has_table(connection: Connection, name: str) -> bool:
    found = connection.execute("SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = :name", {"name": name})
    return found.fetchone() is not None


def require_tables(connection: Connection) -> None:
    """Raise `IndexDamaged` unless all tables are there: a revision number without its tables is damage."""
    for table in TABLES:
        connection.execute(f'SELECT 1 FROM "{table}" LIMIT 1').fetchone()  # noqa: S608


def watermark(connection: Connection) -> IndexWatermark | None:
    """The watermark, None in an index that is empty or has no tables yet."""
    if not _has_table(connection, "watermark"):
        return None
    row = connection.execute("SELECT lsn, block, block_hash FROM watermark").fetchone()
    if row is None:
        return None
    lsn, block = _numbers(row[:2])
    if not isinstance(row[2], bytes):
        raise IndexDamaged("index: its watermark names no block")
    return IndexWatermark(lsn, block, Hash32(row[2]))


def find_transaction(connection: Connection, tx_hash: Hash32) -> TransactionPosition | None:
    """Position of a transaction, None if it is not indexed."""
    query = "SELECT block, tx_index FROM transactions WHERE hash = :hash"
    row = connection.execute(query, {"hash": tx_hash}).fetchone()
    return None if row is None else TransactionPosition(*_numbers(row))


def find_contract(connection: Connection, address: Address) -> ContractOrigin | None:
    """Latest creation of a contract, None if it is not indexed."""
    query = "SELECT block, tx_hash, creator FROM contracts WHERE address = :address ORDER BY block DESC LIMIT 1"
    row = connection.execute(query, {"address": address}).fetchone()
    return None if row is None else ContractOrigin(row[0], Hash32(row[1]), Address(row[2]))


def find_logs(
    connection: Connection, wanted: LogFilter, limit: int = LOGS_MAX, after: LogCoordinates | None = None
) -> tuple[list[LogCoordinates], LogCoordinates | None]:
    """Positions of matching logs in chain order, and ``after`` for the next page; None: that was all."""
    if not 0 < limit <= LOGS_MAX:
        raise ValueError(f"a limit of {limit}; it is at least 1 and at most {LOGS_MAX}")
    values: dict[str, Any] = {"first": wanted.first_block, "last": wanted.last_block, "limit": limit + 1}
    conditions = ["block BETWEEN :first AND :last"]
    if after is not None:
        conditions.append("(block, log_index) > (:block, :log_index)")
        values |= {"block": after.block, "log_index": after.log_index}
    if wanted.addresses:
        conditions.append(f"address {_any_of('address', wanted.addresses, values)}")
    for position, alternatives in enumerate(wanted.topics):
        column = f"topic{position}"
        is_one = "IS NOT NULL" if alternatives is None else _any_of(column, alternatives, values)
        conditions.append(f"{column} {is_one}")
    query = f"SELECT block, log_index, tx_index FROM logs WHERE {' AND '.join(conditions)}"  # noqa: S608
    rows = connection.execute(f"{query} ORDER BY block, log_index LIMIT :limit", values)
    found = [LogCoordinates(*_numbers(row)) for row in rows]
    if len(found) > limit:
        return found[:limit], found[limit - 1]
    return found, None


def _any_of(name: str, alternatives: Iterable[bytes], values: dict[str, Any]) -> str:
    """The condition that a column has one of these values, which are added to the statement's."""
    named = {f"{name}_{number}": value for number, value in enumerate(sorted(set(alternatives)))}
    values |= named
    return f"IN ({', '.join(f':{key}' for key in named)})"


def _numbers(row: Iterable[object]) -> Iterator[int]:
    """Columns that must be numbers; a damaged SQLite file may hold anything."""
    for value in row:
        if not isinstance(value, int):
            raise IndexDamaged(f"index: {value!r} where a number should be"[:200])
        yield value
