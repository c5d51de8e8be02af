"""Moves the state store of a data directory to another engine: copy, prove, and one step that decides.

The new store is made in a folder of its own. It becomes the directory's when the stamp names its engine; a process that
dies before or after leaves a directory that starts with the same chain (`storage.directory.swap`).
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing
from hashlib import blake2b
from pathlib import Path
from typing import NamedTuple

from storage.checkpoint import Checkpoint
from storage.directory import layout
from storage.directory.stamp import raised, read_stamp, write_stamp
from storage.directory.swap import remove_store, settle
from storage.errors import MigrationRefused, StateStoreCorrupt, StorageFull
from storage.io.failpoints import reach
from storage.io.failures import syncing
from storage.io.files import RealFs
from storage.io.kv import LAST_KEY, KeyValueStore
from storage.io.kv.engines import open_store_at, require_engine
from storage.prune import UNTRUSTED, prove_store

BATCH_BYTES = 4 * 2**20
ROOM_FACTOR = 2
"""Free space that is asked for, in sizes of the present store: an engine may need twice its data while it compacts."""
ROOM_BYTES = 32 * 2**20

Tell = Callable[[int, int], None]
"""Gets the number of pairs copied so far, and their bytes."""


class Migrated(NamedTuple):
    """A state store that has another engine now."""

    was: str
    engine: str
    checkpoint: Checkpoint | None
    """The last one, whose state root was recomputed over the new store; None: the store was empty."""
    pairs: int
    bytes_before: int
    """Size of the old store's files."""
    bytes_after: int


class _Content(NamedTuple):
    pairs: int
    digest: bytes


def migrate(fs: RealFs, engine: str, program: str, tell: Tell) -> Migrated:
    """Give the state store of a directory another engine than it has. The caller holds the directory's lock.

    Takes as long as copying the store, and 40 us for each value of the state. Raises `MigrationRefused` if the store is
    not sound, or was to be recovered first; `EngineMissing`, `StorageFull`, `StoragePanic`, `StateStoreWriteFailed`,
    `DataDirectoryLocked`. After each of them the next start takes away what was begun, or ends it.
    """
    stamp, made = read_stamp(fs), layout.staged(engine)
    was = stamp.engine
    assert engine != was
    require_engine(engine)
    _refuse_unless_ready(fs)
    size = _size(fs.root / layout.STATE)
    if fs.free_bytes() < ROOM_FACTOR * size + ROOM_BYTES:
        raise StorageFull(f"another store beside {layout.STATE}/ may need {ROOM_FACTOR * size + ROOM_BYTES} bytes")
    try:
        content = _copy(fs.root, was, engine, tell)
        reach("migrate.copied")
        checkpoint = _prove(fs.root / made, engine, content)
    except UNTRUSTED as error:
        remove_store(fs, made)
        raise MigrationRefused(f"the state store is not sound: {error}") from error
    except BaseException:
        remove_store(fs, made)
        raise
    for path in (made, ""):
        with syncing(path):
            fs.sync_directory(path)
    reach("migrate.proven")
    after = _size(fs.root / made)
    write_stamp(fs, raised(stamp, program)._replace(engine=engine))  # which versions without engines refuse
    reach("migrate.stamped")
    settle(fs, engine)
    return Migrated(was, engine, checkpoint, content.pairs, size, after)


def _refuse_unless_ready(fs: RealFs) -> None:
    for path in (layout.PANIC, layout.SUSPECT):
        if fs.exists(path):
            raise MigrationRefused(f"there is a file {path}: the next start has to recover first")
    if not fs.exists(layout.STATE):
        raise MigrationRefused("there is no state store: the next start has to make it")
    if (fs.root / layout.STATE).is_symlink():
        raise MigrationRefused(f"{layout.STATE} is a link, which another store cannot take the place of")


def _copy(root: Path, was: str, engine: str, tell: Tell) -> _Content:
    """Copy every pair, in batches; what was copied."""
    with (
        closing(open_store_at(root / layout.STATE, was)) as old,
        closing(open_store_at(root / layout.staged(engine), engine)) as new,
        closing(old.snapshot()) as snapshot,
    ):
        digest, count, total = blake2b(), 0, 0
        batch, size = dict[bytes, bytes](), 0
        for key, value in snapshot.iterate(b"", LAST_KEY):
            _feed(digest, key, value)
            batch[key] = value
            count, size = count + 1, size + len(key) + len(value)
            if size >= BATCH_BYTES:
                new.write(batch, ())
                total += size
                batch, size = {}, 0
                tell(count, total)
        new.write(batch, ())
        return _Content(count, digest.digest())


def _prove(path: Path, engine: str, content: _Content) -> Checkpoint | None:
    """Read the new store from disk: the same pairs, and a state that has its root. Raises as `prove_store`."""
    with closing(open_store_at(path, engine)) as store:
        if _content(store) != content:
            raise StateStoreCorrupt(f"{path.name} does not hold the pairs that were copied into it")
        proven = prove_store(store)
        return proven.checkpoint if proven is not None else None


def _content(store: KeyValueStore) -> _Content:
    digest, count = blake2b(), 0
    with closing(store.snapshot()) as snapshot:
        for key, value in snapshot.iterate(b"", LAST_KEY):
            _feed(digest, key, value)
            count += 1
    return _Content(count, digest.digest())


def _feed(digest: blake2b, key: bytes, value: bytes) -> None:
    digest.update(len(key).to_bytes(4, "little") + len(value).to_bytes(4, "little") + key + value)


def _size(path: Path) -> int:
    return sum(file.stat().st_size for file in path.iterdir())
