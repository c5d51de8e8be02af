"""The ordered key-value store under state and chain data, and LevelDB behind it (plyvel's only importer).

One writer; every write is one whole batch, synced. Options follow from measured failures: LevelDB with
default options drops a damaged block of its log in silence and serves flipped bytes, so all checks are on,
always, and `plyvel.repair_db` is never called (it brings half-written values back).
"""

from __future__ import annotations

import errno
import os
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, Protocol

import plyvel

from storage.errors import (
    DataDirectoryUnusable,
    StateStoreCorrupt,
    StateStoreRefused,
    StateStoreWriteFailed,
    StorageError,
    StorageFull,
    StoragePanic,
)
from storage.failpoints import reach
from storage.pace import Pace, at_once

BLOCK_CACHE_BYTES = 16 * 2**20
WRITE_BUFFER_BYTES = 4 * 2**20
OPEN_FILES_MAX = 256
BLOOM_BITS_PER_KEY = 10

LAST_KEY = b"\xff" * 32
"""Sorts behind every other key. An iterator that ends without having met it has met damage: LevelDB's iterators skip
a damaged block, and plyvel asks for the reason only while there are more keys."""

NOT_DAMAGE: dict[int, type[StorageError]] = {
    errno.ENOSPC: StorageFull, errno.EDQUOT: StorageFull,
    errno.EACCES: DataDirectoryUnusable, errno.EPERM: DataDirectoryUnusable, errno.EROFS: DataDirectoryUnusable,
    errno.EMFILE: StoragePanic, errno.ENFILE: StoragePanic, errno.ENOMEM: StoragePanic,
}  # fmt: skip
"""Errors for which a store is not put aside and made again: a full disk would have no room for that either."""


class KeyValueSnapshot(Protocol):
    """The store as it was at one moment. Any thread may read."""

    def get(self, key: bytes) -> bytes | None:
        """Value of a key, None if absent. Raises `StateStoreCorrupt`."""

    def iterate(self, start: bytes, stop: bytes, reverse: bool = False) -> Iterator[tuple[bytes, bytes]]:
        """Pairs with start <= key < stop in key order. Raises `StateStoreCorrupt`.

        ``reverse`` reads all of them into memory and gives the last first.
        """

    def close(self) -> None:
        """Release what the snapshot pins; it must not be used afterwards."""


class KeyValueStore(Protocol):
    """An ordered map of bytes on disk."""

    def get(self, key: bytes) -> bytes | None:
        """Latest value of a key, None if absent. Raises `StateStoreCorrupt`."""

    def snapshot(self) -> KeyValueSnapshot:
        """The store as it is now, unmoved by later writes."""

    def write(self, puts: Mapping[bytes, bytes], deletes: Iterable[bytes], pace: Pace = at_once) -> None:
        """Apply one batch, deletes first; it is durable on return. `StateStoreWriteFailed`: panic."""

    def close(self) -> None:
        """Close the store; snapshots die with it."""


class LevelSnapshot:
    """A LevelDB snapshot whose every read verifies checksums."""

    __slots__ = ("_snapshot",)

    def __init__(self, snapshot: Any) -> None:
        self._snapshot = snapshot

    def get(self, key: bytes) -> bytes | None:
        """See `KeyValueSnapshot`."""
        try:
            value: bytes | None = self._snapshot.get(key, verify_checksums=True)
        except (plyvel.Error, OSError) as error:
            raise StateStoreCorrupt(f"reading key {key[:64].hex()}: {error}") from error
        return value

    def iterate(self, start: bytes, stop: bytes, reverse: bool = False) -> Iterator[tuple[bytes, bytes]]:
        """See `KeyValueSnapshot`."""
        if reverse:
            yield from reversed(list(self.iterate(start, stop)))
            return
        try:
            # Without a stop key of its own: it could not be told then whether it stopped at it or at damage.
            with self._snapshot.iterator(start=start, verify_checksums=True, fill_cache=False) as pairs:
                for pair in pairs:
                    if pair[0] >= stop:
                        return
                    yield pair
        except (plyvel.Error, OSError) as error:
            raise StateStoreCorrupt(f"iterating from key {start[:64].hex()}: {error}") from error
        raise StateStoreCorrupt(f"iterating from key {start[:64].hex()}: the last key is not reached")

    def close(self) -> None:
        """See `KeyValueSnapshot`."""
        self._snapshot.close()


class LevelStore:
    """LevelDB with every check on."""

    def __init__(self, database: Any, path: Path) -> None:
        self._database = database
        self._directory = os.open(path, os.O_RDONLY | os.O_DIRECTORY)

    def get(self, key: bytes) -> bytes | None:
        """See `KeyValueStore`."""
        try:
            value: bytes | None = self._database.get(key, verify_checksums=True)
        except (plyvel.Error, OSError) as error:
            raise StateStoreCorrupt(f"reading key {key[:64].hex()}: {error}") from error
        return value

    def snapshot(self) -> LevelSnapshot:
        """See `KeyValueStore`."""
        return LevelSnapshot(self._database.snapshot())

    def write(self, puts: Mapping[bytes, bytes], deletes: Iterable[bytes], pace: Pace = at_once) -> None:
        """See `KeyValueStore`."""
        try:
            reach("kv.batch.before")
            with self._database.write_batch(sync=True) as batch:
                for key in pace(deletes):
                    batch.delete(key)
                for key, value in pace(puts.items()):
                    batch.put(key, value)
            reach("kv.batch.written")
            os.fsync(self._directory)  # LevelDB syncs it for a new MANIFEST only, not for a new log
        except (plyvel.Error, OSError) as error:
            raise StateStoreWriteFailed(f"writing a batch of {len(puts)} keys: {error}") from error

    def close(self) -> None:
        """See `KeyValueStore`."""
        if not self._database.closed:
            self._database.close()
            os.close(self._directory)


def open_leveldb(path: Path) -> LevelStore:
    """Open or create the LevelDB in directory ``path``.

    Raises `StateStoreRefused`; and what `NOT_DAMAGE` says where the files are as good as ever.
    """
    try:
        path.mkdir(parents=True, exist_ok=True)
        database = plyvel.DB(
            str(path),
            create_if_missing=True,
            paranoid_checks=True,
            lru_cache_size=BLOCK_CACHE_BYTES,
            write_buffer_size=WRITE_BUFFER_BYTES,
            max_open_files=OPEN_FILES_MAX,
            bloom_filter_bits=BLOOM_BITS_PER_KEY,
        )
        if database.get(LAST_KEY, verify_checksums=True) is None:
            if next(iter(database.iterator(verify_checksums=True)), None) is not None:
                database.close()
                raise StateStoreRefused(f"{path}: the last key is missing")
            database.put(LAST_KEY, b"", sync=True)
    except (plyvel.Error, OSError) as error:
        for code, kind in NOT_DAMAGE.items():
            if os.strerror(code) in str(error):  # all that LevelDB tells
                raise kind(f"{path}: {error}") from error
        raise StateStoreRefused(f"{path}: {error}") from error
    return LevelStore(database, path)
