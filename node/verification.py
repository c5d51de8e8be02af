"""Checks a data directory against itself: the log, the chain of blocks, and the state by an independent trie."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import rlp
from trie.hexary import HexaryTrie

from chain.hashing import keccak256
from chain.types import Hash32
from storage.blocks.chaindata import ChainData, wrong_blocks
from storage.checkpoint import Checkpoint, last_checkpoint
from storage.directory import layout
from storage.directory.exclusion import DirectoryLock
from storage.directory.stamp import read_stamp
from storage.directory.swap import settle
from storage.errors import SnapshotLost
from storage.io.files import FileSystem
from storage.io.kv import KeyValueStore
from storage.io.kv.engines import open_store_at
from storage.preflight import looked_over
from storage.sessions.files import SessionFiles
from storage.sessions.records import SESSION_TYPES, SnapshotFile, decode_session
from storage.sessions.shelf import SessionShelf
from storage.state.reader import StateView
from storage.state.store import StateStore
from storage.wal import Record, inspect
from storage.wal.unknown import is_known


@dataclass(slots=True)
class Report:
    """What was checked, and the problems found."""

    lines: list[str] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)


def verify_data_directory(data_dir: Path) -> Report:
    """Check everything in the directory of a stopped node.

    Raises `DataDirectoryLocked` if a node runs there, `DataDirectoryDamaged`, `StoreTooNew`, and `StateStoreRefused` if
    the state store does not open.
    """
    fs = looked_over(data_dir, unused=True)
    lock = DirectoryLock(fs)
    report = Report()
    try:
        engine = read_stamp(fs).engine
        findings = list(inspect(fs, layout.WAL))
        for finding in findings:
            finding.refuse_later_version()
        report.problems += [f"{f.path} {f.offset:#x} {f.verdict}: {f.detail}" for f in findings if not f.sound]
        records = [finding.record for finding in findings if finding.record is not None]
        report.lines.append(f"log: {len(records)} records")
        settle(fs, engine)
        kv = open_store_at(data_dir / layout.STATE, engine)
        try:
            checkpoint = last_checkpoint(kv)
            _verify_sessions(fs, kv, checkpoint, records, report)
            if checkpoint is None:
                report.lines.append("state: no checkpoint yet; the log has everything")
                return report
            if not records or checkpoint.lsn > records[-1].lsn:
                report.problems.append(f"the checkpoint is at LSN {checkpoint.lsn}, after the end of the log")
            _verify_blocks(ChainData(kv), checkpoint.block, report)
            root = _independent_root(StateStore(kv).view(checkpoint.block), report)
            if root != checkpoint.state_root:
                report.problems.append(
                    f"block {checkpoint.block}: state root 0x{root.hex()}, sealed 0x{checkpoint.state_root.hex()}"
                )
        finally:
            kv.close()
    finally:
        lock.release()
    return report


def _verify_sessions(
    fs: FileSystem, kv: KeyValueStore, checkpoint: Checkpoint | None, records: list[Record], report: Report
) -> None:
    """Check sessions as the next start will load them, and the files of the large ones."""
    shelf, lsn = SessionShelf(), checkpoint.lsn if checkpoint is not None else 0
    if checkpoint is not None:
        shelf.load(kv, lsn)
    for record in records:
        if record.lsn > lsn and record.type in SESSION_TYPES and is_known(record):
            session, change = decode_session(record.type, record.payload)
            shelf.put(session, change, record.lsn)
    files = SessionFiles(fs)
    for session in shelf:
        kept = shelf.get(session)
        if kept is not None and isinstance(kept.content, SnapshotFile):
            try:
                files.read(session, kept.content)
            except SnapshotLost as error:
                report.problems.append(str(error))
    report.lines.append(f"sessions: {len(shelf)}, {len(shelf.snapshots())} of them in files")


def _verify_blocks(chain: ChainData, head: int, report: Report) -> None:
    """Check parent hashes, transaction roots and receipt roots of all blocks in the store."""
    report.problems += wrong_blocks(chain, head)
    report.lines.append(f"blocks: 0 to {head}")


def _independent_root(state: StateView, report: Report) -> Hash32:
    """State root of the flat values, by py-trie's HexaryTrie (about half a millisecond a value)."""
    accounts, slots = HexaryTrie({}, prune=True), 0
    count = 0
    for address in state.addresses():
        account = state.account(address)
        assert account is not None
        storage = HexaryTrie({}, prune=True)
        for slot, value in state.slots_of(address).items():
            if value:
                storage[keccak256(slot.to_bytes(32, "big"))] = rlp.encode(value)
                slots += 1
        leaf = rlp.encode([account.nonce, account.balance, storage.root_hash, account.code_hash])
        accounts[keccak256(address)] = leaf
        count += 1
    report.lines.append(f"state: {count} accounts, {slots} slots, root computed again")
    return Hash32(accounts.root_hash)
