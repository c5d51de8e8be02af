"""The chain as the writer changes it: each method changes memory and makes the log records that replay the change."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from chain.blocks import Header
from chain.environment import BlockEnvironment
from chain.errors import TransactionTooLarge
from chain.fees import GAS_PER_BLOB
from chain.forks import ChainConfig
from chain.production import ONE_BLOCK, ChainSettings, next_environment
from chain.state import EMPTY_ACCOUNT, Account
from chain.types import Address
from node.api.errors import CheatRefused
from node.engine.admission import NextBlock
from node.engine.executor import BlockBuilder
from node.engine.pool import Pool, PooledTransaction
from storage.amendments import Snapshot, SnapshotRevert
from storage.appending import NewRecord, NewRecords
from storage.applied import AppliedChain
from storage.blocks.delta import Deltas
from storage.blocks.fates import FATES_AT_ONCE, REVERTED, Fate, encode_fates
from storage.errors import RecordTooLarge
from storage.idempotency import ANSWER, Answered
from storage.sealed import SealedBlock
from storage.sessions.records import Kept, SessionPosition, encode_template, session_record
from storage.wal.records import RecordType, encode_command
from vm.block import Listener
from vm.machine import Machine

DROPPED_AT_ONCE = 1_024
"""Most transactions that one record removes from the pool."""
Ended = list[tuple[PooledTransaction, Fate]]
"""Transactions that left the pool but not into a block, and why."""


class GoBack(NamedTuple):
    """A rewind of the chain. It is executed only after the turn is durable, because readers see it at once."""

    revert: SnapshotRevert
    lsn: int
    """LSN of its record."""
    waiting: list[PooledTransaction]
    """Content of the pool afterwards."""


class TurnChanges(NamedTuple):
    """The changes to the chain in one turn."""

    records: list[NewRecord]
    sealed: list[SealedBlock]
    ended: Ended
    back: GoBack | None


class LoggedChain:
    """The applied chain, the pool, and the records not appended to the log yet. Owned by the writer."""

    def __init__(
        self,
        applied: AppliedChain,
        pool: Pool,
        machine: Machine,
        config: ChainConfig,
        records: NewRecords,
        *,
        deltas: Deltas = Deltas.AUTO,
        listener: Callable[[], Listener | None] = lambda: None,
    ) -> None:
        """``listener`` returns the callback for the results of a new block's transactions before it is durable."""
        self.applied = applied
        self.pool = pool
        self.records = records
        self.going_back: GoBack | None = None
        """The rewind requested in this turn."""
        self._ended: Ended = []
        self._sealed: list[SealedBlock] = []
        self._machine = machine
        self._config = config
        self._deltas = deltas
        self._listener = listener
        self._unlogged: list[PooledTransaction] = []
        self._next: tuple[Header | None, ChainSettings | None, int, BlockEnvironment | None] = (None, None, 0, None)
        """The last `_environment`, and for which tip, settings and time it is."""
        self._next_arrival = records.last_lsn + 1  # above those of logged transactions, which are LSNs

    def account(self, address: Address) -> Account:
        """The account in the newest state; the empty one if there is none."""
        return self.applied.newest_state().account(address) or EMPTY_ACCOUNT

    def next_block(self, now: int) -> NextBlock:
        """The values of the next block that admission needs. ``now`` is the wall clock in seconds."""
        environment = self._environment(now)
        blob_gas = environment.blob_schedule.max * GAS_PER_BLOB
        return NextBlock(environment.fork, environment.gas_limit, blob_gas, environment.base_fee)

    def _environment(self, now: int) -> BlockEnvironment:
        """The environment of the block after the tip, at the time that follows from the settings."""
        tip, settings = self.applied.tip, self.applied.settings
        last_tip, last_settings, last_now, environment = self._next
        if environment is None or last_tip is not tip or last_settings is not settings or last_now != now:
            environment = next_environment(self._config, tip, settings, now)
            self._next = (tip, settings, now, environment)
        return environment

    def take_changes(self) -> TurnChanges:
        """Return and clear the changes since the last call, at the end of a turn."""
        changes = TurnChanges(self.records.take(), self._sealed, self._ended, self.going_back)
        self._sealed, self._ended, self.going_back = [], [], None
        return changes

    # The pool

    def admit(self, entry: PooledTransaction) -> PooledTransaction | None:
        """Put a checked transaction into the pool; returns the one it replaces.

        Raises `TransactionTooLarge` for one that the log cannot hold, `UnderpricedReplacement`, `PoolFull`.
        """
        if len(entry.raw) > self.records.max_payload:
            raise TransactionTooLarge(f"{len(entry.raw)} bytes; the log takes {self.records.max_payload}")
        replaced = self.pool.add(entry)
        entry.arrived(self._next_arrival)
        self._next_arrival += 1
        self._unlogged.append(entry)
        return replaced

    def log_waiting(self) -> None:
        """Log the new transactions that no block took, so that the pool survives a crash."""
        for entry in self._unlogged:
            if self.pool.get(entry.transaction.hash) is entry:
                entry.logged_at(self.records.add(RecordType.POOL_ADMIT, entry.raw))
        self._unlogged.clear()

    def drop(self, leaving: Ended) -> None:
        """Remove transactions from the pool permanently: a restart does not bring back those that the log has.

        Their fate is logged with them. Those that the log does not have were not answered with their hash yet.
        """
        logged = [(entry, fate) for entry, fate in leaving if entry.lsn is not None]
        self._log_fates(logged)
        lsns = [entry.lsn for entry, _ in logged]
        for start in range(0, len(lsns), DROPPED_AT_ONCE):
            self._log_cheat("drop", lsns[start : start + DROPPED_AT_ONCE])
        for entry, _ in leaving:
            self.pool.remove(entry)

    def _log_fates(self, ended: Ended) -> None:
        fates = [(entry.transaction.hash, fate) for entry, fate in ended]
        for start in range(0, len(fates), FATES_AT_ONCE):
            part = fates[start : start + FATES_AT_ONCE]
            self.records.add(RecordType.FATE, encode_fates(part), optional=True)
            self.applied.fates.put(part)
        self._ended += ended

    # Blocks

    def executable(self, base_fee: int, senders: Collection[Address] | None = None) -> Iterator[PooledTransaction]:
        """Transactions that a block with this base fee, wei per gas, may take, best first; of these senders only."""
        state = self.applied.newest_state()
        return self.pool.executable(
            base_fee, lambda sender: (state.account(sender) or EMPTY_ACCOUNT).nonce, senders
        )

    def new_block(self, now: int, timestamp: int | None) -> BlockBuilder:
        """An empty block after the tip."""
        applied = self.applied
        if timestamp is None:
            environment = self._environment(now)
        else:
            environment = next_environment(self._config, applied.tip, applied.settings, now, timestamp=timestamp)
        return BlockBuilder(
            self._machine, environment, applied.newest_state(), applied.block_hash, self._listener()
        )

    def take(self, entry: PooledTransaction) -> None:
        """Move a transaction from the pool to the current block."""
        self.pool.take(entry, self.applied.tip.number + 1)

    def seal(self, builder: BlockBuilder, now: int) -> SealedBlock:
        """Finish the block, apply it and log it."""
        applied = self.applied
        sealed = builder.seal(applied.apply_delta)
        for kind, payload in sealed.records():
            self.records.add(kind, payload)
        self._log_delta(sealed)
        applied.add_block(sealed, self.records.add(RecordType.BLOCK_SEAL, sealed.seal_record()))
        self._sealed.append(sealed)
        if applied.last_delta is not None:
            self._machine.foresee(sealed.environment.fork, applied.last_delta.codes)
        settings = applied.settings
        if settings.next_timestamp is not None:  # the clock continues from there
            self.set("time_offset_seconds", sealed.environment.timestamp - now)
        for name in ONE_BLOCK:
            if getattr(settings, name) is not None:
                self.set(name, None)
        return sealed

    def _log_delta(self, sealed: SealedBlock) -> None:
        """Log the block's delta, if the setting asks for it and it fits into a record."""
        if self._deltas.wants(sealed.header.gas_used, len(sealed.rows)):
            assert self.applied.last_delta is not None
            payload = sealed.delta_record(self.applied.last_delta)
            if len(payload) <= self.records.max_payload:
                self.records.add(RecordType.BLOCK_DELTA, payload, optional=True)

    # Settings, sessions, answers

    def set(self, name: str, value: object) -> None:
        """Change a setting (`chain.production.ChainSettings`)."""
        self.records.add(RecordType.COMMAND, encode_command(name, [value]))
        self.applied.change_settings({name: value})

    def remember_answer(self, key: str, answered: Answered) -> None:
        """Store the answer to a request with an idempotency key, so that it is not executed twice."""
        self.records.add(RecordType.COMMAND, encode_command(ANSWER, [[key, *answered]]))
        self.applied.answers.put(key, answered)

    def keep_session(self, session: int, change: Kept | SessionPosition | None) -> None:
        """Log a debug session, its new position, or its closing."""
        kind, payload = session_record(session, change)
        self.applied.sessions.put(session, change, self.records.add(kind, payload), len(payload))

    def keep_template(self, name: str, content: bytes | None) -> None:
        """Log a user's template or its removal."""
        self.records.add(RecordType.TEMPLATE, encode_template(name, content))
        self.applied.templates.put(name, content)

    def freeze(self) -> int | None:
        """Freeze the newest state for a checkpoint; returns its block number, or None if there is nothing new."""
        return self.applied.freeze(self.records.last_lsn, self.pool.oldest_lsn())

    # Development calls

    def amend(self, amendments: Sequence[Sequence[Any]]) -> None:
        """Change the state between two blocks (`storage.amendments.Amendment`). Raises `CheatRefused` for too much."""
        self._log_cheat("amend", amendments)
        self.applied.amend(amendments)

    def snapshot(self, settings: Mapping[str, Any], now: int) -> int:
        """Save this moment and these settings; returns the snapshot's id. Raises `CheatRefused`: too large a pool."""
        applied, waiting = self.applied, self.pool.entries()
        lsns = [entry.lsn for entry in waiting if entry.lsn is not None]
        head = applied.head
        taken = Snapshot(applied.next_snapshot, head.header.number, head.position, lsns, dict(settings), now)
        self._log_cheat("snapshot", list(taken))
        applied.take_snapshot(list(taken))
        self.pool.keep_for(taken.id, waiting)
        self.pool.forget_snapshots(applied.snapshots)
        return taken.id

    def log_revert(self, back: SnapshotRevert) -> None:
        """Log a rewind, and the fate of the transactions that wait only now. Raises `CheatRefused`.

        The rewind is not executed yet: readers would see it at once, so its record must be durable first.
        """
        kept = set(back.pool)
        fate = Fate(REVERTED, f"it was waiting when the chain was rewound to block {back.block}")
        payload = encode_command("revert", [list(back)])
        if len(payload) > self.records.max_payload:
            raise CheatRefused(f"revert: a record of {len(payload)} bytes; at most {self.records.max_payload} fit")
        self._log_fates([(entry, fate) for entry in self.pool.entries() if entry.lsn not in kept])
        lsn = self.records.add(RecordType.CHEAT, payload)
        self.going_back = GoBack(back, lsn, self.pool.at(back.pool))

    def _log_cheat(self, name: str, argument: object) -> None:
        """Log a development call. Raises `CheatRefused` if it does not fit into a record."""
        try:
            self.records.add(RecordType.CHEAT, encode_command(name, [argument]))
        except RecordTooLarge as error:
            raise CheatRefused(f"{name}: {error}") from None
