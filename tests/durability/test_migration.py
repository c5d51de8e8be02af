"""A schema upgrade that is killed leaves the old schema whole, at every one of its statements."""

from __future__ import annotations

from pathlib import Path

from storage.index.queries import revisions_of
from tests.durability.migration import MIGRATIONS, filled, kill_at_every_statement, later_migrations


def test_the_first_schema(tmp_path: Path) -> None:
    assert kill_at_every_statement(tmp_path / "kills", MIGRATIONS, None) > 10


def test_a_later_schema_over_rows(tmp_path: Path) -> None:
    head = revisions_of(MIGRATIONS)[-1]
    filled(tmp_path / "old.sqlite", head)
    scripts = later_migrations(tmp_path, head)
    assert kill_at_every_statement(tmp_path / "kills", scripts, tmp_path / "old.sqlite") > 10
