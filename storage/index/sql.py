"""Writes the index with SQLAlchemy and migrates it with alembic; the lookups do not need them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Engine

from storage.index import writer
from storage.index.engine import damage_reported, open_engine
from storage.index.migrate import migrate
from storage.index.rows import BlockRows, IndexWatermark
from storage.index.sessions import SessionRow
from storage.io.failpoints import reach


class SqlWriter:
    """Implements `storage.index.rows.RowWriter` in this process."""

    def __init__(self, path: Path, migrations: Path) -> None:
        self._path = path
        self._migrations = migrations
        self._engine: Engine | None = None

    def _connected(self) -> Engine:
        if self._engine is None:
            self._engine = open_engine(self._path)
        return self._engine

    @contextmanager
    def _transaction(self) -> Iterator[Connection]:
        with damage_reported(), self._connected().begin() as connection:
            yield connection

    def prepare(self) -> None:
        """See `RowWriter`."""
        with damage_reported():
            migrate(self._connected(), self._migrations)

    def write(self, blocks: Sequence[BlockRows], lsn: int) -> IndexWatermark:
        """See `RowWriter`."""
        with self._transaction() as connection:
            mark = writer.write_blocks(connection, blocks, lsn)
            reach("index.commit.before")
            return mark

    def write_sessions(self, rows: Sequence[SessionRow], gone: Sequence[int], lsn: int, *, all_: bool) -> None:
        """See `RowWriter`."""
        with self._transaction() as connection:
            writer.write_sessions(connection, rows, gone, lsn, all_=all_)
            reach("index.sessions.commit.before")

    def close(self) -> None:
        """See `RowWriter`."""
        if self._engine is not None:
            self._engine.dispose()
            self._engine = None

    def abandon(self) -> None:
        """Does nothing: the index is written in this process."""

    def status(self) -> dict[str, Any]:
        """Empty: the writer is part of this process."""
        return {}
