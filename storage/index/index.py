"""The index as the rest of the program sees it: open, write block ranges, look things up from any thread."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from sqlalchemy import Engine, make_url, text

from chain.types import Address, Hash32
from storage.errors import IndexDamaged, IndexLocked
from storage.index import queries, sessions, writer
from storage.index.engine import check_sqlite, damage_reported, open_engines, size_in_bytes
from storage.index.migrate import migrate
from storage.index.models import metadata
from storage.index.queries import ContractOrigin, LogCoordinates, LogFilter, TransactionPosition
from storage.index.sessions import SessionFilter, SessionRow
from storage.index.writer import IndexedBlock, IndexWatermark
from storage.io.failpoints import reach
from storage.io.holders import holder_of, identity_of, is_locked

CHECKED_AT_OPEN_BYTES = 16 * 2**20
"""Larger databases are checked by `storage.index.follower.IndexFollower.maintain` only, while the node serves."""
COMPARED_AT_OPEN_BYTES = 4 * 2**20
"""Up to here the check also compares tables with their indexes: it finds a flipped bit in a hash, and takes 40 ms."""


class Index:
    """A rebuildable index over the chain. One thread writes, any thread reads."""

    def __init__(self, writing: Engine, reading: Engine) -> None:
        self._writing = writing
        self._reading = reading
        self._files = {path: identity_of(path) for path in _paths(writing)}

    @property
    def moved(self) -> str:
        """Path of a file that was removed or replaced since the index was opened; empty if all are in place."""
        return next((path for path, found in self._files.items() if found and identity_of(path) != found), "")

    @classmethod
    def open(cls, url: str, script_location: Path, *, thorough: bool = False) -> Index:
        """Connect, check and migrate the database ``url`` (``sqlite:////path`` or ``postgresql+driver://...``).

        A large one is not checked here: a node shall not be late for what only answers lookups, and what it answers is
        compared with the blocks. ``thorough`` runs SQLite's full integrity check, whatever the size.
        Raises `IndexDamaged` (call `destroy` and open again, then index from block 0) and `StoreTooNew`.
        """
        writing, reading = open_engines(url)
        try:
            with damage_reported(writing):
                size = size_in_bytes(writing)
                if thorough or size <= CHECKED_AT_OPEN_BYTES:
                    check_sqlite(writing, thorough or size <= COMPARED_AT_OPEN_BYTES)
                migrate(writing, script_location)
                with reading.connect() as connection:
                    for table in metadata.sorted_tables:  # a revision number without its tables is damage
                        connection.execute(text(f'SELECT 1 FROM "{table.name}" LIMIT 1'))  # noqa: S608
        except BaseException:
            writing.dispose()
            reading.dispose()
            raise
        return cls(writing, reading)

    def close(self) -> None:
        """Close all connections."""
        self._reading.dispose()
        self._writing.dispose()

    def write(self, blocks: Sequence[IndexedBlock], lsn: int) -> IndexWatermark:
        """Index consecutive blocks in one transaction; rows of these and later blocks are replaced.

        Raises ValueError on a gap, `IndexDamaged`.
        """
        with damage_reported(self._writing), self._writing.begin() as connection:
            mark = writer.write_blocks(connection, blocks, lsn)
            reach("index.commit.before")
            return mark

    def write_sessions(self, rows: Sequence[SessionRow], gone: Sequence[int], lsn: int, *, all_: bool) -> None:
        """Replace the rows of these sessions, delete those of others, in one transaction. Raises `IndexDamaged`."""
        with damage_reported(self._writing), self._writing.begin() as connection:
            sessions.write_rows(connection, rows, gone, lsn, all_=all_)
            reach("index.sessions.commit.before")

    def session_lsn(self) -> int:
        """The log record up to which sessions were indexed, 0 before the first. Raises `IndexDamaged`."""
        with damage_reported(self._reading), self._reading.connect() as connection:
            return sessions.read_lsn(connection)

    def sessions(self, wanted: SessionFilter, limit: int, before: int | None = None) -> list[int]:
        """Ids of matching sessions below ``before``, the newest first. Raises `IndexDamaged`."""
        with damage_reported(self._reading), self._reading.connect() as connection:
            return sessions.find(connection, wanted, limit, before)

    def rewind(self, mark: IndexWatermark | None) -> None:
        """Forget everything behind a watermark; None forgets all. Raises `IndexDamaged`."""
        with damage_reported(self._writing), self._writing.begin() as connection:
            writer.rewind(connection, mark)

    def make_durable(self) -> None:
        """Sync what was written: before the log below the watermark is pruned. Raises `IndexDamaged`."""
        if self._writing.dialect.name == "sqlite":
            with damage_reported(self._writing):
                raw = self._writing.raw_connection()
                try:
                    raw.cursor().execute("PRAGMA synchronous=FULL")
                    busy = raw.cursor().execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()[0]
                    raw.cursor().execute("PRAGMA synchronous=NORMAL")
                finally:
                    raw.close()
                if busy:
                    raise IndexLocked("index: readers keep its write-ahead log busy")

    def watermark(self) -> IndexWatermark | None:
        """How far the index reaches, None if it is empty. Raises `IndexDamaged`."""
        with damage_reported(self._reading), self._reading.connect() as connection:
            return writer.read_watermark(connection)

    def transaction(self, tx_hash: Hash32) -> TransactionPosition | None:
        """Position of a transaction. Raises `IndexDamaged`."""
        with damage_reported(self._reading), self._reading.connect() as connection:
            return queries.find_transaction(connection, tx_hash)

    def contract(self, address: Address) -> ContractOrigin | None:
        """Latest creation of a contract. Raises `IndexDamaged`."""
        with damage_reported(self._reading), self._reading.connect() as connection:
            return queries.find_contract(connection, address)

    def logs(
        self, wanted: LogFilter, limit: int = queries.LOGS_MAX, after: LogCoordinates | None = None
    ) -> tuple[list[LogCoordinates], LogCoordinates | None]:
        """Positions of matching logs, and a cursor for more. Raises `IndexDamaged`."""
        with damage_reported(self._reading), self._reading.connect() as connection:
            return queries.find_logs(connection, wanted, limit, after)

    def check(self, *, thorough: bool = True) -> None:
        """Run the database's own check, for a scrub. Raises `IndexDamaged`."""
        check_sqlite(self._reading, thorough)


def _paths(engine: Engine) -> list[str]:
    """SQLite's files; none of another database."""
    url = engine.url
    if url.get_backend_name() != "sqlite" or not url.database or url.database == ":memory:":
        return []
    return [url.database + suffix for suffix in ("", "-wal", "-shm")]


def refuse_if_held(url: str) -> None:
    """Raise `IndexLocked` if another process has a lock on SQLite's files. This one must have closed them."""
    parsed = make_url(url)
    if parsed.get_backend_name() == "sqlite" and parsed.database:
        for suffix in ("", "-shm"):
            path = Path(parsed.database + suffix)
            if is_locked(path):
                raise IndexLocked(f"{path} is in use by {holder_of(path.stat())}")


def destroy(url: str) -> None:
    """Remove the index: SQLite's files, or the tables of another database. It must be closed.

    Raises `IndexLocked` if another process has it open.
    """
    parsed = make_url(url)
    if parsed.get_backend_name() == "sqlite":
        if not parsed.database or parsed.database == ":memory:":
            raise IndexDamaged("an index in memory cannot be destroyed")
        refuse_if_held(url)
        for suffix in ("-wal", "-shm", "-journal", ""):
            Path(parsed.database + suffix).unlink(missing_ok=True)
        return
    writing, _ = open_engines(url)
    with writing.begin() as connection:
        metadata.drop_all(connection)
        connection.execute(text("DROP TABLE IF EXISTS alembic_version"))
    writing.dispose()
