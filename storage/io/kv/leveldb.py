"""LevelDB as an engine of the key-value store; plyvel's only importer.

Options follow from measured failures: LevelDB with default options drops a damaged block of its log in silence and
serves flipped bytes, so all checks are on, always, and `plyvel.repair_db` is never called (it brings half-written
values back).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import AbstractContextManager
from functools import partial
from pathlib import Path
from typing import Any

import plyvel

from storage.io.cooperative import Pace
from storage.io.kv.port import (
    BLOCK_CACHE_BYTES,
    BLOOM_BITS_PER_KEY,
    OPEN_FILES_MAX,
    WRITE_BUFFER_BYTES,
    Engine,
    Pair,
)

_TABLE = re.compile(r"^ (\d+):\d+\[", re.MULTILINE)
"""A table's number in LevelDB's property ``leveldb.sstables``."""


class LevelView:
    """A LevelDB snapshot."""

    __slots__ = ("_snapshot", "get")

    def __init__(self, database: Any) -> None:
        self._snapshot = database.snapshot()
        self.get = partial(self._snapshot.get, verify_checksums=True)

    def pairs(self, start: bytes) -> AbstractContextManager[Iterator[Pair]]:
        """See `storage.io.kv.port.EngineView`."""
        pairs: AbstractContextManager[Iterator[Pair]] = self._snapshot.iterator(
            # Without a stop key, with which a stop at damage would look the same.
            start=start, verify_checksums=True, fill_cache=False
        )
        return pairs

    def close(self) -> None:
        """See `storage.io.kv.port.EngineView`."""
        self._snapshot.close()


class LevelDatabase:
    """A LevelDB with every check on."""

    def __init__(self, path: Path) -> None:
        self._database: Any = plyvel.DB(
            str(path),
            create_if_missing=True,
            paranoid_checks=True,
            lru_cache_size=BLOCK_CACHE_BYTES,
            write_buffer_size=WRITE_BUFFER_BYTES,
            max_open_files=OPEN_FILES_MAX,
            bloom_filter_bits=BLOOM_BITS_PER_KEY,
        )
        self.get = partial(self._database.get, verify_checksums=True)

    def view(self) -> LevelView:
        """See `storage.io.kv.port.Database`."""
        return LevelView(self._database)

    def write(self, puts: Mapping[bytes, bytes], deletes: Iterable[bytes], pace: Pace) -> None:
        """See `storage.io.kv.port.Database`."""
        with self._database.write_batch(transaction=True, sync=True) as batch:
            for key in pace(deletes):
                batch.delete(key)
            for key, value in pace(puts.items()):
                batch.put(key, value)

    def tables(self) -> set[str]:
        """See `storage.io.kv.port.Database`."""
        tables = (self._database.get_property(b"leveldb.sstables") or b"").decode("ascii", "replace")
        return {f"{int(number):06d}.ldb" for number in _TABLE.findall(tables)}

    def close(self) -> None:
        """See `storage.io.kv.port.Database`."""
        self._database.close()


ENGINE = Engine("leveldb", LevelDatabase, (plyvel.Error, OSError), "already held by process")
