"""Brings the index's schema to this program's version: the whole upgrade is one transaction."""

from __future__ import annotations

from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from alembic.util import CommandError
from sqlalchemy import Connection, Engine

from storage.errors import StoreTooNew
from storage.failpoints import reach


def _config(script_location: Path) -> Config:
    config = Config()
    config.set_main_option("script_location", str(script_location).replace("%", "%%"))
    return config


def current_revision(connection: Connection) -> str | None:
    """Revision of the schema in the database; None if it has none."""
    return MigrationContext.configure(connection).get_current_revision()


def head_revision(script_location: Path) -> str:
    """Newest revision this program knows."""
    head = ScriptDirectory.from_config(_config(script_location)).get_current_head()
    assert head is not None, "no migrations"
    return head


def migrate(engine: Engine, script_location: Path) -> bool:
    """Upgrade to the newest revision, whole or not at all; returns whether anything was to do.

    Raises `StoreTooNew` when the database has a revision this program does not know.
    """
    with engine.begin() as connection:
        revision = current_revision(connection)
        if revision == head_revision(script_location):
            return False
        config = _config(script_location)
        config.attributes["connection"] = connection
        reach("index.migrate.before")
        try:
            command.upgrade(config, "head")
        except CommandError as error:
            raise StoreTooNew(f"index schema {revision} is not known: {error}") from error
        reach("index.migrate.uncommitted")
        return True
