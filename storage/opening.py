"""Opens the stores of a data directory at their last checkpoint; a state store that cannot be trusted is put aside."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from random import Random

import structlog

from chain.blocks import Block
from chain.genesis import Genesis
from storage import layout
from storage.chaindata import ChainData
from storage.checkpoint import Checkpoint, read_settings, verify_checkpoints
from storage.errors import (
    CheckpointBroken,
    IndexDamaged,
    StateRootMismatch,
    StateStoreCorrupt,
    StateStoreRefused,
)
from storage.following import IndexFollower
from storage.fs import FileSystem
from storage.index.index import Index, destroy
from storage.kv import KeyValueStore, open_leveldb
from storage.state.store import StateStore
from storage.store import Store
from storage.wal import Wal, WalIdentity
from storage.wal.records import RecordType, encode_genesis

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class StoreOptions:
    """Where the derived stores are, and how much they keep."""

    data_dir: Path
    migrations: Path
    segment_size_bytes: int = 64 * 2**20
    retention_blocks: int | None = None
    """Blocks whose state stays readable; None: all."""
    index_url: str = ""
    """Database of the index; empty: SQLite in the data directory."""


def open_store(fs: FileSystem, genesis: Genesis, options: StoreOptions) -> Store:
    """The stores at their last checkpoint, or at genesis. `storage.recovery.recover` must run next.

    Raises `WalCorrupt`, `StoreTooNew` and `StoragePanic`. A state store that LevelDB refuses to open, or that does not
    hold what its checkpoints say, is moved to quarantine and built again from the log.
    """
    kv, checkpoint = _open_state(options.data_dir)
    return assemble(fs, kv, _open_index(options), genesis, checkpoint, options)


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
    mark = index.watermark()
    wal = Wal.open(
        fs,
        layout.WAL,
        WalIdentity(genesis.header().hash, genesis.config.chain_id),
        witness_lsn=max(checkpoint.lsn if checkpoint else 0, mark.lsn if mark else 0),
        segment_size=options.segment_size_bytes,
        random_bytes=random_bytes,
    )
    state = StateStore(kv, options.retention_blocks)
    chain = ChainData(kv)
    if checkpoint is None:
        root = state.apply(0, genesis.delta())
        if root != genesis.header().state_root:
            raise StateRootMismatch(f"genesis has root 0x{root.hex()}, expected 0x{genesis.header().state_root.hex()}")
        chain.add(Block(genesis.header()), ())
    follower = IndexFollower(index, chain, lambda: _rebuilt_index(options))
    store = Store(wal, kv, state, chain, follower)
    tip = chain.header(chain.head)
    assert tip is not None
    store.tip = store.head = tip
    if wal.next_lsn == 1:
        wal.append(RecordType.GENESIS, encode_genesis(genesis.to_json()))
        wal.flush()
    if checkpoint is not None:
        store.checkpoint_lsn = checkpoint.lsn
        settings = read_settings(kv)
        store.needed_lsn, store.settings = settings.needed_lsn, settings.values
        store.sessions.load(kv)
    return store


def _open_state(data_dir: Path) -> tuple[KeyValueStore, Checkpoint | None]:
    directory = data_dir / layout.STATE
    try:
        kv = open_leveldb(directory)
        try:
            return kv, verify_checkpoints(kv, Random())  # noqa: S311 - which paths are sampled is no secret
        except (CheckpointBroken, StateStoreCorrupt):
            kv.close()
            raise
    except (StateStoreRefused, CheckpointBroken, StateStoreCorrupt) as error:
        target = data_dir / "quarantine" / f"state-{time.time_ns()}"
        log.error("the state store is put aside and built again from the log", error=str(error), target=str(target))
        target.parent.mkdir(mode=0o700, exist_ok=True)
        shutil.move(directory, target)
        return open_leveldb(directory), None


def _index_url(options: StoreOptions) -> str:
    return options.index_url or f"sqlite:///{options.data_dir / layout.INDEX}"


def _open_index(options: StoreOptions) -> Index:
    try:
        return Index.open(_index_url(options), options.migrations)
    except IndexDamaged as error:
        log.error("the index is damaged: building it again", error=str(error))
        return _rebuilt_index(options)


def _rebuilt_index(options: StoreOptions) -> Index:
    destroy(_index_url(options))
    return Index.open(_index_url(options), options.migrations)
