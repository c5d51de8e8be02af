"""The index's connections, with real transactions: SQLite's driver would commit DDL by itself."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from sqlalchemy import Connection, Engine, create_engine, event, make_url, text
from sqlalchemy.exc import DatabaseError, OperationalError, ProgrammingError

from storage.errors import IndexDamaged, StorageFull, StoragePanic

BUSY_TIMEOUT_MS = 5_000
READERS_MAX = 8
CACHE_KIB = 2_048
"""SQLite's page cache for each connection; readers forget theirs with every commit, and the system keeps the pages."""
WAL_PAGES_BEFORE_CHECKPOINT = 2_000

_TRANSIENT = ("database is locked", "database table is locked", "interrupted")
_FULL = "database or disk is full"
_FAILING = ("disk I/O error", "unable to open database file", "readonly database")


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


def _begin_reading(connection: Connection) -> None:
    connection.exec_driver_sql("BEGIN")


def open_engines(url: str) -> tuple[Engine, Engine]:
    """One engine for the single writer, one for readers of any thread. Connects lazily."""
    parsed = make_url(url)
    if parsed.get_backend_name() != "sqlite":
        writer = create_engine(parsed, pool_size=1, max_overflow=0)
        return writer, create_engine(parsed, pool_size=READERS_MAX, max_overflow=0)
    arguments = {"check_same_thread": False}
    writer = create_engine(parsed, pool_size=1, max_overflow=0, connect_args=arguments)
    reader = create_engine(parsed, pool_size=READERS_MAX, max_overflow=0, connect_args=arguments)
    for engine, begin in ((writer, _begin_immediate), (reader, _begin_reading)):
        event.listen(engine, "connect", _configure_sqlite)
        event.listen(engine, "begin", begin)
    return writer, reader


@contextmanager
def damage_reported(engine: Engine) -> Iterator[None]:
    """Turn the database's complaints into `IndexDamaged`, or into `StoragePanic` and `StorageFull` for the disk's.

    A server that is away or a lock held too long is neither: those errors pass unchanged.
    """
    is_sqlite = engine.dialect.name == "sqlite"
    try:
        yield
    except (
        DatabaseError,
        sqlite3.DatabaseError,
    ) as error:  # the driver's own come from setting a connection up
        message = str(getattr(error, "orig", error))
        if isinstance(error, OperationalError | sqlite3.OperationalError):
            if not is_sqlite or any(words in message for words in _TRANSIENT):
                raise
            if _FULL in message:
                raise StorageFull(f"index: {message}") from error
            if any(words in message for words in _FAILING):
                raise StoragePanic(f"index: {message}") from error
        if is_sqlite or isinstance(error, ProgrammingError):
            raise IndexDamaged(f"index: {message}") from error
        raise
    except UnicodeError as error:  # text of a damaged SQLite file, even in its error messages
        raise IndexDamaged(f"index: {error}") from error


def size_in_bytes(engine: Engine) -> int:
    """Size of an SQLite database, 0 if it is new or another kind. Raises `IndexDamaged`."""
    if engine.dialect.name != "sqlite":
        return 0
    with damage_reported(engine), engine.connect() as connection:
        pages = connection.execute(text("PRAGMA page_count")).scalar() or 0
        return int(pages) * int(connection.execute(text("PRAGMA page_size")).scalar() or 0)


def check_sqlite(engine: Engine, thorough: bool) -> None:
    """Run SQLite's own check; does nothing on other databases. Raises `IndexDamaged`.

    ``thorough`` compares tables with their indexes as well, at about a second for 100 MB.
    """
    if engine.dialect.name != "sqlite":
        return
    pragma = "integrity_check" if thorough else "quick_check"
    with damage_reported(engine), engine.connect() as connection:
        answer = connection.execute(text(f"PRAGMA {pragma}(1)")).scalar()
    if answer != "ok":
        raise IndexDamaged(f"index: {answer}")
