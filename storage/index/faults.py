"""Translates SQLite's errors into errors of the stores: damage, a lock, or the disk."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager

from storage.errors import IndexDamaged, IndexLocked, StorageError, StorageFull, StoragePanic

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


def meaning_of(error: Exception) -> StorageError:
    """The store's error for an error of SQLite: `StoragePanic` or `StorageFull` for the disk, `IndexLocked` for a lock
    held too long, and otherwise `IndexDamaged`.
    """
    message, name = str(error), getattr(error, "sqlite_errorname", "")
    if isinstance(error, sqlite3.OperationalError) and name != _MOVED:
        if name in _FULL_NAMES:
            return StorageFull(f"index: {message}")
        for words, kind in _MEANINGS.items():
            if words in message:
                return kind(f"index: {message}")
    return IndexDamaged(f"index: {message}")


@contextmanager
def meant() -> Iterator[None]:
    """Translate errors raised inside the block."""
    try:
        yield
    except (sqlite3.DatabaseError, UnicodeError) as error:  # text of a damaged file, even in its error messages
        raise meaning_of(error) from error
