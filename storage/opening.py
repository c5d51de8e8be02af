"""A start, from the lock to the last block of the log. The only way a node ever starts; there is no clean-start path.

The stores are opened at their last checkpoint; a state store that cannot be trusted is put aside and made again.
"""

from __future__ import annotations

import json
import os
import shutil
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from random import Random
from typing import NamedTuple

import structlog

from chain.blocks import encode_header
from chain.genesis import Genesis
from chain.production import ChainSettings
from storage.applied import AppliedChain
from storage.blocks.chaindata import ChainData
from storage.blocks.delta import Deltas
from storage.checkpoint import Checkpoint, read_replay_start, replay_from, verify_checkpoints
from storage.directory import layout
from storage.directory.exclusion import DirectoryLock
from storage.directory.identity import open_genesis
from storage.directory.notes import read_note, remove_note
from storage.directory.stamp import engine_of, raise_stamp, take_directory
from storage.errors import (
    CheckpointBroken,
    DataDirectoryLocked,
    DataDirectoryUnusable,
    DataLossRefused,
    ExportDamaged,
    IndexDamaged,
    IndexLocked,
    StateStoreCorrupt,
    StateStoreRefused,
    StorageUnreadable,
    WalPruned,
)
from storage.export import exports, founding_export, read_header, restore_export
from storage.index.file import destroy, refuse_if_held
from storage.index.follower import IndexFollower
from storage.index.index import Index
from storage.index.rows import RowWriter
from storage.io.failpoints import reach
from storage.io.failures import starting, writing
from storage.io.files import FileSystem, RealFs
from storage.io.kv import KeyValueStore
from storage.io.kv.engines import default_engine, open_store_at
from storage.io.kv.store import unused
from storage.preflight import looked_over, refuse_unwritable
from storage.replay import Recovery, Replay, recover
from storage.store import Store
from storage.wal import Wal, WalIdentity
from storage.wal.bounds import read_beginning
from storage.wal.records import RecordType, encode_genesis
from storage.wal.recovery import forget_cached
from storage.wal.repair import accept_loss

log = structlog.get_logger(__name__)


def index_writer_here(path: Path, migrations: Path) -> RowWriter:
    """Writes the index in this process, which imports SQLAlchemy for it."""
    from storage.index.sql import SqlWriter

    return SqlWriter(path, migrations)


@dataclass(frozen=True, slots=True)
class StoreOptions:
    """Where the derived stores are, and how much they keep."""

    data_dir: Path
    migrations: Path
    program: str
    """The version that runs."""
    segment_size_bytes: int = 64 * 2**20
    retention_blocks: int | None = None
    """Blocks whose state stays readable; None: all."""
    accept_data_loss: int = 0
    """LSN before which a log damaged inside its durable range shall end; 0: never."""
    index_writer: Callable[[Path, Path], RowWriter] = index_writer_here
    """Makes who writes the index, from the path of its database and that of the migrations."""
    deltas: Deltas = Deltas.AUTO
    engine: str = ""
    """Engine of the state store of a new directory; empty: `storage.io.kv.engines.default_engine`."""
    settings: ChainSettings = field(default_factory=ChainSettings)
    """What holds for each setting of the chain that no record has changed."""


class Opened(NamedTuple):
    """A data directory that this process has for itself, and the chain in it at the end of its log."""

    fs: RealFs
    lock: DirectoryLock
    genesis: Genesis
    store: Store
    recovery: Recovery

    def close(self) -> None:
        """Close the stores and let others have the directory."""
        self.store.close()
        self.lock.release()


def open_directory(
    options: StoreOptions,
    decide: Callable[[Genesis | None], Genesis],
    replay_over: Callable[[Store, Genesis], Replay],
) -> Opened:
    """Bring the chain in a data directory up to the end of its log, or begin a new one there: a start, all of it.

    ``decide`` is asked about the stored genesis, see `open_genesis`;
    ``replay_over`` makes the function that runs the blocks of the log again over a store.

    Raises `EntryUnusable`, `DataDirectoryLocked`, `DataDirectoryUnusable`, `DataDirectoryDamaged`, `StoreTooNew`,
    `StateRootMismatch`, and as `open_store`.
    """
    fs = looked_over(options.data_dir, unused=True)
    refuse_unwritable(options.data_dir)
    lock = take_directory(fs, options.program, options.engine or default_engine())
    try:
        with starting():
            if options.engine not in ("", kept := engine_of(fs)):
                log.info("the state store keeps the engine it has", engine=kept, setting=options.engine)
            genesis = open_genesis(fs, decide)
            try:
                store, recovery = _replayed(fs, genesis, options, replay_over)
            except StateStoreCorrupt as damage:  # met on the way: what the log says counts
                once = replace(options, accept_data_loss=0)
                reason = f"the replay met damage in it: {damage}"
                store, recovery = _replayed(fs, genesis, once, replay_over, distrust=reason)
            return Opened(fs, lock, genesis, store, recovery)
    except BaseException:
        lock.release()
        raise


def _replayed(
    fs: FileSystem,
    genesis: Genesis,
    options: StoreOptions,
    replay_over: Callable[[Store, Genesis], Replay],
    distrust: str | None = None,
) -> tuple[Store, Recovery]:
    store = open_store(fs, genesis, options, distrust)
    try:
        return store, recover(store, replay_over(store, genesis))
    except BaseException:
        store.close()
        raise


def open_store(fs: FileSystem, genesis: Genesis, options: StoreOptions, distrust: str | None = None) -> Store:
    """The stores at their last checkpoint, or at genesis. `storage.replay.recover` must run next.

    ``distrust`` says why the state store is not to be believed, whatever it holds; None: if it proves itself, it is.

    Raises `WalCorrupt`, `WalPruned`, `StoreTooNew`, `DataDirectoryUnusable`, `StoragePanic`, and `DataDirectoryLocked`
    if another program uses one of them, before anything of it is changed. A state store that its engine refuses to
    open, or that does not hold what its checkpoints say, is moved to quarantine and built again.
    """
    if options.accept_data_loss:
        _accept_data_loss(fs, genesis, options)
    kv, checkpoint = _open_state(fs, genesis, options.data_dir, distrust)
    try:
        reach("open.state")
        index = _open_index(options)
        try:
            return assemble(fs, kv, index, genesis, checkpoint, options)
        except BaseException:
            index.close()
            raise
    except BaseException:
        kv.close()
        raise


def assemble(
    fs: FileSystem,
    kv: KeyValueStore,
    index: Index,
    genesis: Genesis,
    checkpoint: Checkpoint | None,
    options: StoreOptions,
    random_bytes: Callable[[int], bytes] = os.urandom,
) -> Store:
    """A `Store` of opened parts over its log, which must reach as far as they do; begins an empty log with genesis.

    ``checkpoint`` is the key-value store's last, ``random_bytes`` salts the log's segments.
    """
    panicked = fs.exists(layout.PANIC)
    if panicked and fs.exists(layout.WAL):
        log.warning("the last run ended because a sync or write failed", error=read_note(fs, layout.PANIC))
        forget_cached(fs, layout.WAL)
    mark, session_lsn = index.watermark(), index.session_lsn()
    start = read_replay_start(kv)
    lsn = checkpoint.lsn if checkpoint is not None else 0
    wal = Wal.open(
        fs,
        layout.WAL,
        WalIdentity(genesis.header().hash, genesis.config.chain_id),
        witness_lsn=max(lsn, mark.lsn if mark else 0, session_lsn),
        segment_size=options.segment_size_bytes,
        random_bytes=random_bytes,
        start=start.place,
        read_from=replay_from(lsn, start.needed_lsn),
        before_change=lambda: raise_stamp(fs, options.program),
    )
    if panicked:
        remove_note(fs, layout.PANIC)  # the log's unwitnessed end was written and synced again, and that succeeded
    reach("open.log")
    applied = AppliedChain(kv, genesis, options.settings, options.retention_blocks, lsn, start)
    follower = IndexFollower(index, applied.chain)
    if wal.next_lsn == 1:
        wal.append(RecordType.GENESIS, encode_genesis(genesis.to_json()))
        reach("open.genesis.appended")
        wal.flush()
    reach("open.genesis.logged")
    if options.accept_data_loss:
        loss = {"at": int(time.time()), "lsn": options.accept_data_loss}
        wal.append(RecordType.DATA_LOSS, json.dumps(loss, sort_keys=True).encode(), optional=True)
        wal.flush()
    return Store(
        wal, kv, applied, follower, checkpoint_lsn=lsn, needed_lsn=start.needed_lsn, deltas=options.deltas
    )


def _open_state(
    fs: FileSystem, genesis: Genesis, data_dir: Path, distrust: str | None
) -> tuple[KeyValueStore, Checkpoint | None]:
    """The state store; if it cannot be trusted, what the newest good export makes of it, or an empty one.

    Raises `WalPruned` if it would have to be empty, but the log does not begin with genesis any more.
    """
    shutil.rmtree(data_dir / layout.VERIFYING, ignore_errors=True)
    engine, place = engine_of(fs), data_dir / layout.STATE
    beginning = read_beginning(fs, layout.WAL)
    first_lsn = beginning.first_lsn if beginning is not None else 1
    try:
        if distrust is None and fs.exists(layout.SUSPECT):
            distrust = f"an earlier run has met damage in it: {read_note(fs, layout.SUSPECT)}"
        if distrust is not None:
            raise StateStoreCorrupt(distrust)
        kv, checkpoint = _trusted(place, engine, genesis, first_lsn)
        if checkpoint is not None or not exports(fs):
            return kv, checkpoint
        kv.close()
        raise CheckpointBroken("the state store is empty, though it was exported once")
    except (StateStoreRefused, CheckpointBroken, StateStoreCorrupt) as error:
        log.error("the state store is put aside and built again", error=str(error), target=_put_aside(data_dir))
    reach("open.quarantined")
    remove_note(fs, layout.SUSPECT)
    for path in exports(fs):
        kv = open_store_at(place, engine)
        try:
            header = restore_export(fs, path, kv, encode_header(genesis.header()))
            kv.close()
            log.warning("state restored from an export", path=path, block=header.block, lsn=header.lsn)
            return _trusted(place, engine, genesis, first_lsn)
        except (StorageUnreadable, ExportDamaged, StateStoreRefused, CheckpointBroken, StateStoreCorrupt) as error:
            kv.close()
            log.error("a state export cannot be used", path=path, error=str(error), target=_put_aside(data_dir))
    if beginning is not None:
        raise WalPruned(f"the log begins at LSN {first_lsn}, and {beginning.export} cannot be used or is gone")
    return open_store_at(place, engine), None


def _trusted(
    place: Path, engine: str, genesis: Genesis, first_lsn: int
) -> tuple[KeyValueStore, Checkpoint | None]:
    """The state store, if it opens, holds what its checkpoints say of this chain, and needs no log before that LSN."""
    kv = open_store_at(place, engine)
    try:
        checkpoint = verify_checkpoints(kv, Random())  # noqa: S311 - which paths are sampled is not secret
        first = ChainData(kv).header(0) if checkpoint is not None else None
        if first is not None and first.hash != genesis.header().hash:
            raise CheckpointBroken(f"it is of another chain, with genesis 0x{first.hash.hex()}")
        from_lsn = replay_from(checkpoint.lsn, read_replay_start(kv).needed_lsn) if checkpoint is not None else 1
        if from_lsn < first_lsn:
            raise CheckpointBroken(f"it needs the log from LSN {from_lsn} on, which begins at LSN {first_lsn}")
        return kv, checkpoint
    except BaseException:
        kv.close()
        raise


def _put_aside(data_dir: Path) -> str:
    """Move the state store to quarantine. Raises `DataDirectoryLocked` if another program uses it."""
    target = data_dir / layout.QUARANTINE / f"state-{time.time_ns()}"
    with unused(data_dir / layout.STATE):
        with writing(str(target.parent)):
            target.parent.mkdir(mode=0o700, exist_ok=True)
        with writing(str(target)), suppress(FileNotFoundError):  # a start that was killed has moved it already
            (data_dir / layout.STATE).rename(target)
    return str(target)


def _accept_data_loss(fs: FileSystem, genesis: Genesis, options: StoreOptions) -> None:
    """End the log where its owner says; what was derived from the lost part is put aside and derived again."""
    identity = WalIdentity(genesis.header().hash, genesis.config.chain_id)
    founding = founding_export(fs)
    if founding and (last := read_header(fs, founding).lsn) >= options.accept_data_loss:
        raise DataLossRefused(f"the log goes on from {founding}, of LSN {last}: it cannot end before LSN {last + 1}")
    with unused(options.data_dir / layout.STATE):
        refuse_if_held(options.data_dir / layout.INDEX)  # before anything is changed
    accept_loss(fs, layout.WAL, identity, options.accept_data_loss)
    log.error("records were lost and this was accepted", from_lsn=options.accept_data_loss)
    _put_aside(options.data_dir)
    for path in exports(fs):
        if path != founding:
            with writing(path):
                fs.unlink(path)
    destroy(options.data_dir / layout.INDEX)


def _open_index(options: StoreOptions) -> Index:
    path = options.data_dir / layout.INDEX
    for file in options.data_dir.glob(f"{layout.INDEX}*"):
        if not os.access(file, os.W_OK):  # SQLite would tell late, and of no file
            raise DataDirectoryUnusable(f"{file} cannot be written")
    writer = options.index_writer(path, options.migrations)
    try:
        return Index.open(path, options.migrations, writer)
    except IndexDamaged as error:
        log.error("the index is damaged: building it again", error=str(error))
        destroy(path)
        return Index.open(path, options.migrations, writer)
    except IndexLocked as error:
        raise DataDirectoryLocked(f"another program uses {path}: {error}") from error
