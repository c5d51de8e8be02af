"""Puts a state store of another engine in place of the directory's own, whole or not at all.

The new store is made beside the old one, in a folder named after its engine. The stamp decides: once it names that
engine the new store is the directory's, and every start ends what is left to do; until then every start takes the new
one away.
"""

from __future__ import annotations

from storage.directory.layout import REPLACED, STATE, staged
from storage.io.failpoints import reach
from storage.io.failures import syncing, writing
from storage.io.files import FileSystem
from storage.io.kv.engines import PACKAGES


def settle(fs: FileSystem, engine: str) -> None:
    """End a swap to the engine that the stamp names; take back any other. Raises `StorageFull`, `StoragePanic`."""
    for other in PACKAGES:
        if other != engine:
            remove_store(fs, staged(other))
    made = staged(engine)
    if fs.exists(made):
        if fs.exists(STATE):
            remove_store(fs, REPLACED)
            _rename(fs, STATE, REPLACED)
            reach("migrate.moved")
        _rename(fs, made, STATE)
        reach("migrate.placed")
    remove_store(fs, REPLACED)


def remove_store(fs: FileSystem, path: str) -> None:
    """Durably, if it is there: a folder of files. Raises `StorageFull`, `StoragePanic`."""
    if not fs.exists(path):
        return
    with writing(path):
        for name in fs.listdir(path):
            fs.unlink(f"{path}/{name}")
            reach("migrate.removing")
        fs.rmdir(path)
    with syncing(path):
        fs.sync_directory("")


def _rename(fs: FileSystem, source: str, target: str) -> None:
    with writing(target):
        fs.rename(source, target)
    with syncing(target):
        fs.sync_directory("")
