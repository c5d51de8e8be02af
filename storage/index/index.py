"""The index as the rest of the program sees it: lookups from any thread, block ranges written by one.

Lookups use only Python's `sqlite3`. Writes go to a `RowWriter`: SQLAlchemy in this process (`storage.index.sql`), or a
process of its own in the daemon (`node.indexing`).
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from chain.types import Address, Hash32
from storage.errors import IndexDamaged, IndexLocked, StoreTooNew
from storage.index import queries, sessions
from storage.index.file import IndexFile
from storage.index.queries import ContractOrigin, LogCoordinates, LogFilter, TransactionPosition
from storage.index.rows import BlockRows, IndexWatermark, RowWriter
from storage.index.sessions import SessionFilter, SessionRow

CHECKED_AT_OPEN_BYTES = 16 * 2**20
"""Larger databases are checked by `storage.index.follower.IndexFollower.maintain` only, while the node serves."""
COMPARED_AT_OPEN_BYTES = 4 * 2**20
"""Up to here the check also compares tables with their indexes: it finds a flipped bit in a hash, and takes 40 ms."""


class Index:
    """A rebuildable index over the chain. One thread at a time writes, any thread reads.

    Its rows can be read only once the schema is this program's version: see `is_current` and `prepare`.
    """

    def __init__(self, file: IndexFile, revisions: Sequence[str], writer: RowWriter) -> None:
        """``revisions`` of the schema that this program knows, the newest last."""
        self._file = file
        self._revisions = revisions
        self._writer = writer
        self._is_doomed = False
        """Whether it must be deleted before its next use: another program kept `begin_again` from doing so."""
        self.is_current = False
        """Whether it has the tables of this version."""
        self.incarnation = 0
        """Incremented when the database is deleted: what was known of its rows no longer holds."""

    @classmethod
    def open(cls, path: Path, migrations: Path, writer: RowWriter, *, thorough: bool = False) -> Index:
        """Inspect and check the database. It is created or migrated only when there is something to write.

        A large one is not checked here: a node shall not be late for what only answers lookups, and what it answers is
        compared with the blocks. ``thorough`` runs SQLite's full integrity check, whatever the size.
        Raises `IndexDamaged` (call `begin_again`, then index from block 0), `StoreTooNew`, and `IndexLocked` if
        another program is writing.
        """
        index = cls(IndexFile(path), queries.revisions_of(migrations), writer)
        try:
            index.inspect(check=True, thorough=thorough)
        except BaseException:
            index.close()
            raise
        return index

    def inspect(self, *, check: bool = False, thorough: bool = False) -> None:
        """Read the schema's revision and set `is_current`. Raises as `open`."""
        self.is_current = False
        if not self._file.exists:
            return
        with self._file.reading() as connection:
            connection.execute("BEGIN IMMEDIATE")  # waits `BUSY_TIMEOUT_MS` for another program's transaction
            connection.execute("ROLLBACK")
            if check:
                size = connection.execute("PRAGMA page_count").fetchone()[0]
                size *= connection.execute("PRAGMA page_size").fetchone()[0]
                if thorough or size <= CHECKED_AT_OPEN_BYTES:
                    _check(connection, thorough=thorough or size <= COMPARED_AT_OPEN_BYTES)
            revision = queries.revision(connection)
            if revision is not None and revision not in self._revisions:
                raise StoreTooNew(f"index schema {revision} is not known")
            if revision == self._revisions[-1]:
                queries.require_tables(connection)
                self._file.remember()
                self.is_current = True

    def prepare(self) -> None:
        """Create the database or migrate its schema, unless it is current. Raises as `RowWriter`."""
        if self._is_doomed:
            self.begin_again()
        if not self.is_current:
            self._writer.prepare()
            self.inspect()
            if not self.is_current:
                raise IndexDamaged("index: it has no tables after its migration")

    def begin_again(self) -> None:
        """Delete the database. Raises `IndexLocked` while another program has it open; `prepare` then tries again."""
        self.is_current, self._is_doomed = False, True
        self.incarnation += 1
        self._writer.close()
        self._file.destroy()
        self._is_doomed = False

    def close(self) -> None:
        """Close all connections and the writer."""
        self._file.close()
        self._writer.close()

    @property
    def moved(self) -> str:
        """Path of a file that was removed or replaced since the index was opened; empty if all are in place."""
        return self._file.moved

    # Writing

    def write(self, blocks: Sequence[BlockRows], lsn: int) -> IndexWatermark:
        """Index consecutive blocks in one transaction; rows of these and later blocks are replaced.

        Raises as `RowWriter`, `IndexDamaged` also on a gap.
        """
        return self._writer.write(blocks, lsn)

    def write_sessions(self, rows: Sequence[SessionRow], gone: Sequence[int], lsn: int, *, all_: bool) -> None:
        """Replace the rows of these sessions, delete those of others, in one transaction. Raises as `RowWriter`."""
        self._writer.write_sessions(rows, gone, lsn, all_=all_)

    def make_durable(self) -> None:
        """Sync what was written, and fold SQLite's log into the database. Raises `IndexDamaged`, `IndexLocked`."""
        if self.is_current:
            with self._file.reading() as connection:
                connection.execute("PRAGMA synchronous=FULL")
                if connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()[0]:
                    raise IndexLocked("index: readers keep its write-ahead log busy")

    def abandon(self) -> None:
        """Shut down: a write under way in another process fails at once, and so do later ones. Any thread."""
        self._writer.abandon()

    def writer_status(self) -> dict[str, Any]:
        """State of the writer's process, for ``zvmd status``; empty if it writes in this process. Any thread."""
        return self._writer.status()

    # Reading. All raise `IndexDamaged` and `IndexLocked`.

    def watermark(self) -> IndexWatermark | None:
        """How far the index reaches, None if it is empty. Also readable in an older schema."""
        if not self._file.exists:
            return None
        with self._file.reading() as connection:
            return queries.watermark(connection)

    def session_lsn(self) -> int:
        """The log record up to which sessions were indexed, 0 before the first."""
        if not self.is_current:
            return 0
        with self._file.reading() as connection:
            return sessions.read_lsn(connection)

    def sessions(self, wanted: SessionFilter, limit: int, before: int | None = None) -> list[int]:
        """Ids of matching sessions below ``before``, the newest first."""
        with self._file.reading() as connection:
            return sessions.find(connection, wanted, limit, before)

    def transaction(self, tx_hash: Hash32) -> TransactionPosition | None:
        """Position of a transaction."""
        with self._file.reading() as connection:
            return queries.find_transaction(connection, tx_hash)

    def contract(self, address: Address) -> ContractOrigin | None:
        """Latest creation of a contract."""
        with self._file.reading() as connection:
            return queries.find_contract(connection, address)

    def logs(
        self, wanted: LogFilter, limit: int = queries.LOGS_MAX, after: LogCoordinates | None = None
    ) -> tuple[list[LogCoordinates], LogCoordinates | None]:
        """Positions of matching logs, and a cursor for more."""
        with self._file.reading() as connection:
            return queries.find_logs(connection, wanted, limit, after)

    def check(self, *, thorough: bool = True) -> None:
        """Run the database's own check, for a scrub."""
        if self.is_current:
            with self._file.reading() as connection:
                _check(connection, thorough=thorough)


def _check(connection: Any, *, thorough: bool) -> None:
    """Run SQLite's own check. Raises `IndexDamaged`.

    ``thorough`` compares tables with their indexes as well, at about a second for 100 MB.
    """
    pragma = "integrity_check" if thorough else "quick_check"
    answer = connection.execute(f"PRAGMA {pragma}(1)").fetchone()[0]
    if answer != "ok":
        raise IndexDamaged(f"index: {answer}")
