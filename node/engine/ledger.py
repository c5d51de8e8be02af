"""The chain as its one writer sees it: newest state, pool, settings, and the log they go to."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from typing import Any

import msgspec
import structlog

from chain.blocks import Header
from chain.errors import TransactionTooLarge
from chain.fees import GAS_PER_BLOB
from chain.forks import ChainConfig
from chain.state import EMPTY_ACCOUNT, StateReader
from chain.transactions import Transaction
from chain.types import Address, Hash32
from node.api.errors import CheatRefused, ReadOnly
from node.engine.admission import NextBlock
from node.engine.executor import BlockBuilder, Candidate, ChainState
from node.engine.pool import Pool, PoolEntry
from node.engine.producer import ONE_BLOCK, Controls, next_base_fee, next_environment, next_timestamp
from storage.amendments import Revert, Snapshot, perform
from storage.blocks.fates import REVERTED, Fate, dropped
from storage.errors import RecordTooLarge, StorageFull
from storage.idempotency import Answered
from storage.sessions.records import Kept, Place
from storage.store import SealedBlock, Store, TransactionPlace
from vm.block import Listener
from vm.machine import Machine

log = structlog.get_logger(__name__)

DROPPED_AT_ONCE = 1_024
"""Transactions that one record takes out of the pool."""


class Ledger:
    """Writer-thread view over a `Store`. Only ``pool`` and ``location`` may be used from other threads."""

    def __init__(self, store: Store, machine: Machine, config: ChainConfig, controls: Controls) -> None:
        self._store = store
        self._machine = machine
        self._config = config
        self._start_controls = controls
        self._controls: tuple[dict[str, Any], Controls] | None = None
        self.pool = Pool()
        self.sync: Callable[[], None] = lambda: self.make_durable(self.last_lsn)
        """Returns when everything logged is durable; the pipeline's is patient with a full disk."""
        self.listener: Callable[[], Listener | None] = lambda: None
        """What a new block tells how its transactions ended, before it is durable. Writer thread."""
        self._arrivals = 0
        self._unlogged: list[PoolEntry] = []
        self._kept_pools: dict[int, list[PoolEntry]] = {}
        """What waited when a snapshot was taken, by its id."""
        self._kept_lsn: int | None = None
        """Oldest LSN among them."""
        self._chain_state = ChainState(self.state, store.block_hash, store.apply)

    @property
    def controls(self) -> Controls:
        """What holds now: the values of the node's start, and over them what COMMAND and CHEAT records set. Any thread.

        `Store.settings` is the only place where a change is kept, live and in replay; never hold on to the answer.
        """
        settings, known = self._store.settings, self._controls
        if known is None or known[0] is not settings:
            known = self._controls = settings, msgspec.structs.replace(self._start_controls, **settings)
        return known[1]

    @property
    def tip(self) -> Header:
        """Header of the newest executed block, perhaps not durable yet."""
        return self._store.tip

    @property
    def last_lsn(self) -> int:
        """LSN of the newest record, perhaps not durable yet."""
        return self._store.last_lsn

    @property
    def overlay_bytes(self) -> int:
        """Memory taken by blocks that no checkpoint holds yet."""
        return self._store.state.overlay_bytes

    def state(self) -> StateReader:
        """State after the tip."""
        return self._store.tip_state()

    def next_block(self, now: int) -> NextBlock:
        """What the pool has to know of the block after the tip. ``now`` is the wall clock in seconds."""
        timestamp = next_timestamp(self.tip, self.controls, now)
        fork = self._config.fork_at(self.tip.number + 1, timestamp)
        return NextBlock(
            fork,
            self.controls.gas_limit,
            self._config.blobs_at(timestamp).max * GAS_PER_BLOB,
            next_base_fee(self.tip, fork, self.controls),
        )

    def location(self, transaction_hash: Hash32) -> TransactionPlace | None:
        """Block and index of a mined transaction."""
        return self._store.transaction_place(transaction_hash)

    def knows(self, transaction: Transaction, sender: Address) -> bool:
        """The transaction waits or is in a block: sending it again changes nothing."""
        if self.pool.get(transaction.hash) is not None:
            return True
        used = transaction.nonce < (self.state().account(sender) or EMPTY_ACCOUNT).nonce
        return used and self.location(transaction.hash) is not None

    def next_nonce(self, sender: Address) -> int:
        """The account's next nonce after what waits in the pool without a gap."""
        return self.pool.next_nonce(sender, (self.state().account(sender) or EMPTY_ACCOUNT).nonce)

    def admit(self, candidate: Candidate) -> tuple[PoolEntry, PoolEntry | None]:
        """Put a checked transaction into the pool; returns its entry, and the one it replaces.

        Raises `TransactionTooLarge` for one that the log cannot hold.
        """
        if len(candidate.raw) > self._store.wal.max_payload:
            raise TransactionTooLarge(f"{len(candidate.raw)} bytes; the log takes {self._store.wal.max_payload}")
        entry = PoolEntry(candidate.transaction, candidate.sender, candidate.raw, self._arrivals)
        replaced = self.pool.add(entry)
        self._arrivals += 1
        self._unlogged.append(entry)
        return entry, replaced

    def readmit(self, candidate: Candidate, lsn: int) -> None:
        """Put a logged transaction back, in the order of the log: the later of two with one nonce is the one."""
        self.pool.put(PoolEntry(candidate.transaction, candidate.sender, candidate.raw, self._arrivals, lsn))
        self._arrivals += 1

    def log_waiting(self) -> None:
        """Log the transactions that no block took, so that the pool survives a crash."""
        for entry in self._unlogged:
            if self.pool.get(entry.transaction.hash) is entry:
                entry.lsn = self._store.append_admission(entry.raw)
        self._unlogged.clear()
        oldest = (self.pool.oldest_lsn(), self._kept_lsn)
        self._store.needed_lsn = min((lsn for lsn in oldest if lsn is not None), default=None)

    def drop(self, leaving: Sequence[tuple[PoolEntry, Fate]]) -> None:
        """Take transactions out of the pool for good: a restart does not bring back those that the log has.

        Their fate is logged with them. Those that the log does not have were not answered with their hash yet.
        """
        logged = [(entry, fate) for entry, fate in leaving if entry.lsn is not None]
        self.tell(logged)
        lsns = [entry.lsn for entry, _ in logged]
        for start in range(0, len(lsns), DROPPED_AT_ONCE):
            self.cheat("drop", lsns[start : start + DROPPED_AT_ONCE])
        for entry, _ in leaving:
            self.pool.remove(entry)

    def tell(self, ended: Sequence[tuple[PoolEntry, Fate]]) -> None:
        """Log what became of transactions that waited, in the chain's log and for the operator."""
        if not ended:
            return
        self._store.append_fates([(entry.transaction.hash, fate) for entry, fate in ended])
        entry, fate = ended[0]
        log.info(
            "transactions left the pool",
            count=len(ended), first=entry.transaction.hash.hex(), fate=fate.kind, reason=fate.reason,
        )  # fmt: skip

    def stale(self) -> list[tuple[PoolEntry, Fate]]:
        """What waits with a nonce that the newest block used up otherwise: a delegation, a contract's creation."""
        changed = self._store.last_delta.accounts if self._store.last_delta is not None else {}
        found: list[tuple[PoolEntry, Fate]] = []
        for address, account in changed.items():
            nonce = account.nonce if account is not None else 0
            reason = f"nonce too low: the account's next is {nonce}"
            found += [(entry, dropped(reason)) for entry in self.pool.below(address, nonce)]
        return found

    def control(self, name: str, value: object) -> None:
        """Change a setting and log it."""
        self._store.append_command(name, value)
        self._store.settings = {**self._store.settings, name: value}

    @property
    def store(self) -> Store:
        """The stores, for development calls."""
        return self._store

    def cheat(self, name: str, argument: list[Any]) -> None:
        """Log a development call and do it; a revert once it is durable, for readers see it at once.

        Raises `CheatRefused` for more than a record of the log takes; `ReadOnly` for a revert while a checkpoint, which
        has to be written first, finds no room.
        """
        back = Revert(*argument) if name == "revert" else None
        try:
            if back is not None:
                self._store.write_frozen()
                self._tell_reverted(back)
            lsn = self._store.append_cheat(name, argument)
        except RecordTooLarge as error:
            raise CheatRefused(f"{name}: {error}") from None
        except StorageFull as error:
            raise ReadOnly(f"the disk is full: {error}") from None
        if back is not None:
            self.sync()
            self._take_pool_back(back)
        perform(self._store, name, [argument], lsn)
        if name == "snapshot":
            self._kept_pools[self._store.next_snapshot - 1] = self.pool.entries()
        if name in ("snapshot", "revert"):
            self._keep_pools(self._kept_pools)

    def keep_pools_of(self, entry_of: Callable[[int], PoolEntry | None]) -> None:
        """After a restart: the pools of all snapshots, from what the log holds."""
        pools = {known: map(entry_of, Snapshot(*kept).pool) for known, kept in self._store.snapshots.items()}
        self._keep_pools({known: [entry for entry in pool if entry] for known, pool in pools.items()})

    def _keep_pools(self, pools: dict[int, list[PoolEntry]]) -> None:
        self._kept_pools = {known: pool for known, pool in pools.items() if pool and known in self._store.snapshots}
        lsns = (entry.lsn for pool in self._kept_pools.values() for entry in pool)
        self._kept_lsn = min((lsn for lsn in lsns if lsn is not None), default=None)

    def _tell_reverted(self, back: Revert) -> None:
        kept = set(back.pool)
        fate = Fate(REVERTED, f"it waited, and the chain was brought back to block {back.block}")
        self.tell([(entry, fate) for entry in self.pool.entries() if entry.lsn not in kept])

    def _take_pool_back(self, back: Revert) -> None:
        known = {entry.lsn: entry for pool in (self.pool.entries(), *self._kept_pools.values()) for entry in pool}
        self.pool.clear()
        for lsn in back.pool:
            known[lsn].arrival = self._arrivals
            self._arrivals += 1
            self.pool.put(known[lsn])

    def answer_to(self, key: str) -> Answered | None:
        """What a request with this key was answered, if one came lately."""
        return self._store.answers.get(key)

    def remember_answer(self, key: str, result: object, now: int) -> None:
        """Log the answer to a request with a key, so that the same request is not done twice."""
        self._store.append_answer(key, Answered(now, result))

    def keep_session(self, session: int, change: Kept | Place | None) -> None:
        """Log a debug session, where it stands now, or that it is closed."""
        self._store.append_session(session, change)

    def keep_template(self, name: str, content: bytes | None) -> None:
        """Log a user's template; None: removed."""
        self._store.append_template(name, content)

    def new_block(self, now: int, timestamp: int | None) -> BlockBuilder:
        """An empty block after the tip."""
        environment = next_environment(self._config, self.tip, self.controls, now, timestamp=timestamp)
        return BlockBuilder(self._machine, environment, self._chain_state, self.listener())

    def take(self, entry: PoolEntry) -> None:
        """The block under way has this transaction."""
        self.pool.take(entry, self.tip.number + 1)

    def forget_published(self) -> None:
        """What published blocks took out of the pool is not shown as waiting any more."""
        self.pool.forget_left(self._store.head.number)

    def executable(self, base_fee: int, senders: Collection[Address] | None = None) -> Iterator[PoolEntry]:
        """Transactions that a block with this base fee, wei per gas, may take, best first; of these senders only."""
        state = self.state()

        def nonce_of(sender: Address) -> int:
            return (state.account(sender) or EMPTY_ACCOUNT).nonce

        return self.pool.executable(base_fee, nonce_of, senders)

    def append(self, builder: BlockBuilder, now: int) -> SealedBlock:
        """Seal the block, apply it in memory and log it."""
        sealed = builder.seal()
        self._store.append_block(sealed)
        if self.controls.next_timestamp is not None:  # time goes on from there
            self.control("time_offset_seconds", sealed.environment.timestamp - now)
        for name in ONE_BLOCK:
            if getattr(self.controls, name) is not None:
                self.control(name, None)
        return sealed

    def freeze(self) -> int | None:
        """Freeze the newest state for a checkpoint; its block number, or None if there is nothing new to write."""
        return self._store.freeze()

    def make_durable(self, lsn: int) -> None:
        """Sync the log at least up to ``lsn``. Committer thread."""
        self._store.make_durable(lsn)

    @property
    def position(self) -> int:
        """Of the newest state (`storage.state.positions`)."""
        return self._store.state.position

    def publish(self, number: int, position: int) -> None:
        """Show a durable block, and the state at a position, to readers. Committer thread."""
        self._store.publish(number, position)
