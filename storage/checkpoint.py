"""Checkpoints: one synced batch brings state, blocks and receipts to a block and names the log record.

Each batch carries a record ``ckpt/<n>`` that holds the hash of record n - 1. A store which dropped a batch
in the middle of its history, as LevelDB can, therefore shows a gap. The log alone makes transactions
durable; a checkpoint bounds how much of it is replayed at start.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from random import Random
from typing import Any

import msgspec

from chain.hashing import keccak256
from chain.types import ZERO_HASH, Hash32
from storage.blocks.chaindata import ChainData
from storage.errors import CheckpointBroken, StoreTooNew
from storage.io.cooperative import Pace, at_once
from storage.io.failpoints import reach
from storage.io.kv import KeyValueSnapshot, KeyValueStore
from storage.state.keys import CHECKPOINT, META_BLOCK, META_HEAD, META_SETTINGS, META_STATE, block_key
from storage.state.positions import stored_positions
from storage.state.store import StateStore, stored_head
from storage.state.verify import check_sample
from storage.wal.reader import GroupBoundary

SCHEMA_VERSION = 1
"""Format version of everything in the key-value store."""
LINKS_CHECKED = 1_024
PATHS_CHECKED = 1_000

_RECORD = struct.Struct(">IQQQ32s32s32s")


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """The state of the store after one checkpoint batch."""

    number: int
    """Position in the chain of checkpoints, from 1."""
    lsn: int
    """LSN of the last log record whose effects are included."""
    block: int
    block_hash: Hash32
    state_root: Hash32
    """Root of the stored state: the block's, or that after its amendments."""
    previous: Hash32
    """Hash of the record before; zero for the first."""
    schema_version: int = SCHEMA_VERSION

    def encode(self) -> bytes:
        """The stored record."""
        return _RECORD.pack(
            self.schema_version,
            self.number,
            self.lsn,
            self.block,
            self.block_hash,
            self.state_root,
            self.previous,
        )

    @property
    def hash(self) -> Hash32:
        """Keccak-256 of the record."""
        return keccak256(self.encode())

    @classmethod
    def decode(cls, record: bytes) -> Checkpoint:
        """Inverse of `encode`. Raises `StoreTooNew`, `CheckpointBroken`."""
        version = int.from_bytes(record[:4], "big")
        if version > SCHEMA_VERSION and len(record) >= 4:
            raise StoreTooNew(f"the state store has schema {version}; this program knows {SCHEMA_VERSION}")
        if len(record) != _RECORD.size or version == 0:
            raise CheckpointBroken(f"a checkpoint record of {len(record)} bytes with schema {version}")
        version, number, lsn, block, block_hash, root, previous = _RECORD.unpack(record)
        return cls(number, lsn, block, Hash32(block_hash), Hash32(root), Hash32(previous), version)


def last_checkpoint(snapshot: KeyValueSnapshot | KeyValueStore) -> Checkpoint | None:
    """The last checkpoint, None in an empty store. Checks its own record only.

    Raises `CheckpointBroken`, `StoreTooNew`.
    """
    head = snapshot.get(META_HEAD)
    if head is None:
        return None
    record = snapshot.get(CHECKPOINT + head[:8])
    if record is None or len(head) != 40:
        raise CheckpointBroken("the head checkpoint's record is missing")
    checkpoint = Checkpoint.decode(record)
    if checkpoint.hash != head[8:] or checkpoint.number != int.from_bytes(head[:8], "big"):
        raise CheckpointBroken(f"the record of checkpoint {checkpoint.number} is not the one the head names")
    return checkpoint


def verify_checkpoints(
    kv: KeyValueStore, rng: Random, links: int = LINKS_CHECKED, paths: int = PATHS_CHECKED
) -> Checkpoint | None:
    """The last checkpoint of a store just opened, after checking that the store holds what it says.

    The last ``links`` records must follow each other and link by hash, the block and the root node must be
    the recorded ones, and ``paths`` random accounts, slots and trie paths must agree. None: an empty store.
    Raises `CheckpointBroken`, `StateStoreCorrupt`, `StoreTooNew`.
    """
    snapshot = kv.snapshot()
    try:
        head = last_checkpoint(snapshot)
        if head is None:
            for key, _ in snapshot.iterate(b"", b"\xff"):
                raise CheckpointBroken(f"the store has no checkpoint but holds key {key[:40]!r}")
            return None
        _check_links(snapshot, head, links)
        positions = stored_positions(snapshot)
        position = positions.of(head.block)
        _check_block(kv, head, amended=position != positions.sealed(head.block))
        if stored_head(snapshot) != (position, head.state_root):
            raise CheckpointBroken(f"the stored state is not that of checkpoint {head.number}")
        check_sample(snapshot, head.state_root, paths, rng)
        return head
    finally:
        snapshot.close()


def _check_links(snapshot: KeyValueSnapshot, head: Checkpoint, links: int) -> None:
    """The records before ``head`` follow each other, and none comes after it."""
    later = block_key(CHECKPOINT, head.number + 1)
    for key, _ in snapshot.iterate(later, block_key(CHECKPOINT, 2**64 - 1)):
        raise CheckpointBroken(f"{key!r} comes after the head checkpoint {head.number}")
    current = head
    first = block_key(CHECKPOINT, max(1, head.number - links))
    for _, record in snapshot.iterate(first, block_key(CHECKPOINT, head.number), reverse=True):
        before = Checkpoint.decode(record)
        if before.number != current.number - 1 or before.hash != current.previous:
            raise CheckpointBroken(f"checkpoint {current.number} does not link to {before.number}")
        if before.lsn > current.lsn:
            raise CheckpointBroken(f"checkpoint {current.number} is behind {before.number}")
        current = before
    if current.number > max(1, head.number - links):
        raise CheckpointBroken(f"checkpoint {current.number - 1} is missing")
    if current.number == 1 and current.previous != ZERO_HASH:
        raise CheckpointBroken("checkpoint 1 links to an earlier one")


def _check_block(kv: KeyValueStore, head: Checkpoint, *, amended: bool) -> None:
    """The checkpoint's block is the last one stored, has the recorded hash and, unless it was amended, root."""
    header = ChainData(kv).header(head.block)
    same_root = header is not None and (amended or header.state_root == head.state_root)
    if header is None or header.hash != head.block_hash or not same_root:
        raise CheckpointBroken(f"block {head.block} is not the one checkpoint {head.number} names")
    if kv.get(META_BLOCK) != head.block.to_bytes(8, "big"):
        raise CheckpointBroken(f"the last stored block is not block {head.block}")


class ReplayStart(msgspec.Struct, frozen=True, array_like=True):
    """What replay after a checkpoint needs besides the state.

    Stores of format 1.0 have no ``answers``, those before 1.2 no ``place``, those before 1.4 no ``snapshots``.
    """

    needed_lsn: int | None = None
    """Oldest POOL_ADMIT record that a waiting transaction needs; None if none does."""
    values: dict[str, Any] = msgspec.field(default_factory=dict)
    """Last value of every COMMAND record, by name."""
    answers: list[list[Any]] = msgspec.field(default_factory=list)
    """Items of `storage.idempotency.Answers`."""
    place: GroupBoundary | None = None
    """Where in the log recovery begins to read; None: at the beginning of a segment."""
    snapshots: list[list[Any]] = msgspec.field(default_factory=list)
    """`storage.amendments.Snapshot` of each that is not forgotten, oldest first."""
    next_snapshot: int = 0


def replay_from(checkpoint_lsn: int, needed_lsn: int | None) -> int:
    """The first log record that recovery reads over a checkpoint: the one after it, or an older one of the pool."""
    return min(checkpoint_lsn + 1, needed_lsn or checkpoint_lsn + 1)


def read_replay_start(kv: KeyValueStore) -> ReplayStart:
    """What the last checkpoint keeps for the replay after it. Raises `CheckpointBroken`."""
    record = kv.get(META_SETTINGS)
    if record is None:
        return ReplayStart()
    try:
        return msgspec.msgpack.decode(record, type=ReplayStart)
    except msgspec.MsgspecError as error:
        raise CheckpointBroken(f"settings of the last checkpoint: {error}") from None


def _encode_start(start: ReplayStart) -> bytes:
    return msgspec.msgpack.encode(start)


def write_checkpoint(
    kv: KeyValueStore,
    state: StateStore,
    chain_data: ChainData,
    lsn: int,
    start: ReplayStart | None = None,
    sessions: tuple[Mapping[bytes, bytes], Iterable[bytes]] = ({}, ()),
    pace: Pace = at_once,
) -> Checkpoint:
    """Write everything up to the frozen block (or the head, if none is frozen) in one synced batch.

    ``lsn`` is the last log record applied when the state was frozen; it must be durable. Runs in the writer
    thread, or in one other thread after `StateStore.freeze`. Raises `StateStoreWriteFailed`: the process
    must end.
    """
    block = state.frozen if state.frozen is not None else state.freeze()
    header = chain_data.header(block)
    if header is None:
        raise ValueError(f"block {block} is not in the chain data")
    puts, deletes = state.checkpoint_batch(block, pace)
    root = Hash32(puts[META_STATE][8:])
    position = int.from_bytes(puts[META_STATE][:8], "big")
    if header.state_root != root and position == state.positions.sealed(block):
        raise ValueError(f"block {block} has another state root than the state")
    more_puts, more_deletes = chain_data.checkpoint_batch(block, pace)
    before = last_checkpoint(kv)
    if before is not None and lsn < before.lsn:
        raise ValueError(f"log record {lsn} is behind the last checkpoint's, {before.lsn}")
    checkpoint = Checkpoint(
        before.number + 1 if before else 1,
        lsn,
        block,
        header.hash,
        root,
        before.hash if before else ZERO_HASH,
    )
    puts |= more_puts | dict(sessions[0])
    puts[META_SETTINGS] = _encode_start(start or ReplayStart())
    puts[block_key(CHECKPOINT, checkpoint.number)] = checkpoint.encode()
    puts[META_HEAD] = checkpoint.number.to_bytes(8, "big") + checkpoint.hash
    reach("checkpoint.before")
    kv.write(puts, [*deletes, *more_deletes, *sessions[1]], pace)
    reach("checkpoint.written")
    chain_data.checkpoint_done(block, pace)
    state.checkpoint_done(block, pace)
    reach("checkpoint.done")
    return checkpoint
