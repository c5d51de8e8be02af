"""A key-value store on disk, over any engine: snapshots, full disks, files that go away, other processes.

One writer; every write is one whole batch, synced.
"""

from __future__ import annotations

import errno
import fcntl
import os
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from weakref import WeakSet

from chain.brief import NotInMemory, before_long_work
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
from storage.io.kv.port import LAST_KEY, Database, Engine, EngineView, Pair

NOT_DAMAGE: dict[int, type[StorageError]] = {
    errno.ENOSPC: StorageFull, errno.EDQUOT: StorageFull,
    errno.EACCES: DataDirectoryUnusable, errno.EPERM: DataDirectoryUnusable, errno.EROFS: DataDirectoryUnusable,
    errno.EMFILE: StoragePanic, errno.ENFILE: StoragePanic, errno.ENOMEM: StoragePanic,
    errno.ENOLCK: DataDirectoryUnusable,
}  # fmt: skip
"""Errors for which a store is not put aside and made again: a full disk would have no room for that either."""
NO_SPACE = (errno.ENOSPC, errno.EDQUOT)
REOPEN_ATTEMPTS = 10
REOPEN_PAUSE_SECONDS = 0.5
REOPEN_BYTES = 2**20
"""Room for a new MANIFEST, CURRENT and log, beside what the old log holds."""


class DiskSnapshot:
    """A `KeyValueSnapshot` of a `DiskStore`."""

    __slots__ = ("__weakref__", "_store", "_view", "written")

    def __init__(self, store: DiskStore) -> None:
        self._store = store
        self._view: EngineView | None = store.database.view()
        self.written = store.written
        """Batches in it."""

    def renew(self) -> None:
        """After the store was reopened: take the new state; values overwritten since the old one are lost."""
        self._view = self._store.database.view() if self.written == self._store.written else None

    def _current(self) -> EngineView:
        """The view, inside the gate. Raises `StateUnavailable`."""
        if self._view is None:
            raise StateUnavailable("the state store was opened again, and that state is not kept")
        return self._view

    def get(self, key: bytes) -> bytes | None:
        """See `KeyValueSnapshot`."""
        before_long_work(NotInMemory)
        try:
            with self._store.gate:
                return self._current().get(key)
        except self._store.engine.errors as error:
            raise StateStoreCorrupt(f"reading key {key[:64].hex()}: {error}") from error

    def iterate(self, start: bytes, stop: bytes, reverse: bool = False) -> Iterator[Pair]:
        """See `KeyValueSnapshot`."""
        before_long_work(NotInMemory)
        if reverse:
            yield from reversed(list(self.iterate(start, stop)))
            return
        try:
            with self._store.gate, self._current().pairs(start) as pairs:
                for pair in pairs:
                    if pair[0] >= stop:
                        return
                    yield pair
        except self._store.engine.errors as error:
            raise StateStoreCorrupt(f"iterating from key {start[:64].hex()}: {error}") from error
        raise StateStoreCorrupt(f"iterating from key {start[:64].hex()}: the last key is not reached")

    def close(self) -> None:
        """See `KeyValueSnapshot`."""
        if self._view is not None:
            self._view.close()


class DiskStore:
    """A `KeyValueStore` in a directory. One thread writes, any thread reads.

    After a write or a compaction that found no room, an engine takes no more writes and its log may end in half a
    record. Reads go on; the next `write` closes it and opens it again, once there is room for that.
    """

    def __init__(self, path: Path, engine: Engine) -> None:
        """Raises as `open_store`."""
        self._path = path
        self.engine = engine
        self._directory = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        self._full: Pair | None = None
        """A pair of the batch that found no room, which tells whether it is there after all."""
        self._snapshots: WeakSet[DiskSnapshot] = WeakSet()
        self._closed = False
        self.gate = Gate()
        self.written = 0
        """Batches written since the store was opened first."""
        self.opened = 0
        """How often it was opened again."""
        try:
            _refuse_if_used(path, self._directory)
            self.database: Database = _opened(path, engine)
        except BaseException:
            os.close(self._directory)
            raise

    @property
    def engine_name(self) -> str:
        """See `KeyValueStore`."""
        return self.engine.name

    def get(self, key: bytes) -> bytes | None:
        """See `KeyValueStore`."""
        before_long_work(NotInMemory)
        try:
            with self.gate:
                return self.database.get(key)
        except self.engine.errors as error:
            raise StateStoreCorrupt(f"reading key {key[:64].hex()}: {error}") from error

    def snapshot(self) -> DiskSnapshot:
        """See `KeyValueStore`."""
        with self.gate:
            made = DiskSnapshot(self)
            self._snapshots.add(made)
        return made

    def write(self, puts: Mapping[bytes, bytes], deletes: Iterable[bytes], pace: Pace = at_once) -> None:
        """See `KeyValueStore`. Raises `StorageFull` too: nothing was written, and the same batch may come again."""
        if self._full is not None:
            self._open_again(self._full, sum(map(len, puts)) + sum(map(len, puts.values())))
        try:
            reach("kv.batch.before")
            self.database.write(puts, deletes, pace)
            reach("kv.batch.written")
            os.fsync(self._directory)  # LevelDB syncs it for a new MANIFEST only, not for a new log
        except self.engine.errors as error:
            changed = next(((key, value) for key, value in puts.items() if self.get(key) != value), None)
            if changed is not None and any(os.strerror(code) in str(error) for code in NO_SPACE):
                self._full = changed
                raise StorageFull(f"no space to write a batch of {len(puts)} keys: {error}") from error
            raise StateStoreWriteFailed(f"writing a batch of {len(puts)} keys: {error}") from error
        self.written += 1
        self.check_place()

    def _open_again(self, changed: Pair, batch_bytes: int) -> None:
        """Close the database and open it again. Raises `StorageFull` if there is no room, `StateStoreWriteFailed`."""
        # The old log becomes a table and goes; then the batch is written twice, to the new log and to a table.
        logged = sum(path.stat().st_size for path in self._path.glob("*.log"))
        self._reserve(max(logged, 2 * batch_bytes) + REOPEN_BYTES)
        if not self.gate.shut():
            raise StorageFull("reads under way keep the state store from being opened again")
        self._close()
        for attempt in range(REOPEN_ATTEMPTS):
            try:
                self.database = _opened(self._path, self.engine)
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
        path = self._path / "000000.dbtmp"  # which an engine removes if a crash leaves it
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
        """Raise `FileGone` unless the directory is where they were."""
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
            tables = self.database.tables()
        try:
            names = {entry.name for entry in self._path.iterdir()}
            current = (self._path / "CURRENT").read_text("ascii", "replace").strip()
        except OSError:
            return {"CURRENT"}
        missing = {"CURRENT", "LOCK", current, *tables} - names
        return missing if any(name.endswith(".log") for name in names) else {*missing, "*.log"}

    def _close(self) -> None:
        """Close the database, and before it what keeps it open."""
        for snapshot in self._snapshots:
            snapshot.close()
        self.database.close()

    def close(self) -> None:
        """See `KeyValueStore`."""
        if not self._closed:
            self._closed = True
            self._close()
            os.close(self._directory)


def _refuse_if_used(path: Path, directory: int) -> None:
    """Lock an open directory, and look for programs that know an engine's lock only, or whose LOCK was removed."""
    try:
        fcntl.flock(directory, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise DataDirectoryLocked(f"{path} is in use by {holder_of(os.fstat(directory))}") from None
    refuse_if_used(path, ("LOCK",), ("MANIFEST-*", "*.log"))


@contextmanager
def unused(path: Path) -> Iterator[None]:
    """Around moving a store's directory away, which may be missing. Raises `DataDirectoryLocked` if it is used."""
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


def open_store(path: Path, engine: Engine) -> DiskStore:
    """Open or create the store in directory ``path``.

    Raises `DataDirectoryLocked` if another process uses it, `StateStoreRefused` if it is damaged; and what `NOT_DAMAGE`
    says where the files are as good as ever.
    """
    try:
        path.mkdir(parents=True, exist_ok=True)
        return DiskStore(path, engine)
    except OSError as error:
        raise _meaning(path, engine, error) from error


def _opened(path: Path, engine: Engine) -> Database:
    """The database itself, whose last key is there. Raises as `open_store`."""
    database = None
    try:
        database = engine.open(path)
        if database.get(LAST_KEY) is None:
            if not _is_empty(database):
                raise StateStoreRefused(f"{path}: the last key is missing")
            database.write({LAST_KEY: b""}, (), at_once)
    except BaseException as error:
        if database is not None:
            database.close()
        if isinstance(error, engine.errors):
            raise _meaning(path, engine, error) from error
        raise
    return database


def _is_empty(database: Database) -> bool:
    view = database.view()
    try:
        with view.pairs(b"") as pairs:
            return next(iter(pairs), None) is None
    finally:
        view.close()


def _meaning(path: Path, engine: Engine, error: Exception) -> StorageError:
    """What an error of an engine stands for; its text is all that it tells."""
    text = str(error)
    if "/LOCK" in text and any(words in text for words in (engine.in_use, os.strerror(errno.EAGAIN))):
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
