"""The index's connections, with real transactions: SQLite's driver would commit DDL by itself."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from sqlalchemy import Connection, Engine, create_engine, event, make_url, text
from sqlalchemy.exc import DatabaseError, OperationalError, ProgrammingError

from storage.errors import IndexDamaged, IndexLocked, StorageError, StorageFull, StoragePanic

BUSY_TIMEOUT_MS = 5_000
READERS_MAX = 8
CACHE_KIB = 2_048
"""SQLite's page cache for each connection; readers forget theirs with every commit, and the system keeps the pages."""
WAL_PAGES_BEFORE_CHECKPOINT = 2_000

_MOVED = "SQLITE_READONLY_DBMOVED"
"""SQLite's results for a file removed or replaced under its connection; the index is rebuilt then."""
_FULL_NAMES = ("SQLITE_FULL", "SQLITE_IOERR_SHMSIZE")
"""The second: no room for a larger file of the memory that connections share."""
_MEANINGS: dict[str, type[StorageError]] = {
    "database is locked": IndexLocked,
    "database table is locked": IndexLocked,
    "database schema is locked": IndexLocked,
    "disk I/O error": StoragePanic,
    "unable to open database file": StoragePanic,
    "readonly database": StoragePanic,
}
"""By what SQLite says."""


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

    A lock that another program holds too long is `IndexLocked`. A server that is away is none of these: those errors
    pass unchanged.
    """
    is_sqlite = engine.dialect.name == "sqlite"
    try:
        yield
    except (
        DatabaseError,
        sqlite3.DatabaseError,
    ) as error:  # the driver's own come from setting a connection up
        cause = getattr(error, "orig", error)
        message, name = str(cause), getattr(cause, "sqlite_errorname", "")
        if isinstance(error, OperationalError | sqlite3.OperationalError) and name != _MOVED:
            if not is_sqlite or message == "interrupted":
                raise
            if name in _FULL_NAMES:
                raise StorageFull(f"index: {message}") from error
            for words, kind in _MEANINGS.items():
                if words in message:
                    raise kind(f"index: {message}") from error
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
