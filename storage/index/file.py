"""Read connections to the index's SQLite file. The schema and all rows are written by a `RowWriter`."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from queue import LifoQueue

from chain.brief import NotInMemory, before_long_work
from storage.errors import IndexDamaged, IndexLocked
from storage.index.faults import meant
from storage.io.failpoints import reach
from storage.io.holders import Identity, holder_of, identity_of, is_locked

BUSY_TIMEOUT_MS = 5_000
READERS_MAX = 8
CACHE_KIB = 2_048
"""SQLite's page cache for each connection; readers forget theirs with every commit, and the system keeps the pages."""
SUFFIXES = ("", "-wal", "-shm")


class IndexFile:
    """A pool of at most `READERS_MAX` connections, opened on demand and kept until `close`. Any thread."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._files: dict[Path, Identity] = {}
        self._free: LifoQueue[tuple[int, sqlite3.Connection] | None] = LifoQueue()
        self._anchor: sqlite3.Connection | None = None
        """Not used for queries: while it is open, SQLite does not delete its -wal and -shm files."""
        self._era = 0
        """Incremented by `close`: a connection of an earlier era is closed when it is returned."""
        for _ in range(READERS_MAX):
            self._free.put(None)

    @property
    def exists(self) -> bool:
        """Whether the database file is there."""
        return self.path.exists()

    @property
    def moved(self) -> str:
        """Path of a file that was removed or replaced since `remember`; empty if all are in place."""
        return next((str(path) for path, found in self._files.items() if identity_of(path) != found), "")

    def remember(self) -> None:
        """Record which files are there now, for `moved`."""
        if self._anchor is None:
            self._anchor = self._connect()
            self._anchor.execute("SELECT 1 FROM sqlite_master").fetchone()
        paths = [self.path.with_name(self.path.name + suffix) for suffix in SUFFIXES]
        self._files = {path: found for path in paths if (found := identity_of(path)) is not None}

    @contextmanager
    def reading(self) -> Iterator[sqlite3.Connection]:
        """Lend a connection to one thread. SQLite's errors are translated as in `storage.index.faults`."""
        before_long_work(NotInMemory)
        found = self._free.get()
        era, connection = found or (self._era, None)
        kept = False
        try:
            with meant():
                connection = connection or self._connect()
                yield connection
                kept = era == self._era
        finally:
            if connection is not None and not kept:
                connection.close()
            self._free.put((era, connection) if connection is not None and kept else None)

    def _connect(self) -> sqlite3.Connection:
        if not self.path.exists():
            raise IndexDamaged(f"index: {self.path} is gone")
        address = f"{self.path.absolute().as_uri()}?mode=rw"  # rw: do not create the file if it has just been removed
        connection = sqlite3.connect(address, uri=True, isolation_level=None, check_same_thread=False)
        try:
            for pragma in (f"busy_timeout={BUSY_TIMEOUT_MS}", f"cache_size=-{CACHE_KIB}", "trusted_schema=OFF"):
                connection.execute(f"PRAGMA {pragma}")
        except BaseException:
            connection.close()
            raise
        return connection

    def destroy(self) -> None:
        """Close the connections and delete the files. Raises `IndexLocked` if another process has them open."""
        self.close()
        destroy(self.path)

    def close(self) -> None:
        """Close all idle connections now, and those in use when they are returned."""
        self._era += 1
        self._files = {}
        if self._anchor is not None:
            self._anchor.close()
            self._anchor = None
        for found in [self._free.get() for _ in range(self._free.qsize())]:
            if found is not None:
                found[1].close()
            self._free.put(None)


def refuse_if_held(path: Path) -> None:
    """Raise `IndexLocked` if another process has a lock on SQLite's files. This one must have closed them."""
    for file in (path, path.with_name(f"{path.name}-shm")):
        if is_locked(file):
            raise IndexLocked(f"{file} is in use by {holder_of(file.stat())}")


def destroy(path: Path) -> None:
    """Remove SQLite's files, which must be closed. Raises `IndexLocked` if another process has them open."""
    refuse_if_held(path)
    reach("index.destroy")
    for suffix in ("-wal", "-shm", "-journal", ""):
        path.with_name(path.name + suffix).unlink(missing_ok=True)
