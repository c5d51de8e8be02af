"""Which engines there are, by name. Only the one in use is loaded."""

from __future__ import annotations

from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

from storage.errors import EngineMissing
from storage.io.kv.port import Engine
from storage.io.kv.store import DiskStore, open_store

LEVELDB = "leveldb"
ROCKSDB = "rocksdb"
PACKAGES = {LEVELDB: "plyvel", ROCKSDB: "rocksdict"}
"""The package that an engine comes in, by the engine's name."""


def _leveldb() -> Engine:
    from storage.io.kv.leveldb import ENGINE

    return ENGINE


def _rocksdb() -> Engine:
    from storage.io.kv.rocksdb import ENGINE

    return ENGINE


_LOADED: dict[str, Callable[[], Engine]] = {LEVELDB: _leveldb, ROCKSDB: _rocksdb}


def default_engine() -> str:
    """The engine of a new directory for which none is asked: LevelDB where its package is, else RocksDB."""
    return LEVELDB if is_installed(LEVELDB) else ROCKSDB


def is_installed(name: str) -> bool:
    """Whether the package of an engine is there. Loads nothing."""
    return find_spec(PACKAGES[name]) is not None


def require_engine(name: str) -> None:
    """Raise `EngineMissing` unless the package of an engine is installed. Loads nothing."""
    if not is_installed(name):
        raise EngineMissing(f"engine {name} needs the package {PACKAGES[name]}")


def open_store_at(path: Path, engine: str) -> DiskStore:
    """Open or create the store of that engine, a name of `PACKAGES`, in directory ``path``.

    Raises `EngineMissing` if its package is not installed, and as `storage.io.kv.store.open_store`.
    """
    try:
        loaded = _LOADED[engine]()
    except ImportError as error:
        raise EngineMissing(f"engine {engine} needs the package {PACKAGES[engine]}: {error}") from error
    return open_store(path, loaded)
