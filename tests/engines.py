"""The engines of the key-value store, for tests that run on each, and the one that whole nodes of tests get."""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import partial
from importlib.util import find_spec
from pathlib import Path

import pytest

from storage.io.kv.engines import PACKAGES, open_store_at
from storage.io.kv.store import DiskStore

ENGINES = tuple(PACKAGES)
each_engine = pytest.mark.parametrize(
    "engine",
    [
        pytest.param(
            name,
            marks=pytest.mark.skipif(find_spec(package) is None, reason=f"{package} has no wheel for this platform"),
        )
        for name, package in PACKAGES.items()
    ],
)
ENVIRONMENT = "ZVMD_TEST_ENGINE"
"""The engine of new directories, for tests that make whole nodes; unset: what a node takes by itself."""
OpenStore = Callable[[Path], DiskStore]


def opener(engine: str) -> OpenStore:
    """Opens a store of this engine in a directory."""
    return partial(open_store_at, engine=engine)


def chosen() -> str:
    """What `ENVIRONMENT` says, as the setting ``storage.engine``."""
    return os.environ.get(ENVIRONMENT, "auto")


def compact(store: DiskStore) -> None:
    """Move everything into tables."""
    database = store.database._database  # type: ignore[attr-defined]
    database.compact_range(*(() if store.engine_name == "leveldb" else (None, None)))


def tables(path: Path) -> list[Path]:
    """The table files in a store's directory."""
    return sorted(found for found in path.iterdir() if found.suffix in (".ldb", ".sst"))
