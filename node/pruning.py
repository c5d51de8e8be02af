"""Prunes the log of a stopped node: locks the data directory, opens its stores, calls `storage.prune`."""

from __future__ import annotations

from functools import partial
from importlib.metadata import version
from pathlib import Path

from storage.directory import layout
from storage.directory.identity import read_genesis
from storage.directory.stamp import engine_of, raise_stamp, take_directory
from storage.errors import DataDirectoryDamaged, PruneRefused, StateStoreRefused
from storage.export import write_export
from storage.io.kv.engines import open_store_at
from storage.preflight import looked_over
from storage.prune import Pruned, prune, scratch_store


def prune_data_directory(
    data_dir: Path, *, dry_run: bool = False, fresh: bool = False, below: int = 0, scratch: Path | None = None
) -> Pruned:
    """See `storage.prune.prune`. ``fresh``: export the last checkpoint first. ``scratch``: restore it there.

    Raises `DataDirectoryLocked` if a node runs there, `DataDirectoryDamaged`, and what `prune` does.
    """
    fs = looked_over(data_dir, unused=True)
    genesis = read_genesis(fs)
    if genesis is None or not fs.exists(layout.WAL):
        raise DataDirectoryDamaged(f"{data_dir} holds no chain")
    program = version("zvmd")
    lock = take_directory(fs, program)
    try:
        engine = engine_of(fs)
        if not fs.exists(layout.STATE):
            raise PruneRefused("there is no state store: the next start has to make it")
        try:
            live = open_store_at(data_dir / layout.STATE, engine)
        except StateStoreRefused as error:
            raise PruneRefused(f"the state store cannot be opened: {error}") from error
        try:
            if fresh:
                write_export(fs, live)
            return prune(
                fs,
                live,
                partial(scratch_store, data_dir, engine, scratch),
                genesis,
                below=below,
                dry_run=dry_run,
                before_change=lambda: raise_stamp(fs, program),
            )
        finally:
            live.close()
    finally:
        lock.release()
