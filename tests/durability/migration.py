"""Kills a process in the middle of a schema upgrade, at any statement of it."""

from __future__ import annotations

import os
import shutil
import signal
import sqlite3
from pathlib import Path

from sqlalchemy import event

from storage.index.engine import open_engine
from storage.index.migrate import migrate
from tests.paths import REPO

MIGRATIONS = REPO / "migrations"
ROWS = 300
NEXT = '''"""A later schema: a table is copied into one with another column, an index goes, rows are rewritten."""

import sqlalchemy as sa
from alembic import op

revision = "test"
down_revision = "{head}"
branch_labels = None
depends_on = None


def upgrade() -> None:
    with op.batch_alter_table("contracts", recreate="always") as table:
        table.add_column(sa.Column("size", sa.Integer, nullable=False, server_default="0"))
    op.execute("UPDATE contracts SET size = block + 1")
    op.drop_index("logs_by_topic0", "logs")
    op.add_column("transactions", sa.Column("kind", sa.SmallInteger))
    op.execute("UPDATE transactions SET kind = tx_index % 3")
    op.create_index("transactions_by_kind", "transactions", ["kind"])
'''


def later_migrations(place: Path, head: str) -> Path:
    """The migrations of this version and one more."""
    scripts = place / "migrations"
    shutil.copytree(MIGRATIONS, scripts, ignore=shutil.ignore_patterns("__pycache__"))
    (scripts / "versions" / "test_later.py").write_text(NEXT.format(head=head))
    return scripts


def filled(database: Path, head: str) -> None:
    """An index of this version with rows in it."""
    upgrade(database, MIGRATIONS)
    with sqlite3.connect(database) as connection:
        for number in range(ROWS):
            key = number.to_bytes(32, "big")
            connection.execute('INSERT INTO transactions VALUES (?, ?, ?, ?, ?)', (key, number, number, key[:20], None))
            connection.execute("INSERT INTO contracts VALUES (?, ?, ?, ?)", (key[:20], number, key, key[12:]))
    assert revision(database) == head
    connection.close()


def upgrade(database: Path, scripts: Path, die_at: int = -1) -> int:
    """Migrate; killed before statement ``die_at`` of it. Returns the number of statements."""
    writing = open_engine(database)
    count = 0

    def before(*_: object) -> None:
        nonlocal count
        if count == die_at:
            os.kill(os.getpid(), signal.SIGKILL)
        count += 1

    event.listen(writing, "before_cursor_execute", before)
    event.listen(writing, "commit", before)
    migrate(writing, scripts)
    writing.dispose()
    return count


def revision(database: Path) -> str | None:
    """What the schema says it is."""
    connection = sqlite3.connect(database)
    try:
        found = connection.execute("SELECT name FROM sqlite_master WHERE name = 'alembic_version'").fetchone()
        if found is None:
            return None
        (version,) = connection.execute("SELECT version_num FROM alembic_version").fetchone()
        return str(version)
    finally:
        connection.close()


def content(database: Path) -> list[str]:
    """Schema and rows, as SQL."""
    connection = sqlite3.connect(database)
    try:
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        return sorted(connection.iterdump())
    finally:
        connection.close()


def kill_at_every_statement(place: Path, scripts: Path, start: Path | None) -> int:
    """The upgrade is whole or not there after a kill at any of its statements, and done by the next start.

    ``start`` is the database before it, None for a new one. Returns the kills.
    """
    place.mkdir()
    whole = place / "whole.sqlite"
    if start is not None:
        shutil.copy(start, whole)
    before = content(whole) if start is not None else []
    statements = upgrade(whole, scripts)
    after = content(whole)
    for number in range(statements):
        database = place / f"{number}.sqlite"
        if start is not None:
            shutil.copy(start, database)
        child = os.fork()
        if not child:
            upgrade(database, scripts, number)
            os._exit(1)
        _, status = os.waitpid(child, 0)
        assert os.waitstatus_to_exitcode(status) == -signal.SIGKILL, f"statement {number} was not reached"
        left = content(database)
        assert [line for line in left if line not in ("BEGIN TRANSACTION;", "COMMIT;")] == [
            line for line in before if line not in ("BEGIN TRANSACTION;", "COMMIT;")
        ], f"statement {number} of {statements}: half an upgrade is there"
        upgrade(database, scripts)
        assert content(database) == after, f"killed at statement {number}: another schema after the next start"
        database.unlink()
    return statements
