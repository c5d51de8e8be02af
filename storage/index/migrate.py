"""Brings the index's schema to this program's version: the whole upgrade is one transaction."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from sqlalchemy import Connection, Engine, inspect, text

from storage.errors import StoreTooNew
from storage.index.queries import revisions_of
from storage.io.failpoints import reach

if TYPE_CHECKING:
    from alembic.config import Config

# Alembic takes a tenth of a second to import: it is left to the start that has something to migrate.


def _config(script_location: Path) -> Config:
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(script_location).replace("%", "%%"))
    return config


def current_revision(connection: Connection) -> str | None:
    """Revision of the schema in the database; None if it has none."""
    if not inspect(connection).has_table("alembic_version"):
        return None
    return connection.execute(text("SELECT version_num FROM alembic_version")).scalar()


def migrate(engine: Engine, script_location: Path) -> bool:
    """Upgrade to the newest revision, whole or not at all; returns whether anything was to do.

    Raises `StoreTooNew` when the database has a revision this program does not know.
    """
    with engine.begin() as connection:
        revision = current_revision(connection)
        if revision == revisions_of(script_location)[-1]:
            return False
        from alembic import command
        from alembic.util import CommandError

        config = _config(script_location)
        config.attributes["connection"] = connection
        reach("index.migrate.before")
        try:
            command.upgrade(config, "head")
        except CommandError as error:
            raise StoreTooNew(f"index schema {revision} is not known: {error}") from error
        reach("index.migrate.uncommitted")
        return True
