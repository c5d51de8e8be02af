"""Gives the state store of a stopped node another engine: locks the data directory, calls `storage.migration`."""

from __future__ import annotations

from importlib.metadata import version
from pathlib import Path

from storage.directory import layout
from storage.directory.identity import read_genesis
from storage.directory.stamp import engine_of, take_directory
from storage.errors import DataDirectoryDamaged
from storage.io.kv.engines import PACKAGES
from storage.migration import Migrated, Tell, migrate
from storage.preflight import looked_over


def migrate_data_directory(data_dir: Path, engine: str | None, tell: Tell) -> Migrated | None:
    """See `storage.migration.migrate`. Without ``engine``: the other one. None: it has that engine already.

    Raises `DataDirectoryLocked` if a node runs there, `DataDirectoryDamaged`, and what `migrate` does.
    """
    fs = looked_over(data_dir, unused=True)
    if read_genesis(fs) is None or not fs.exists(layout.WAL):
        raise DataDirectoryDamaged(f"{data_dir} holds no chain")
    lock = take_directory(fs, version("zvmd"))
    try:
        kept = engine_of(fs)
        wanted = engine or next(name for name in PACKAGES if name != kept)
        if wanted == kept:
            return None
        return migrate(fs, wanted, version("zvmd"), tell)
    finally:
        lock.release()
