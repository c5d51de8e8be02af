"""RocksDB as an engine of the key-value store; rocksdict's only importer.

rocksdict 0.3 decides some of what is done here:

- An iterator of its snapshots is not bound to the snapshot: it sees later writes. A view therefore makes its iterator
  together with the snapshot, and reads through it in chunks, each from its own place.
- A synced write keeps Python's lock until the disk has answered; syncing the log alone lets other threads run. A batch
  is therefore written first and synced then, and is durable on return as it has to be.
- Options in the directory would come before ours, unless they are given for the column family too.

A log whose last record is cut is what a killed process leaves, and is read up to there, as LevelDB does; any other
damage of a log refuses the database. With RocksDB's "absolute consistency" a kill would refuse it. `Rdict.repair` is
never called.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, closing, contextmanager
from pathlib import Path
from threading import Lock

import structlog
from rocksdict import (
    BlockBasedOptions,
    Cache,
    DBCompressionType,
    DBRecoveryMode,
    Options,
    Rdict,
    RdictIter,
    ReadOptions,
    Snapshot,
    WriteBatch,
)

from storage.io.cooperative import Pace
from storage.io.kv.port import (
    BLOCK_CACHE_BYTES,
    BLOOM_BITS_PER_KEY,
    OPEN_FILES_MAX,
    WRITE_BUFFER_BYTES,
    Engine,
    Pair,
)

OWN_FILES = ("IDENTITY", "rocksdict-config.json")
"""Files that a LevelDB does not have."""
CHUNK_PAIRS = 256
CHUNK_BYTES = 256 * 2**10
"""An iteration holds so much in memory; it begins with one pair, because many want no more."""
LEVEL_BYTES = 64 * 2**20
TABLE_BYTES = 8 * 2**20
MANIFEST_BYTES = 2**20
INFO_LOG_BYTES = 2**20
ABSENT = "key not found"
"""What rocksdict says of a key that a snapshot does not have; it has no class of errors for that."""

STALLS = ("rocksdb.num-immutable-mem-table", "rocksdb.actual-delayed-write-rate", "rocksdb.is-write-stopped")
"""Properties that are not zero while a write may be delayed: by a flush, or by a compaction that lags behind."""
FAILED = "rocksdb.background-errors"
STALL_SECONDS = 5.0
STALL_POLL_SECONDS = 0.002

log = structlog.get_logger(__name__)


class RocksError(Exception):
    """RocksDB reported an error; rocksdict raises a plain `Exception` with RocksDB's text."""


@contextmanager
def _reported() -> Iterator[None]:
    try:
        yield
    except Exception as error:
        raise RocksError(str(error)) from error


class RocksView:
    """A RocksDB snapshot, and an iterator of the same moment."""

    __slots__ = ("_iterator", "_lock", "_snapshot")

    def __init__(self, database: Rdict, reading: ReadOptions) -> None:
        self._lock = Lock()
        self._snapshot: Snapshot | None = database.snapshot()
        self._iterator: RdictIter | None = database.iter(reading)

    def get(self, key: bytes) -> bytes | None:
        """See `storage.io.kv.port.EngineView`."""
        if self._snapshot is None:
            raise RuntimeError("the snapshot is closed")
        try:
            value: bytes = self._snapshot[key]
        except Exception as error:
            if str(error) == ABSENT:
                return None
            raise RocksError(str(error)) from error
        return value

    def pairs(self, start: bytes) -> AbstractContextManager[Iterator[Pair]]:
        """See `storage.io.kv.port.EngineView`."""
        return closing(self._pairs(start))

    def _pairs(self, start: bytes) -> Generator[Pair]:
        wanted = 1
        while chunk := self._chunk(start, wanted):
            yield from chunk
            start = chunk[-1][0] + b"\0"
            wanted = min(4 * wanted, CHUNK_PAIRS)

    def _chunk(self, start: bytes, pairs_max: int) -> list[Pair]:
        """The next pairs from a key on, none at the end."""
        chunk: list[Pair] = []
        room = CHUNK_BYTES
        with self._lock:
            iterator = self._iterator
            if iterator is None:
                raise RuntimeError("the snapshot is closed")
            try:
                iterator.seek(start)
                while iterator.valid() and len(chunk) < pairs_max and room > 0:
                    chunk.append((iterator.key(), iterator.value()))
                    room -= len(chunk[-1][1])
                    iterator.next()
                if not iterator.valid():
                    with _reported():
                        iterator.status()
            finally:
                del iterator  # the traceback of an error would keep it, and it the database open
        return chunk

    def close(self) -> None:
        """See `storage.io.kv.port.EngineView`."""
        with self._lock:
            self._iterator = self._snapshot = None


class RocksDatabase:
    """A RocksDB with every check on."""

    def __init__(self, path: Path) -> None:
        if (path / "CURRENT").exists() and not any((path / name).exists() for name in OWN_FILES):
            raise RocksError(f"{path} holds a LevelDB")  # which RocksDB would open, and make its own
        options = _options()
        with _reported():
            self._database = Rdict(str(path), options, {"default": options})
        reading = ReadOptions()
        reading.set_verify_checksums(True)
        self._database.set_read_options(reading)
        self._iterating = ReadOptions()
        self._iterating.set_verify_checksums(True)
        self._iterating.fill_cache(False)  # type: ignore[call-arg]  # its stub forgot the argument
        self._between = Lock()
        """Held while a batch goes in, and while a view takes its two parts, which have to be of one moment."""

    def get(self, key: bytes) -> bytes | None:
        """See `storage.io.kv.port.Database`."""
        try:
            value: bytes | None = self._database.get(key)
        except Exception as error:
            raise RocksError(str(error)) from error
        return value

    def view(self) -> RocksView:
        """See `storage.io.kv.port.Database`."""
        with self._between, _reported():
            return RocksView(self._database, self._iterating)

    def write(self, puts: Mapping[bytes, bytes], deletes: Iterable[bytes], pace: Pace) -> None:
        """See `storage.io.kv.port.Database`."""
        batch = WriteBatch(raw_mode=True)
        for key in pace(deletes):
            batch.delete(key)
        for key, value in pace(puts.items()):
            batch.put(key, value)
        self._await_flush()
        with self._between, _reported():
            self._database.write(batch)
        with _reported():
            self._database.flush_wal(True)

    def _await_flush(self) -> None:
        """Wait, while other threads run, for what the write would wait for with Python's lock held."""
        number = self._database.property_int_value
        end = time.monotonic() + STALL_SECONDS
        while any(number(name) for name in STALLS) and not number(FAILED) and time.monotonic() < end:
            time.sleep(STALL_POLL_SECONDS)

    def tables(self) -> set[str]:
        """See `storage.io.kv.port.Database`."""
        with _reported():
            return {file["name"].lstrip("/") for file in self._database.live_files()}

    def close(self) -> None:
        """See `storage.io.kv.port.Database`."""
        try:
            self._database.close()  # which writes a table of what is in memory
        except Exception as error:
            log.warning("RocksDB could not write a last table; its log has what is not in one", error=str(error))


def _options() -> Options:
    """Every check on, and little memory, whatever the size of the database."""
    tables = BlockBasedOptions()
    tables.set_block_cache(Cache(BLOCK_CACHE_BYTES))
    tables.set_bloom_filter(BLOOM_BITS_PER_KEY, False)
    tables.set_cache_index_and_filter_blocks(True)
    tables.set_pin_l0_filter_and_index_blocks_in_cache(True)
    options = Options(raw_mode=True)
    options.set_block_based_table_factory(tables)
    settings: dict[Callable[..., None], object] = {
        options.create_if_missing: True,
        options.set_paranoid_checks: True,
        options.set_wal_recovery_mode: DBRecoveryMode.tolerate_corrupted_tail_records(),
        options.set_write_buffer_size: WRITE_BUFFER_BYTES,
        options.set_max_write_buffer_number: 2,
        options.set_max_open_files: OPEN_FILES_MAX,
        options.set_max_file_opening_threads: 1,
        options.set_max_background_jobs: 2,
        options.set_max_bytes_for_level_base: LEVEL_BYTES,
        options.set_target_file_size_base: TABLE_BYTES,
        options.set_compression_type: DBCompressionType.lz4(),
        options.set_max_manifest_file_size: MANIFEST_BYTES,
        options.set_manifest_preallocation_size: MANIFEST_BYTES // 16,
        options.set_max_log_file_size: INFO_LOG_BYTES,
        options.set_keep_log_file_num: 2,
        options.set_stats_dump_period_sec: 0,
        options.set_stats_persist_period_sec: 0,
    }
    for setting, value in settings.items():
        setting(value)
    return options


ENGINE = Engine("rocksdb", RocksDatabase, (RocksError, OSError), "lock hold by current process")
