"""The chain as the log's records make it, in memory over the last checkpoint.

There is one function for what each kind of record does. The writer calls it when it makes the record, recovery when it
reads the record again: replay therefore comes to the same chain.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import msgspec

from chain.blocks import Block, Header
from chain.genesis import Genesis
from chain.production import ChainSettings
from chain.state import StateDelta, StateReader
from chain.types import ZERO_HASH, Hash32
from storage.amendments import SNAPSHOT_POOLS_MAX, SNAPSHOTS_MAX, Amendment, Snapshot, SnapshotRevert, delta_of
from storage.blocks.chaindata import ChainData
from storage.blocks.fates import FATES_MAX, REVERTED, Fate, FateShelf
from storage.checkpoint import ReplayStart
from storage.errors import InvalidRecord, StateRootMismatch
from storage.idempotency import Answered, Answers
from storage.io.failpoints import reach
from storage.io.kv import KeyValueStore
from storage.sealed import SealedBlock
from storage.sessions.shelf import SessionShelf
from storage.sessions.templates import TemplateShelf
from storage.state.store import StateStore


class Head(NamedTuple):
    """A block, its post-state, and the log record that made it the head."""

    header: Header
    position: int
    """Position of the state (`storage.state.positions`)."""
    lsn: int
    """LSN of the block's seal, or of the revert that made the block the head again."""


class CheckpointNote(NamedTuple):
    """What a checkpoint stores besides the state."""

    block: int
    lsn: int
    """LSN of the last applied record."""
    start: ReplayStart
    """Without ``answers`` and ``place``."""
    answers: list[tuple[str, Answered]]
    shelves: tuple[dict[bytes, bytes], list[bytes]]
    """Puts and deletes of sessions, templates and fates."""


class AppliedChain:
    """All records up to the newest one, applied.

    Owned by recovery until the log has been replayed, by the writer from then on; a revert is applied by the committer,
    while the writer waits for it. ``state``, ``chain``, ``sessions``, ``templates`` and ``fates`` may be read on any
    thread, and so may ``settings``, which is replaced and never changed. Everything else is for the owner.
    """

    def __init__(
        self,
        kv: KeyValueStore,
        genesis: Genesis,
        settings: ChainSettings,
        retention_blocks: int | None = None,
        checkpoint_lsn: int = 0,
        start: ReplayStart | None = None,
    ) -> None:
        """The chain at the last checkpoint of ``kv``, of this LSN; at genesis if there is none, with LSN 0.

        ``settings`` are those of this start of the node: they hold for what no record has changed.
        Raises `StateRootMismatch`, `CheckpointBroken`, `InvalidRecord`.
        """
        start = start or ReplayStart()
        self.state = StateStore(kv, retention_blocks)
        self.chain = ChainData(kv)
        self.answers = Answers()
        """Answers to requests with idempotency keys."""
        self.sessions = SessionShelf()
        self.templates = TemplateShelf()
        self.fates = FateShelf()
        """Fates of transactions that are in no block."""
        self.snapshots: dict[int, list[Any]] = {kept[0]: kept for kept in start.snapshots}
        """Fields of `storage.amendments.Snapshot`, by id."""
        self.next_snapshot = start.next_snapshot
        """The id of the next snapshot; ids are never reused."""
        self.last_delta: StateDelta | None = None
        """The delta of the newest block or amendment."""
        self.settings = self._settings_at_start = settings
        self._changed_settings: dict[str, Any] = {}
        self._frozen: CheckpointNote | None = None
        if checkpoint_lsn:
            self.answers.load(start.answers)
            self.sessions.load(kv, checkpoint_lsn)
            self.templates.load(kv)
            self.fates.load(kv)
            self.change_settings(start.values)
        else:
            self._begin(genesis)
        tip = self.chain.header(self.chain.head)
        assert tip is not None
        self.tip = tip
        """Header of the newest block, which may not be durable yet."""
        self._tip_lsn = checkpoint_lsn

    def _begin(self, genesis: Genesis) -> None:
        root, expected = self.state.apply(0, genesis.delta()), genesis.header().state_root
        if root != expected:
            raise StateRootMismatch(f"genesis has root 0x{root.hex()}, expected 0x{expected.hex()}")
        self.chain.add(Block(genesis.header()), ())

    # What is there

    @property
    def head(self) -> Head:
        """The newest block and its state, which may not be durable yet."""
        return Head(self.tip, self.state.position, self._tip_lsn)

    def newest_state(self) -> StateReader:
        """The pre-state of the next block."""
        return self.state.view_at(self.state.position)

    def block_hash(self, number: int) -> Hash32:
        """Hash of a block, zero if there is none."""
        header = self.chain.header(number)
        return header.hash if header is not None else ZERO_HASH

    def transactions_in_snapshots(self) -> int:
        """Waiting transactions that the snapshots remember; those in several are counted for each."""
        return sum(len(Snapshot(*kept).pool) for kept in self.snapshots.copy().values())

    # Blocks

    def apply_delta(self, delta: StateDelta) -> Hash32:
        """Apply the next block's delta; returns the state root. `add_block` must follow."""
        self.last_delta = delta
        return self.state.apply(self.tip.number + 1, delta)

    def add_block(self, sealed: SealedBlock, lsn: int) -> None:
        """BLOCK_SEAL: make an applied block, whose seal has this LSN, the newest."""
        self.chain.add(sealed.block, [row.receipt for row in sealed.rows], [row.sender for row in sealed.rows])
        self.tip, self._tip_lsn = sealed.header, lsn

    # Settings and answers

    def change_settings(self, values: Mapping[str, Any]) -> None:
        """COMMAND, CHEAT revert: settings by name. Raises `InvalidRecord` for one that does not exist."""
        unknown = values.keys() - set(ChainSettings.__struct_fields__)
        if unknown:
            raise InvalidRecord(f"the chain has no setting {', '.join(sorted(unknown))}")
        self._changed_settings = {**self._changed_settings, **values}
        self.settings = msgspec.structs.replace(self._settings_at_start, **self._changed_settings)

    # Development calls

    def amend(self, amendments: Sequence[Sequence[Any]]) -> None:
        """CHEAT amend: change the state between two blocks. Each argument has the fields of an `Amendment`."""
        delta = delta_of(self.state.view_at(self.state.position), map(Amendment.of, amendments))
        self.last_delta = delta
        self.state.amend(delta)

    def take_snapshot(self, fields: list[Any]) -> None:
        """CHEAT snapshot: remember this moment; too many forget the oldest. Raises `InvalidRecord` for another one."""
        taken = Snapshot(*fields)
        if (taken.block, taken.position) != (self.tip.number, self.state.position):
            raise InvalidRecord(f"snapshot {taken.id} is of block {taken.block}, the chain is at {self.tip.number}")
        self.snapshots[taken.id] = fields
        self.next_snapshot = taken.id + 1
        waiting = self.transactions_in_snapshots()
        while len(self.snapshots) > SNAPSHOTS_MAX or (waiting > SNAPSHOT_POOLS_MAX and len(self.snapshots) > 1):
            waiting -= len(Snapshot(*self.snapshots.pop(min(self.snapshots))).pool)

    def revert(self, back: SnapshotRevert, lsn: int) -> None:
        """CHEAT revert, of this LSN: make an earlier block and state the newest again; they have to be kept."""
        self.state.rewind(back.position)
        self.chain.rewind(back.block)
        tip = self.chain.header(back.block)
        assert tip is not None, f"block {back.block} is in the chain"
        self.tip, self._tip_lsn = tip, lsn
        self.change_settings(back.settings)
        self.snapshots = {known: kept for known, kept in self.snapshots.items() if known < back.forgotten}

    def taken_out_after(self, number: int) -> list[tuple[Hash32, Fate]]:
        """Fates of the transactions in blocks after ``number`` once a revert takes these out: oldest first, the
        newest `FATES_MAX`.
        """
        found: list[tuple[Hash32, Fate]] = []
        for height in range(self.tip.number, number, -1):
            block = self.chain.block(height)
            assert block is not None, f"block {height} is applied"
            fate = Fate(REVERTED, f"block {height} was taken out: the chain was brought back to {number}", None, height)
            found += [(transaction.hash, fate) for transaction in reversed(block.transactions)]
            if len(found) >= FATES_MAX:
                break
        return found[:FATES_MAX][::-1]

    # Checkpoints

    def freeze(self, lsn: int, needed_lsn: int | None) -> int | None:
        """Freeze everything for a checkpoint; its block, None if nothing is new or another one is under way.

        ``lsn``: of the last record that was applied. ``needed_lsn``: of the oldest POOL_ADMIT record that a pool needs.
        """
        changed = self.state.has_changes or self.sessions.has_changes or self.templates.has_changes
        if self._frozen is not None or not changed:
            return None
        reach("freeze.before")
        number = self.state.freeze()
        snapshots = list(self.snapshots.values())
        start = ReplayStart(needed_lsn, dict(self._changed_settings), [], None, snapshots, self.next_snapshot)
        puts, deletes = self.sessions.take_changes()
        more_puts, more_deletes = self.templates.take_changes()
        fate_puts, fate_deletes = self.fates.take_changes()
        shelves = (puts | more_puts | fate_puts, deletes + more_deletes + fate_deletes)
        self._frozen = CheckpointNote(number, lsn, start, self.answers.items(), shelves)
        reach("freeze.after")
        return number

    @property
    def frozen(self) -> CheckpointNote | None:
        """The frozen checkpoint that is to be written. Any thread."""
        return self._frozen

    def frozen_is_written(self) -> None:
        """The checkpoint is on the disk: the next one may be frozen. The thread that wrote it."""
        self._frozen = None
