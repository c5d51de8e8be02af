"""One chain on one disk: the log, the state, the blocks and the index behind a single door.

The writer thread applies, appends and freezes; the committer thread syncs and publishes; checkpoints and the index
follow behind on other threads. Readers see only published blocks.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from msgspec.structs import replace

from chain.blocks import Block, Header
from chain.environment import BlockEnvironment
from chain.receipts import Receipt
from chain.state import StateDelta, StateReader
from chain.types import ZERO_HASH, Address, Hash32
from storage.blocks.chaindata import ChainData
from storage.blocks.delta import Deltas, encode_delta
from storage.blocks.fates import FATES_AT_ONCE, FATES_MAX, REVERTED, Fate, FateShelf, encode_fates
from storage.blocks.logs import FoundLog, LogQuery
from storage.blocks.rewinds import Rewinds
from storage.checkpoint import Settings, write_checkpoint
from storage.errors import StateUnavailable
from storage.idempotency import Answered, Answers, dump
from storage.index.follower import IndexFollower
from storage.index.lookup import IndexLookup
from storage.io.cooperative import Pace, at_once
from storage.io.failpoints import reach
from storage.io.kv import KeyValueStore
from storage.sessions.records import Kept, Place, encode_template, session_record
from storage.sessions.search import SessionSearch
from storage.sessions.shelf import SessionShelf
from storage.sessions.templates import TemplateShelf
from storage.state.reader import StateView
from storage.state.store import StateStore
from storage.wal import Wal
from storage.wal.records import RecordType, Seal, encode_command, encode_environment, encode_seal

ANSWER = "answer"
"""Command that says how a request with an idempotency key was answered: [key, time, result]."""


@dataclass(frozen=True, slots=True)
class SealedBlock:
    """An executed block, applied to the state in memory and ready for the log."""

    environment: BlockEnvironment
    block: Block
    senders: tuple[Address, ...]
    raws: tuple[bytes, ...]
    """Signed transactions as they came."""
    receipts: tuple[Receipt, ...]
    vm_fingerprint: str

    def seal(self) -> Seal:
        """The outcome the log records, against which every replay is checked."""
        header = self.block.header
        return Seal(
            block_hash=header.hash,
            state_root=header.state_root,
            receipts_root=header.receipts_root,
            gas_used=header.gas_used,
            status_bits=status_bits(self.receipts),
            vm_fingerprint=self.vm_fingerprint,
        )


def status_bits(receipts: Sequence[Receipt]) -> bytes:
    """Bit i, from the lowest of the first byte on: transaction i succeeded."""
    bits = sum(bool(receipt.status) << index for index, receipt in enumerate(receipts))
    return bits.to_bytes((len(receipts) + 7) // 8, "little")


class CheckpointNote(NamedTuple):
    """What a checkpoint has to remember besides the state."""

    block: int
    lsn: int
    """Of the last record that was applied."""
    settings: Settings
    """Without ``answers``."""
    answers: list[tuple[str, Answered]]
    shelves: tuple[dict[bytes, bytes], list[bytes]]
    """Puts and deletes of sessions, templates and fates."""


class TransactionPlace(NamedTuple):
    """Where a mined transaction is."""

    block_number: int
    transaction_index: int


class Store:
    """See the module. `storage.opening.open_store` makes one."""

    def __init__(
        self, wal: Wal, kv: KeyValueStore, state: StateStore, chain: ChainData, follower: IndexFollower
    ) -> None:
        self.wal = wal
        self.kv = kv
        self.state = state
        self.chain = chain
        self.follower = follower
        self._lookup = IndexLookup(follower, chain)
        self.settings: dict[str, Any] = {}
        """Values of COMMAND records, by name."""
        self.answers = Answers()
        """What requests with idempotency keys were answered."""
        self.sessions = SessionShelf()
        self.templates = TemplateShelf()
        self.fates = FateShelf()
        """What became of transactions that are in no block."""
        self.session_search = SessionSearch(follower, self.sessions)
        self.deltas = Deltas.AUTO
        """Which blocks get a record of what they did."""
        self.needed_lsn: int | None = None
        """Oldest POOL_ADMIT record recovery still needs."""
        self.checkpoint_lsn = 0
        """LSN up to which the key-value store holds everything."""
        self._seal_lsns: dict[int, int] = {}
        self._head_lsn = 0
        self._frozen: CheckpointNote | None = None
        self._checkpoint_lock = threading.Lock()
        self.snapshots: dict[int, list[Any]] = {}
        """Moments that `storage.amendments` can bring the chain back to, by id."""
        self.next_snapshot = 0
        """Ids are never given twice."""
        self.rewinds = Rewinds()
        """Blocks that the chain was brought back to since the start, for those who follow it."""
        self._published = -1
        """Position of the newest published state."""
        self.last_delta: StateDelta | None = None
        """What the newest applied block changed, for reports."""
        self.tip: Header
        """Header of the newest applied block."""
        self.head: Header
        """Header of the newest published block: durable, visible."""

    # Writer thread

    def tip_state(self) -> StateReader:
        """The newest applied state."""
        return self.state.view_at(self.state.position)

    def block_hash(self, number: int) -> Hash32:
        """Hash of an applied block, zero if there is none."""
        header = self.chain.header(number)
        return header.hash if header is not None else ZERO_HASH

    def apply(self, number: int, delta: StateDelta) -> Hash32:
        """Apply a block's changes in memory; returns the state root."""
        self.last_delta = delta
        return self.state.apply(number, delta)

    def append_block(self, sealed: SealedBlock) -> None:
        """Log an applied block: its inputs, then its outcome."""
        self.wal.append(RecordType.BLOCK_ENV, encode_environment(sealed.environment))
        reach("block.environment.appended")
        for raw in sealed.raws:
            self.wal.append(RecordType.TRANSACTION, raw)
        reach("block.transactions.appended")
        self._append_delta(sealed)
        self.adopt(sealed, self.wal.append(RecordType.BLOCK_SEAL, encode_seal(sealed.seal())))
        reach("block.seal.appended")

    def _append_delta(self, sealed: SealedBlock) -> None:
        """Log what the block did, if the setting says so and it fits into a record."""
        header = sealed.block.header
        if self.deltas.wants(header.gas_used, len(sealed.raws)):
            assert self.last_delta is not None
            payload = encode_delta(self.last_delta, sealed.receipts, sealed.senders, header)
            if len(payload) <= self.wal.max_payload:
                self.wal.append(RecordType.BLOCK_DELTA, payload, optional=True)

    def adopt(self, sealed: SealedBlock, lsn: int) -> None:
        """Make an applied block, whose seal has this LSN in the log, the tip."""
        self.chain.add(sealed.block, sealed.receipts, sealed.senders)
        self.follower.remember(sealed.block)
        self.tip = sealed.block.header
        self._seal_lsns[self.tip.number] = lsn

    def append_admission(self, raw: bytes) -> int:
        """Log a transaction that waits in the pool; returns its LSN."""
        reach("pool.admission.before")
        return self.wal.append(RecordType.POOL_ADMIT, raw)

    def append_command(self, name: str, value: object) -> None:
        """Log a changed setting."""
        reach("command.before")
        self.wal.append(RecordType.COMMAND, encode_command(name, [value]))

    def append_cheat(self, name: str, argument: object) -> int:
        """Log a development call, for `storage.amendments.perform` to do; returns its LSN."""
        reach("cheat.before")
        return self.wal.append(RecordType.CHEAT, encode_command(name, [argument]))

    def rewind(self, number: int, position: int, lsn: int) -> None:
        """Make block ``number`` the head again, with the state at ``position``; the record that says so is durable.

        Nothing else may be under way in writer and committer. Raises `StateUnavailable`.
        """
        self.write_frozen()
        header = self.chain.header(number)
        assert header is not None, f"block {number} is not in the chain"
        reach("rewind.before")
        self.fates.put(self._taken_out(number))

        def take_out() -> None:
            self.state.view_at(position)  # raises unless it is kept, before anything is changed
            self.rewinds.add(number)
            self.head, self._head_lsn, self._published = header, lsn, position
            self.chain.rewind(number)
            self.state.rewind(position)

        self.follower.rewind(number, lsn, take_out)
        self.tip = header
        self._seal_lsns = {block: at for block, at in self._seal_lsns.items() if block <= number}
        reach("rewind.after")

    def _taken_out(self, number: int) -> list[tuple[Hash32, Fate]]:
        """Fates of the transactions in blocks after ``number``, oldest first, as many as are remembered."""
        found: list[tuple[Hash32, Fate]] = []
        for height in range(self.tip.number, number, -1):
            block = self.chain.block(height)
            assert block is not None, f"block {height} is applied"
            fate = Fate(REVERTED, f"block {height} was taken out: the chain was brought back to {number}", None, height)
            found += [(transaction.hash, fate) for transaction in reversed(block.transactions)]
            if len(found) >= FATES_MAX:
                break
        return found[:FATES_MAX][::-1]

    def append_fates(self, fates: Sequence[tuple[Hash32, Fate]]) -> None:
        """Log what became of transactions that waited."""
        for start in range(0, len(fates), FATES_AT_ONCE):
            part = fates[start : start + FATES_AT_ONCE]
            self.wal.append(RecordType.FATE, encode_fates(part), optional=True)
            self.fates.put(part)

    def append_answer(self, key: str, answered: Answered) -> None:
        """Log an answer to a request with an idempotency key."""
        self.wal.append(RecordType.COMMAND, encode_command(ANSWER, [[key, *answered]]))
        self.answers.put(key, answered)

    def append_session(self, session: int, change: Kept | Place | None) -> None:
        """Log a debug session, where it stands now, or that it was closed."""
        kind, payload = session_record(session, change)
        self.sessions.put(session, change, self.wal.append(kind, payload), len(payload))

    def append_template(self, name: str, content: bytes | None) -> None:
        """Log a user's template, or that it was removed."""
        self.wal.append(RecordType.TEMPLATE, encode_template(name, content))
        self.templates.put(name, content)

    @property
    def last_lsn(self) -> int:
        """LSN of the newest record, durable or not."""
        return self.wal.next_lsn - 1

    def freeze(self, lsn: int | None = None) -> int | None:
        """Freeze the state at the tip for a checkpoint; None if it has one or another is under way.

        ``lsn``: of the last record that was applied, if that is not the last in the log.
        """
        if self._frozen is not None or not (
            self.state.has_changes or self.sessions.has_changes or self.templates.has_changes
        ):
            return None
        reach("freeze.before")
        number = self.state.freeze()
        lsn = self.last_lsn if lsn is None else lsn
        # The checkpoint's own record is read at the next start: it proves that the place is one of this history.
        place = self.wal.place_before(min(lsn, self.needed_lsn or lsn))
        snapshots = list(self.snapshots.values())
        settings = Settings(self.needed_lsn, dict(self.settings), [], place, snapshots, self.next_snapshot)
        puts, deletes = self.sessions.take_changes()
        more_puts, more_deletes = self.templates.take_changes()
        fate_puts, fate_deletes = self.fates.take_changes()
        shelves = (puts | more_puts | fate_puts, deletes + more_deletes + fate_deletes)
        self._frozen = CheckpointNote(number, lsn, settings, self.answers.items(), shelves)
        reach("freeze.after")
        return number

    # Committer thread

    @property
    def durable_lsn(self) -> int:
        """LSN of the newest record that a crash cannot lose."""
        return self.wal.durable_lsn

    def make_durable(self, lsn: int) -> None:
        """Sync the log at least up to ``lsn``. Raises `StorageFull`, `StoragePanic`, and `WalClosed` after it."""
        self.wal.flush(lsn)

    def publish(self, number: int, position: int | None = None) -> None:
        """Show a durable block to readers, and the state at a position, by default the block's newest."""
        header = self.chain.header(number)
        assert header is not None, f"block {number} is not applied"
        reach("publish.before")
        self._head_lsn = self._seal_lsns.get(number, max(self._head_lsn, self.checkpoint_lsn))
        self._published = self.state.positions.of(number) if position is None else position
        self.head = header
        reach("publish.after")

    # Behind

    def write_frozen(self, pace: Pace = at_once) -> str:
        """Write the frozen state, which must be durable in the log, as one synced batch. Any one thread."""
        with self._checkpoint_lock:
            note = self._frozen
            if note is None:
                return "nothing new"
            assert note.lsn <= self.wal.durable_lsn, "a checkpoint would hold what the log may lose"
            settings = replace(note.settings, answers=dump(pace(note.answers)))
            write_checkpoint(self.kv, self.state, self.chain, note.lsn, settings, note.shelves, pace)
            self.checkpoint_lsn = note.lsn
            for number in [number for number in self._seal_lsns.copy() if number < note.block]:
                del self._seal_lsns[number]
            self._frozen = None
            return f"block {note.block}, LSN {note.lsn}"

    def checkpoint(self, lsn: int | None = None) -> str:
        """Freeze and write on the calling thread: for recovery and shutdown, when no writer runs."""
        self.freeze(lsn)
        return self.write_frozen()

    # Readers

    @property
    def published(self) -> tuple[int, int]:
        """Names the newest published state for caches: position, and how often the chain was brought back."""
        return self._published, self.rewinds.count

    def view(self, number: int, position: int | None = None) -> StateView:
        """The published state that follows a block, or the one before at a position. Raises `StateUnavailable`."""
        rewinds, published = self.rewinds.count, self._published
        newest = min(self.state.positions.of(number), published)
        if position is not None and not self.state.positions.sealed(number) <= position <= newest:
            raise StateUnavailable(f"that state after block {number} was reverted")
        view = self.state.view_at(newest if position is None else position)
        if number > self.head.number or self.rewinds.count != rewinds:
            raise StateUnavailable(f"block {number} is not in the chain any more")
        return view

    def transaction_place(self, transaction_hash: Hash32) -> TransactionPlace | None:
        """Block and index of a transaction in an applied block."""
        found = self._lookup.transaction_place(transaction_hash)
        return TransactionPlace(*found) if found is not None else None

    def logs(self, query: LogQuery) -> list[FoundLog]:
        """Matching logs of applied blocks; the caller ends the range at the head."""
        return self._lookup.logs(query)

    def index_new_blocks(self) -> str:
        """Bring the index up to the head. Any one thread."""
        blocks = self.follower.catch_up(lambda: (self.head.number, self._head_lsn))
        return f"{blocks} blocks, {self.session_search.catch_up(self.durable_lsn)} sessions"

    def status(self) -> dict[str, Any]:
        """Positions of every part."""
        return {
            "head": {"number": self.head.number, "hash": "0x" + self.head.hash.hex()},
            "log": {
                "firstLsn": self.wal.first_lsn,
                "lastLsn": self.last_lsn,
                "durableLsn": self.durable_lsn,
                "checkpointLsn": self.checkpoint_lsn,
            },
            "checkpointBlock": self.state.checkpointed,
            "oldestState": max(self.state.oldest, 0),
            "overlayBytes": self.state.overlay_bytes,
            "index": self.follower.status(),
        }

    def close(self) -> None:
        """Close everything; nothing needs it, a crash is as good."""
        self.wal.close()
        self.follower.close()
        self.kv.close()
