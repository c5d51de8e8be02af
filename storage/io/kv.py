"""The ordered key-value store under state and chain data, and LevelDB behind it (plyvel's only importer).

One writer; every write is one whole batch, synced. Options follow from measured failures: LevelDB with
default options drops a damaged block of its log in silence and serves flipped bytes, so all checks are on,
always, and `plyvel.repair_db` is never called (it brings half-written values back).
"""

from __future__ import annotations

import errno
import fcntl
import os
import re
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Protocol
from weakref import WeakSet

import plyvel

from storage.errors import (
    DataDirectoryLocked,
    DataDirectoryUnusable,
    FileGone,
    StateStoreCorrupt,
    StateStoreRefused,
    StateStoreWriteFailed,
    StateUnavailable,
    StorageError,
    StorageFull,
    StoragePanic,
)
from storage.io.cooperative import Pace, at_once
from storage.io.failpoints import reach
from storage.io.gate import Gate
from storage.io.holders import holder_of, refuse_if_used

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
    errno.ENOLCK: DataDirectoryUnusable,
}  # fmt: skip
"""Errors for which a store is not put aside and made again: a full disk would have no room for that either."""
NO_SPACE = (errno.ENOSPC, errno.EDQUOT)
IN_USE = ("already held by process", os.strerror(errno.EAGAIN))
"""What LevelDB says beside the path of its LOCK when it is taken, by this process or another."""
REOPEN_ATTEMPTS = 10
REOPEN_PAUSE_SECONDS = 0.5
REOPEN_BYTES = 2**20
"""Room for a new MANIFEST, CURRENT and log, beside what the old log holds."""


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

    __slots__ = ("__weakref__", "_snapshot", "_store", "written")

    def __init__(self, store: LevelStore) -> None:
        self._store = store
        self._snapshot = store.database.snapshot()
        self.written = store.written
        """Batches in it."""

    def renew(self) -> None:
        """After the store was reopened: take the new snapshot; values overwritten since the old one are lost."""
        self._snapshot = self._store.database.snapshot() if self.written == self._store.written else None

    def _current(self) -> Any:
        """The snapshot, inside the gate. Raises `StateUnavailable`."""
        if self._snapshot is None:
            raise StateUnavailable("the state store was opened again, and that state is not kept")
        return self._snapshot

    def get(self, key: bytes) -> bytes | None:
        """See `KeyValueSnapshot`."""
        try:
            with self._store.gate:
                value: bytes | None = self._current().get(key, verify_checksums=True)
        except (plyvel.Error, OSError) as error:
            raise StateStoreCorrupt(f"reading key {key[:64].hex()}: {error}") from error
        return value

    def iterate(self, start: bytes, stop: bytes, reverse: bool = False) -> Iterator[tuple[bytes, bytes]]:
        """See `KeyValueSnapshot`."""
        if reverse:
            yield from reversed(list(self.iterate(start, stop)))
            return
        try:
            # Without LevelDB's stop key, with which a stop at damage would look the same.
            with (
                self._store.gate,
                self._current().iterator(start=start, verify_checksums=True, fill_cache=False) as pairs,
            ):
                for pair in pairs:
                    if pair[0] >= stop:
                        return
                    yield pair
        except (plyvel.Error, OSError) as error:
            raise StateStoreCorrupt(f"iterating from key {start[:64].hex()}: {error}") from error
        raise StateStoreCorrupt(f"iterating from key {start[:64].hex()}: the last key is not reached")

    def close(self) -> None:
        """See `KeyValueSnapshot`."""
        if self._snapshot is not None:
            self._snapshot.close()


class LevelStore:
    """LevelDB with every check on. One thread writes, any thread reads.

    After a write or a compaction that found no room, LevelDB takes no more writes and its log may end in half a record.
    Reads go on; the next `write` closes it and opens it again, once there is room for that.
    """

    def __init__(self, path: Path) -> None:
        """Raises as `open_leveldb`."""
        self._path = path
        self._directory = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        self._full: tuple[bytes, bytes] | None = None
        """A pair of the batch that found no room, which tells whether it is there after all."""
        self._snapshots: WeakSet[LevelSnapshot] = WeakSet()
        self.gate = Gate()
        self.written = 0
        """Batches written since the store was opened first."""
        self.opened = 0
        """How often it was opened again."""
        self.database: Any = None
        try:
            _refuse_if_used(path, self._directory)
            self.database = _opened(path)
        except BaseException:
            os.close(self._directory)
            raise

    def get(self, key: bytes) -> bytes | None:
        """See `KeyValueStore`."""
        try:
            with self.gate:
                value: bytes | None = self.database.get(key, verify_checksums=True)
        except (plyvel.Error, OSError) as error:
            raise StateStoreCorrupt(f"reading key {key[:64].hex()}: {error}") from error
        return value

    def snapshot(self) -> LevelSnapshot:
        """See `KeyValueStore`."""
        with self.gate:
            made = LevelSnapshot(self)
            self._snapshots.add(made)
        return made

    def write(self, puts: Mapping[bytes, bytes], deletes: Iterable[bytes], pace: Pace = at_once) -> None:
        """See `KeyValueStore`. Raises `StorageFull` too: nothing was written, and the same batch may come again."""
        if self._full is not None:
            self._open_again(self._full, sum(map(len, puts)) + sum(map(len, puts.values())))
        try:
            reach("kv.batch.before")
            with self.database.write_batch(transaction=True, sync=True) as batch:
                for key in pace(deletes):
                    batch.delete(key)
                for key, value in pace(puts.items()):
                    batch.put(key, value)
            reach("kv.batch.written")
            os.fsync(self._directory)  # LevelDB syncs it for a new MANIFEST only, not for a new log
        except (plyvel.Error, OSError) as error:
            changed = next(((key, value) for key, value in puts.items() if self.get(key) != value), None)
            if changed is not None and any(os.strerror(code) in str(error) for code in NO_SPACE):
                self._full = changed
                raise StorageFull(f"no space to write a batch of {len(puts)} keys: {error}") from error
            raise StateStoreWriteFailed(f"writing a batch of {len(puts)} keys: {error}") from error
        self.written += 1
        self.check_place()

    def _open_again(self, changed: tuple[bytes, bytes], batch_bytes: int) -> None:
        """Close LevelDB and open it again. Raises `StorageFull` if there is no room, `StateStoreWriteFailed`."""
        # The old log becomes a table and goes; then the batch is written twice, to the new log and to a table.
        logged = sum(path.stat().st_size for path in self._path.glob("*.log"))
        self._reserve(max(logged, 2 * batch_bytes) + REOPEN_BYTES)
        if not self.gate.shut():
            raise StorageFull("reads under way keep the state store from being opened again")
        self.database.close()
        for attempt in range(REOPEN_ATTEMPTS):
            try:
                self.database = _opened(self._path)
                break
            except StorageError as error:
                if attempt + 1 == REOPEN_ATTEMPTS:
                    raise StateStoreWriteFailed(f"opening the store again: {error}") from error
                time.sleep(REOPEN_PAUSE_SECONDS)
        for snapshot in self._snapshots:
            snapshot.renew()
        self.opened += 1
        self._full = None
        self.gate.open()
        if self.get(changed[0]) == changed[1]:
            raise StateStoreWriteFailed("a batch that found no room is there after all")

    def _reserve(self, size: int) -> None:
        """Take so much room and give it back. Raises `StorageFull`."""
        path = self._path / "000000.dbtmp"  # which LevelDB removes if a crash leaves it
        try:
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            try:
                os.posix_fallocate(descriptor, 0, size)
            finally:
                os.close(descriptor)
        except OSError as error:
            if error.errno in NO_SPACE:
                raise StorageFull(f"{size} bytes are needed to open the state store again: {error}") from error
            raise StateStoreWriteFailed(f"{path}: {error}") from error
        finally:
            with suppress(OSError):
                path.unlink(missing_ok=True)

    def check_place(self) -> None:
        """Raise `FileGone` unless the directory and the files that LevelDB uses are where they were."""
        here, opened = f"{self._path.name}", os.fstat(self._directory)
        try:
            found = self._path.stat()
        except OSError as error:
            raise FileGone(f"{here}: it is gone: {error.strerror}") from None
        if (found.st_dev, found.st_ino) != (opened.st_dev, opened.st_ino):
            raise FileGone(f"{here}: its name now belongs to another directory")

    def check_files(self) -> None:
        """As `check_place`, and that every file of the current version is there."""
        self.check_place()
        missing = self._missing()
        if missing and missing & self._missing():  # what a compaction has just replaced is not missing twice
            raise FileGone(f"{self._path.name}/{min(missing)}: it is gone")

    def _missing(self) -> set[str]:
        with self.gate:
            tables = (self.database.get_property(b"leveldb.sstables") or b"").decode("ascii", "replace")
        try:
            names = {entry.name for entry in self._path.iterdir()}
            current = (self._path / "CURRENT").read_text("ascii", "replace").strip()
        except OSError:
            return {"CURRENT"}
        wanted = {"CURRENT", "LOCK", current}
        wanted |= {f"{int(number):06d}.ldb" for number in _TABLE.findall(tables)}
        missing = {name for name in wanted - names if f"{name.removesuffix('.ldb')}.sst" not in names}
        return missing if any(name.endswith(".log") for name in names) else {*missing, "*.log"}

    def close(self) -> None:
        """See `KeyValueStore`."""
        if not self.database.closed:
            self.database.close()
            os.close(self._directory)


_TABLE = re.compile(r"^ (\d+):\d+\[", re.MULTILINE)
"""A table's number in LevelDB's property ``leveldb.sstables``."""


def _refuse_if_used(path: Path, directory: int) -> None:
    """Lock an open directory, and look for programs that know LevelDB's lock only, or whose LOCK was removed."""
    try:
        fcntl.flock(directory, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise DataDirectoryLocked(f"{path} is in use by {holder_of(os.fstat(directory))}") from None
    refuse_if_used(path, ("LOCK",), ("MANIFEST-*", "*.log"))


@contextmanager
def unused(path: Path) -> Iterator[None]:
    """Around moving a LevelDB directory away, which may be missing. Raises `DataDirectoryLocked` if it is used."""
    try:
        directory = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except FileNotFoundError:
        yield
        return
    try:
        _refuse_if_used(path, directory)
        yield
    finally:
        os.close(directory)


def open_leveldb(path: Path) -> LevelStore:
    """Open or create the LevelDB in directory ``path``.

    Raises `DataDirectoryLocked` if another process uses it, `StateStoreRefused` if it is damaged; and what `NOT_DAMAGE`
    says where the files are as good as ever.
    """
    try:
        path.mkdir(parents=True, exist_ok=True)
        return LevelStore(path)
    except OSError as error:
        raise _meaning(path, error) from error


def _opened(path: Path) -> Any:
    """The database itself, whose last key is there. Raises as `open_leveldb`."""
    database = None
    try:
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
                raise StateStoreRefused(f"{path}: the last key is missing")
            database.put(LAST_KEY, b"", sync=True)
    except BaseException as error:
        if database is not None:
            database.close()
        if isinstance(error, plyvel.Error | OSError):
            raise _meaning(path, error) from error
        raise
    return database


def _meaning(path: Path, error: Exception) -> StorageError:
    """What an error of LevelDB stands for; its text is all that it tells."""
    text = str(error)
    if "/LOCK" in text and any(words in text for words in IN_USE):
        return DataDirectoryLocked(f"{path} is in use by {_holder(path / 'LOCK')}")
    for code, kind in NOT_DAMAGE.items():
        if os.strerror(code) in text:
            return kind(f"{path}: {error}")
    return StateStoreRefused(f"{path}: {error}")


def _holder(path: Path) -> str:
    try:
        return holder_of(path.stat())
    except OSError:
        return "another process"
