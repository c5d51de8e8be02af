"""Removes the log's oldest segments once a state export was proven to hold what they did. Only when its owner asks.

An export is believed when its digest is right, a store made of it holds what its checkpoints say, its blocks hang
together, the state root recomputed from its values is the one it claims, and the rest of the log, read to its end,
goes on from its block. Then the log's new beginning, with the export's name, is made durable; only then segments go.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager
from itertools import takewhile
from pathlib import Path
from random import Random
from typing import NamedTuple

import structlog

from chain.blocks import encode_header
from chain.genesis import Genesis
from chain.types import Hash32
from storage.blocks.chaindata import ChainData, wrong_blocks
from storage.checkpoint import Checkpoint, read_replay_start, replay_from, verify_checkpoints
from storage.directory import layout
from storage.errors import (
    CheckpointBroken,
    ExportDamaged,
    PruneRefused,
    StateStoreCorrupt,
    StateStoreRefused,
    StateStoreWriteFailed,
    StorageUnreadable,
)
from storage.export import exports, read_header, restore_export
from storage.io.failpoints import reach
from storage.io.failures import reading, syncing
from storage.io.files import FileSystem, parent_of
from storage.io.kv import KeyValueStore
from storage.io.kv.engines import open_store_at
from storage.state.verify import check_all, recompute_root
from storage.wal import WalIdentity, inspect
from storage.wal.bounds import Beginning, write_beginning
from storage.wal.format import Record
from storage.wal.packed import SUFFIX, unpacked
from storage.wal.reader import Walk
from storage.wal.records import RecordType, decode_command, decode_environment, decode_seal
from storage.wal.segments import SegmentFile, Survey, remove_pruned, survey
from storage.wal.unknown import check_type

log = structlog.get_logger(__name__)

Scratch = Callable[[], AbstractContextManager[KeyValueStore]]
"""Gives an empty store, and takes it away again."""
UNTRUSTED = (CheckpointBroken, ExportDamaged, StateStoreCorrupt, StateStoreRefused, StorageUnreadable)


class Proven(NamedTuple):
    """An export that was restored and checked."""

    path: str
    checkpoint: Checkpoint
    from_lsn: int
    """The first log record that is read over it."""
    accounts: int
    slots: int


class ProvenStore(NamedTuple):
    """A state store of which every block and value was checked."""

    checkpoint: Checkpoint
    accounts: int
    slots: int


class Pruned(NamedTuple):
    """What went, or would go."""

    export: Proven
    first_lsn: int
    """Where the log begins now."""
    paths: list[str]
    """Paths of the removed segments; empty if none could be removed."""
    bytes: int


def prove_export(fs: FileSystem, path: str, store: KeyValueStore, genesis: Genesis) -> Proven:
    """Restore an export into an empty store and check everything in it.

    Takes some 40 us a value and 35 us a transaction. Raises `ExportDamaged`, `CheckpointBroken`, `StateStoreCorrupt`.
    """
    header = restore_export(fs, path, store, encode_header(genesis.header()))
    try:
        proven = prove_store(store)
    except StateStoreCorrupt as error:
        raise ExportDamaged(f"{path}: {error}") from error
    if proven is None:
        raise ExportDamaged(f"{path} holds no checkpoint")
    checkpoint, accounts, slots = proven
    claimed = (header.block, header.state_root, header.lsn)
    if claimed != (checkpoint.block, checkpoint.state_root.hex(), checkpoint.lsn):
        raise ExportDamaged(f"{path} is not of the checkpoint that it holds")
    from_lsn = replay_from(checkpoint.lsn, read_replay_start(store).needed_lsn)
    return Proven(path, checkpoint, from_lsn, accounts, slots)


def prove_store(store: KeyValueStore) -> ProvenStore | None:
    """Check every block and value of a store, and its state root; None if it has no checkpoint.

    Takes as long as `prove_export`. Raises `CheckpointBroken`, `StateStoreCorrupt`.
    """
    checkpoint = verify_checkpoints(store, Random())  # noqa: S311 - which paths are sampled is not secret
    if checkpoint is None:
        return None
    for wrong in wrong_blocks(ChainData(store), checkpoint.block):
        raise StateStoreCorrupt(wrong)
    snapshot = store.snapshot()
    try:
        root, accounts, slots = recompute_root(snapshot)
        if root != checkpoint.state_root:
            raise StateStoreCorrupt(f"the state root is 0x{root.hex()}, not 0x{checkpoint.state_root.hex()}")
        check_all(snapshot, root)
    finally:
        snapshot.close()
    return ProvenStore(checkpoint, accounts, slots)


def prune(
    fs: FileSystem,
    live: KeyValueStore,
    scratch: Scratch,
    genesis: Genesis,
    *,
    below: int = 0,
    dry_run: bool = False,
    before_change: Callable[[], None] = lambda: None,
) -> Pruned:
    """Remove the segments that lie wholly before what recovery from the newest proven export, or from ``live``, reads.

    Segments stay from the first one on with a record that this version does not know: no export holds what it did.

    The caller holds the directory's lock. ``below``: the export must not be later than this LSN, so that a restore can
    still end there; 0: any. ``before_change`` is called when all was checked and something will be removed. Raises
    `PruneRefused`, `WalCorrupt`, `WalForeign`, `StoreTooNew`, `StorageFull`, `StoragePanic`.
    """
    for path in (layout.PANIC, layout.SUSPECT):
        if fs.exists(path):
            raise PruneRefused(f"there is a file {path}: the next start has to recover first")
    try:
        head = verify_checkpoints(live, Random())  # noqa: S311 - which paths are sampled is not secret
    except UNTRUSTED as error:
        raise PruneRefused(f"the state store cannot be trusted: {error}") from error
    if head is None:
        raise PruneRefused("there is no checkpoint yet")
    found = survey(unpacked(fs), layout.WAL, WalIdentity(genesis.header().hash, genesis.config.chain_id))
    export = _newest_proven(fs, scratch, genesis, min(head.lsn, below or head.lsn), found.beginning)
    # The record that the export ends with stays: it shows that both are of one history.
    keep = min(export.from_lsn, export.checkpoint.lsn, replay_from(head.lsn, read_replay_start(live).needed_lsn))
    gone = [s for s in found.segments[:-1] if s.footer is not None and s.footer.last_lsn < keep]
    gone = list(takewhile(lambda segment: _is_known(fs, segment), gone))
    beginning = found.beginning
    if gone and (footer := gone[-1].footer) is not None:
        beginning = Beginning(gone[-1].header.sequence + 1, footer.last_lsn, footer.chain, export.path)
    paths = [*found.pruned, *(segment.path for segment in gone)]
    pruned = Pruned(export, beginning.first_lsn, paths, sum(_size(fs, path) for path in paths))
    if paths:
        _check_rest(fs, beginning, export.checkpoint, head)
    if paths and not dry_run:
        before_change()
        _remove(fs, found, beginning, paths)
    return pruned


@contextmanager
def scratch_store(data_dir: Path, engine: str, elsewhere: Path | None = None) -> Iterator[KeyValueStore]:
    """An empty store, for as much as the state is, in the data directory or in another, and removed again."""
    place = data_dir / layout.VERIFYING
    if elsewhere is not None:
        place = Path(tempfile.mkdtemp(prefix="zvmd-", dir=elsewhere))
    shutil.rmtree(place, ignore_errors=True)
    try:
        store = open_store_at(place, engine)
        try:
            yield store
        finally:
            store.close()
    finally:
        shutil.rmtree(place, ignore_errors=True)


def _newest_proven(fs: FileSystem, scratch: Scratch, genesis: Genesis, until: int, beginning: Beginning) -> Proven:
    last = ""
    for path in exports(fs):
        try:
            lsn = read_header(fs, path).lsn
            if beginning.last_lsn <= lsn <= until:
                with scratch() as store:
                    return prove_export(fs, path, store, genesis)
        except StateStoreWriteFailed as error:
            raise PruneRefused(f"no room to restore {path}, see `--scratch`: {error}") from error
        except UNTRUSTED as error:
            log.warning("a state export proves nothing", path=path, error=str(error))
            last = f": {error}"
    raise PruneRefused(f"no state export up to LSN {until} could be restored and checked{last}")


def _is_known(fs: FileSystem, segment: SegmentFile) -> bool:
    """Whether this version knows all records that can be read in a segment. Raises `StoreTooNew` if one is critical."""
    with reading(segment.path):
        file = unpacked(fs).open(segment.path, writable=False)
    try:
        walk = Walk(file, segment.header, segment.path, segment.limit)
        known = all(check_type(record, segment.path) for record in walk)
        walk.refuse_later_flags()
        return known
    finally:
        file.close()


def _size(fs: FileSystem, path: str) -> int:
    """Bytes of a segment's file, packed or not."""
    total = 0
    for name in (path, path + SUFFIX):
        if fs.exists(name):
            with reading(name):
                file = fs.open(name, writable=False)
                total += file.size()
                file.close()
    return total


def _check_rest(fs: FileSystem, beginning: Beginning, checkpoint: Checkpoint, head: Checkpoint) -> None:
    """Read all that will be left of the log: it must be sound, and go on where the export ends."""
    last_lsn = 0

    def records() -> Iterable[Record]:
        nonlocal last_lsn
        for finding in inspect(fs, layout.WAL, beginning):
            finding.refuse_later_version()
            if not finding.sound:
                raise PruneRefused(f"{finding.path} at {finding.offset:#x} is {finding.verdict}: {finding.detail}")
            if finding.record is not None:
                last_lsn = finding.record.lsn
                yield finding.record

    known = neighbours(records(), checkpoint.lsn)
    if last_lsn < head.lsn:
        raise PruneRefused(f"the log ends at LSN {last_lsn}, the state store is at LSN {head.lsn}")
    if not known and head.block == checkpoint.block:
        known = {head.block_hash}
    if known != {checkpoint.block_hash}:
        names = ", ".join(f"0x{block_hash.hex()}" for block_hash in known) or "none"
        raise PruneRefused(
            f"the export ends with block {checkpoint.block}, 0x{checkpoint.block_hash.hex()}; the log around its "
            f"LSN {checkpoint.lsn} knows {names}"
        )


def neighbours(records: Iterable[Record], lsn: int) -> set[Hash32]:
    """What records say was the newest block at ``lsn``: the last one sealed before, the next one's parent."""
    before: Hash32 | None = None
    after: Hash32 | None = None
    looking = True
    for record in records:
        rewinds = record.type == RecordType.CHEAT and decode_command(record.payload)[0] == "revert"
        if record.lsn <= lsn:
            if record.type == RecordType.BLOCK_SEAL:
                before = decode_seal(record.payload).block_hash
            elif rewinds:
                before = None
        elif looking and record.type == RecordType.BLOCK_ENV:
            after, looking = decode_environment(record.payload).parent_hash, False
        elif rewinds:
            looking = False
    return {block_hash for block_hash in (before, after) if block_hash is not None}


def _make_durable(fs: FileSystem, path: str) -> None:
    """The process that made the export may have been killed before the sync, or somebody has copied the file here."""
    with reading(path):
        file = fs.open(path)
    try:
        with syncing(path):
            file.fsync()
            for folder in (parent_of(path), ""):
                fs.sync_directory(folder)
    finally:
        file.close()


def _remove(fs: FileSystem, found: Survey, beginning: Beginning, paths: list[str]) -> None:
    reach("wal.prune.before")
    if beginning != found.beginning:
        _make_durable(fs, beginning.export)
        write_beginning(fs, layout.WAL, beginning)
    reach("wal.prune.noted")
    remove_pruned(unpacked(fs), layout.WAL, paths)
    reach("wal.prune.done")
