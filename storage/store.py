"""One chain on one disk: the log, the chain that its records make, and the index, opened together.

The writer makes records and applies them (`storage.applied`); the committer appends, syncs and publishes here;
checkpoints and the index follow behind on other threads. Readers see only published blocks.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import msgspec

from chain.blocks import Header
from chain.types import Hash32
from storage.amendments import SnapshotRevert
from storage.appending import NewRecord, append
from storage.applied import AppliedChain, Head
from storage.blocks.delta import Deltas
from storage.blocks.logs import FoundLog, LogQuery
from storage.blocks.rewinds import Rewinds
from storage.checkpoint import write_checkpoint
from storage.errors import IndexUnavailable, StateUnavailable
from storage.idempotency import dump
from storage.index.follower import IndexFollower, rows_of
from storage.index.lookup import IndexLookup
from storage.io.cooperative import Pace, at_once
from storage.io.failpoints import reach
from storage.io.kv import KeyValueStore
from storage.sealed import SealedBlock
from storage.sessions.search import SessionSearch
from storage.state.reader import StateView
from storage.wal import Wal


class TransactionPlace(NamedTuple):
    """Where a mined transaction is."""

    block_number: int
    transaction_index: int


class Store:
    """See the module. `storage.opening.open_store` makes one.

    Owns what is published: the committer changes it, recovery before there is one. The parts look after themselves.
    """

    def __init__(
        self,
        wal: Wal,
        kv: KeyValueStore,
        applied: AppliedChain,
        follower: IndexFollower,
        *,
        checkpoint_lsn: int = 0,
        needed_lsn: int | None = None,
        deltas: Deltas = Deltas.AUTO,
    ) -> None:
        """``checkpoint_lsn`` and ``needed_lsn``: of the last checkpoint of ``kv``. ``deltas``: which blocks get a
        record of what they did.
        """
        self.wal = wal
        self.kv = kv
        self.applied = applied
        self.state, self.chain = applied.state, applied.chain
        self.sessions, self.templates, self.fates = applied.sessions, applied.templates, applied.fates
        self.follower = follower
        self._lookup = IndexLookup(follower, applied.chain)
        self.session_search = SessionSearch(follower, applied.sessions)
        self.deltas = deltas
        self.needed_lsn_at_start = needed_lsn
        """Oldest POOL_ADMIT record that the checkpoint says recovery needs."""
        self.rewinds = Rewinds()
        """Rewinds of the chain since the start, for its followers."""
        self._checkpoint_lsn = checkpoint_lsn
        self._checkpoint_lock = threading.Lock()
        self._head = applied.head
        self._published = self._head.position, 0

    # What the committer does

    def append(self, records: Sequence[NewRecord]) -> None:
        """Queue records for the log's next sync. Raises `StorageFull`, `WalClosed`."""
        append(self.wal, records)

    def publish(self, head: Head) -> None:
        """Show a durable block, and the state that follows it, to readers."""
        reach("publish.before")
        self._head = head
        self._published = head.position, self.rewinds.count
        reach("publish.after")

    def adopt(self, sealed: SealedBlock, lsn: int) -> None:
        """Make an applied block, whose seal has this LSN, the newest, and notify the index."""
        self.applied.add_block(sealed, lsn)
        self.remember(sealed)

    def remember(self, sealed: SealedBlock) -> None:
        """Keep a block's rows in memory, for lookups and for the next write of the index."""
        sent = [(row.transaction, row.receipt, row.sender) for row in sealed.rows]
        self.follower.remember(rows_of(sealed.header.number, sealed.header.hash, sent))

    def revert(self, back: SnapshotRevert, lsn: int) -> None:
        """Bring chain and index back, as the durable record with this LSN says, and publish that.

        Nothing else may be under way in writer and committer. Raises `StateUnavailable`.
        """
        self.write_frozen()
        header = self.chain.header(back.block)
        assert header is not None, f"block {back.block} is not in the chain"
        reach("rewind.before")
        self.fates.put(self.applied.taken_out_after(back.block))

        def take_out() -> None:
            self.state.view_at(back.position)  # raises unless it is kept, before anything is changed
            self.rewinds.add(back.block)
            self._head = Head(header, back.position, lsn)
            self._published = back.position, self.rewinds.count
            self.applied.revert(back, lsn)

        self.follower.rewind(back.block, lsn, take_out)
        reach("rewind.after")

    # Behind

    def write_frozen(self, pace: Pace = at_once) -> str:
        """Write the frozen state, which must be durable in the log, as one synced batch. Any one thread."""
        with self._checkpoint_lock:
            note = self.applied.frozen
            if note is None:
                return "nothing new"
            assert note.lsn <= self.wal.durable_lsn, "a checkpoint would hold what the log may lose"
            # The checkpoint's own record is read at the next start: it proves that the place is one of this history.
            place = self.wal.place_before(min(note.lsn, note.start.needed_lsn or note.lsn))
            start = msgspec.structs.replace(note.start, answers=dump(pace(note.answers)), place=place)
            write_checkpoint(self.kv, self.state, self.chain, note.lsn, start, note.shelves, pace)
            self._checkpoint_lsn = note.lsn
            self.applied.frozen_is_written()
            return f"block {note.block}, LSN {note.lsn}"

    def checkpoint(self, lsn: int, needed_lsn: int | None) -> str:
        """Freeze and write on the calling thread: for recovery and shutdown, when no writer runs.

        ``lsn``: of the last record that was applied; ``needed_lsn``: as `AppliedChain.freeze` has it.
        """
        self.applied.freeze(lsn, needed_lsn)
        return self.write_frozen()

    # Readers

    @property
    def head(self) -> Header:
        """Header of the newest published block: durable, visible."""
        return self._head.header

    @property
    def published(self) -> tuple[int, int]:
        """Names the newest published state for caches: position, and how often the chain was brought back.

        Set in one step: made of two reads it could name, during a rewind, a state that only comes later.
        """
        return self._published

    @property
    def last_lsn(self) -> int:
        """LSN of the newest record of the log, durable or not."""
        return self.wal.next_lsn - 1

    @property
    def checkpoint_lsn(self) -> int:
        """LSN up to which the key-value store holds everything."""
        return self._checkpoint_lsn

    def view(self, number: int, position: int | None = None) -> StateView:
        """The published state that follows a block, or the one before at a position. Raises `StateUnavailable`."""
        rewinds, published = self.rewinds.count, self._head.position
        newest = min(self.state.positions.of(number), published)
        if position is not None and not self.state.positions.sealed(number) <= position <= newest:
            raise StateUnavailable(f"that state after block {number} was reverted")
        view = self.state.view_at(newest if position is None else position)
        if number > self.head.number or self.rewinds.count != rewinds:
            raise StateUnavailable(f"block {number} is not in the chain any more")
        return view

    def transaction_place(
        self, transaction_hash: Hash32, is_waiting: Callable[[Hash32], bool] = lambda _: False
    ) -> TransactionPlace | None:
        """Block and index of a transaction in an applied block. Raises `IndexBehind`.

        Unindexed blocks are not searched if it ``is_waiting`` in the pool.
        """
        found = self._lookup.transaction_place(transaction_hash, is_waiting)
        return TransactionPlace(*found) if found is not None else None

    def logs(self, query: LogQuery) -> list[FoundLog]:
        """Matching logs of published blocks."""
        return self._lookup.logs(replace(query, to_block=min(query.to_block, self.head.number)))

    def index_when_due(self, seconds: float) -> str:
        """As `index_new_blocks`, but only if there is a full batch or a transaction has waited for ``seconds``."""
        writer = self.follower.index.writer_status()  # also reaps a process that has ended
        if not (self.follower.is_due(seconds) or self.session_search.is_due(self.wal.durable_lsn)):
            return f"nothing is due; {'process {pid} waits'.format(**writer) if writer.get('pid') else 'no process'}"
        if writer.get("pauseSeconds"):
            return f"{writer['pauseSeconds']:.0f} s until the process is restarted"
        try:
            return self.index_new_blocks()
        except IndexUnavailable:
            if self.follower.is_abandoned:
                return "the node is stopping"
            raise

    def index_new_blocks(self) -> str:
        """Bring the index up to the head. Raises `IndexLocked`, `IndexUnavailable`, `StorageFull`."""

        def head() -> tuple[int, int]:
            published = self._head
            return published.header.number, max(published.lsn, self._checkpoint_lsn)

        blocks = self.follower.catch_up(head)
        return f"{blocks} blocks, {self.session_search.catch_up(self.wal.durable_lsn)} sessions"

    def status(self) -> dict[str, Any]:
        """Positions of every part."""
        return {
            "head": {"number": self.head.number, "hash": "0x" + self.head.hash.hex()},
            "log": {
                "firstLsn": self.wal.first_lsn,
                "lastLsn": self.last_lsn,
                "durableLsn": self.wal.durable_lsn,
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
