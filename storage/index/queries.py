"""Lookups in the index. Answers are positions, whose content is read from the chain data."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from sqlalchemy import ColumnElement, Connection, and_, or_, select

from chain.types import Address, Hash32
from storage.errors import IndexDamaged
from storage.index.models import contracts, logs, transactions

LOGS_MAX = 10_000
"""Log positions one query returns at most; a cursor continues."""
ADDRESSES_MAX = 1_000
TOPIC_ALTERNATIVES_MAX = 1_000
TOPIC_POSITIONS = 4

_TOPICS = (logs.c.topic0, logs.c.topic1, logs.c.topic2, logs.c.topic3)


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


def find_transaction(connection: Connection, tx_hash: Hash32) -> TransactionPosition | None:
    """Position of a transaction, None if it is not indexed."""
    query = select(transactions.c.block, transactions.c.tx_index).where(transactions.c.hash == tx_hash)
    row = connection.execute(query).first()
    return None if row is None else TransactionPosition(*_numbers(row))


def find_contract(connection: Connection, address: Address) -> ContractOrigin | None:
    """Latest creation of a contract, None if it is not indexed."""
    query = (
        select(contracts.c.block, contracts.c.tx_hash, contracts.c.creator)
        .where(contracts.c.address == address)
        .order_by(contracts.c.block.desc())
        .limit(1)
    )
    row = connection.execute(query).first()
    return None if row is None else ContractOrigin(row.block, Hash32(row.tx_hash), Address(row.creator))


def find_logs(
    connection: Connection, wanted: LogFilter, limit: int = LOGS_MAX, after: LogCoordinates | None = None
) -> tuple[list[LogCoordinates], LogCoordinates | None]:
    """Positions of matching logs in chain order, and ``after`` for the next page; None: that was all."""
    if not 0 < limit <= LOGS_MAX:
        raise ValueError(f"a limit of {limit}; it is at least 1 and at most {LOGS_MAX}")
    query = (
        select(logs.c.block, logs.c.log_index, logs.c.tx_index)
        .where(*_conditions(wanted, after))
        .order_by(logs.c.block, logs.c.log_index)
        .limit(limit + 1)
    )
    found = [LogCoordinates(*_numbers(row)) for row in connection.execute(query)]
    if len(found) > limit:
        return found[:limit], found[limit - 1]
    return found, None


def _numbers(row: Iterable[object]) -> Iterator[int]:
    """Columns that must be numbers; a damaged SQLite file may hold anything."""
    for value in row:
        if not isinstance(value, int):
            raise IndexDamaged(f"index: {value!r} where a number should be"[:200])
        yield value


def _conditions(wanted: LogFilter, after: LogCoordinates | None) -> list[ColumnElement[bool]]:
    conditions: list[ColumnElement[bool]] = [logs.c.block.between(wanted.first_block, wanted.last_block)]
    if after is not None:
        conditions.append(
            or_(
                logs.c.block > after.block,
                and_(logs.c.block == after.block, logs.c.log_index > after.log_index),
            )
        )
        conditions.append(logs.c.block >= after.block)  # lets the index seek
    if wanted.addresses:
        conditions.append(logs.c.address.in_(sorted(set(wanted.addresses))))
    for column, alternatives in zip(_TOPICS, wanted.topics, strict=False):
        if alternatives is not None:
            conditions.append(column.in_(sorted(set(alternatives))))
        else:
            conditions.append(column.is_not(None))
    return conditions
