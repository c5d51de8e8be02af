"""The writer's connection, with real transactions: SQLite's driver would commit DDL by itself."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sqlalchemy import URL, Connection, Engine, create_engine, event
from sqlalchemy.exc import DatabaseError

from storage.index.faults import meaning_of
from storage.index.file import BUSY_TIMEOUT_MS, CACHE_KIB

WAL_PAGES_BEFORE_CHECKPOINT = 2_000


def _configure_sqlite(connection: Any, _record: Any) -> None:
    connection.isolation_level = None  # the driver must not begin or commit anything by itself
    cursor = connection.cursor()
    for pragma in (
        "journal_mode=WAL",
        "synchronous=NORMAL",
        "foreign_keys=ON",
        "trusted_schema=OFF",
        f"busy_timeout={BUSY_TIMEOUT_MS}",
        f"cache_size=-{CACHE_KIB}",
        f"wal_autocheckpoint={WAL_PAGES_BEFORE_CHECKPOINT}",
        "temp_store=MEMORY",
    ):
        cursor.execute(f"PRAGMA {pragma}")
    cursor.close()


def _begin_immediate(connection: Connection) -> None:
    connection.exec_driver_sql("BEGIN IMMEDIATE")


def open_engine(path: Path) -> Engine:
    """An engine with one connection to a SQLite file, for one thread at a time. Connects lazily."""
    url = URL.create("sqlite", database=str(path))  # the path may hold what has a meaning in a URL
    engine = create_engine(url, pool_size=1, max_overflow=0, connect_args={"check_same_thread": False})
    event.listen(engine, "connect", _configure_sqlite)
    event.listen(engine, "begin", _begin_immediate)
    return engine


@contextmanager
def damage_reported() -> Iterator[None]:
    """Translate SQLAlchemy's errors raised inside the block, as `storage.index.faults` does for SQLite's."""
    try:
        yield
    except (DatabaseError, sqlite3.DatabaseError) as error:  # the driver's own come from setting a connection up
        raise meaning_of(getattr(error, "orig", None) or error) from error
    except UnicodeError as error:  # text of a damaged file, even in its error messages
        raise meaning_of(error) from error
