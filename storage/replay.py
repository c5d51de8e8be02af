"""Replays the log over the last checkpoint and checks every sealed outcome: the only way a node ever starts."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain
from typing import Any, NamedTuple

import structlog

from chain.environment import BlockEnvironment
from storage.amendments import CHEATS, Snapshot, SnapshotRevert
from storage.blocks.delta import Deltas, KnownOutcome, decode_delta, first_difference
from storage.blocks.fates import decode_fates
from storage.checkpoint import replay_from
from storage.errors import InvalidRecord, StateRootMismatch, StateStoreCorrupt, WalCorrupt
from storage.idempotency import ANSWER, Answered
from storage.io.failpoints import reach
from storage.sealed import SealedBlock
from storage.sessions.records import SESSION_TYPES, decode_session, decode_template
from storage.store import Store
from storage.wal import Record
from storage.wal.records import (
    RecordType,
    Seal,
    decode_command,
    decode_environment,
    decode_seal,
)

CHECKPOINT_BLOCKS = 1_024
"""A long replay writes a checkpoint this often, so that its memory stays bounded and a crash in it costs little."""

EVIDENCE_ACCOUNTS = 100
log = structlog.get_logger(__name__)

Replay = Callable[[BlockEnvironment, Sequence[bytes], KnownOutcome | None], SealedBlock]
"""Runs a block again, or takes over its outcome if that is known, and applies it to the store's state in memory."""


@dataclass(slots=True)
class Waiting:
    """Which of the logged pool transactions wait at the log's end."""

    admitted: dict[int, bytes] = field(default_factory=dict)
    """Raw transaction by LSN of every POOL_ADMIT record that was read."""
    lsns: dict[bytes, int] = field(default_factory=dict)
    """LSNs of the waiting ones by raw transaction, in order of arrival."""

    def admit(self, lsn: int, raw: bytes) -> None:
        """One more waits."""
        self.admitted[lsn] = raw
        self.lsns.pop(raw, None)
        self.lsns[raw] = lsn

    def cheat(self, name: str, argument: list[Any]) -> None:
        """Some are dropped, or others wait again."""
        if name == "drop":
            for lsn in argument:
                self.lsns.pop(self.admitted.get(lsn, b""), None)
        elif name == "revert":
            pool = [lsn for lsn in SnapshotRevert(*argument).pool if lsn in self.admitted]
            self.lsns = {self.admitted[lsn]: lsn for lsn in pool}

    def oldest_needed(self, snapshots: Mapping[int, Sequence[Any]]) -> int | None:
        """LSN of the oldest POOL_ADMIT record that what waits needs, now or after a revert to one of the snapshots."""
        kept = (lsn for fields in snapshots.values() for lsn in Snapshot(*fields).pool)
        return min(chain(self.lsns.values(), kept), default=None)

    @property
    def admissions(self) -> list[tuple[int, bytes]]:
        """(LSN, raw transaction) in order of arrival."""
        return [(lsn, raw) for raw, lsn in self.lsns.items()]


@dataclass(slots=True)
class Recovery:
    """What a recovery found and did."""

    blocks: int = 0
    """Blocks executed again."""
    transactions: int = 0
    waiting: Waiting = field(default_factory=Waiting)


def recover(store: Store, replay: Replay) -> Recovery:
    """Bring the state, the blocks and the settings up to the log's durable end.

    Idempotent: a crash in the middle leaves a log and a checkpoint from which it starts again. Repairs nothing, raises
    `WalCorrupt`, `WalPruned`, `StateRootMismatch`, and `StateStoreCorrupt` for a state store of another history.
    """
    reading = _Reading(store, replay)
    _compare_with_log(store)
    with store.state.nothing_expires():
        for record in store.wal.records(replay_from(reading.checkpoint_lsn, store.needed_lsn_at_start)):
            if note := _NOTED.get(record.type):
                note(reading, record)
            if record.lsn > reading.checkpoint_lsn and (apply := _APPLIED.get(record.type)):
                apply(reading, record)
    reach("recovery.replayed")
    store.publish(store.applied.head)
    store.follower.rewind_to_chain()
    reach("recovery.done")
    return reading.report


class _Reading:
    """What is open between two records: the block whose parts came, and what waits for a block."""

    def __init__(self, store: Store, replay: Replay) -> None:
        self.store = store
        self.replay = replay
        self.checkpoint_lsn = store.checkpoint_lsn
        self.report = Recovery()
        self.environment: BlockEnvironment | None = None
        self.raws: list[bytes] = []
        self.known: KnownOutcome | None = None

    def admitted(self, record: Record) -> None:
        self.report.waiting.admit(record.lsn, record.payload)

    def pool_cheated(self, record: Record) -> None:
        name, arguments = decode_command(record.payload)
        self.report.waiting.cheat(name, arguments[0])

    def block_began(self, _: Record) -> None:
        self.raws = []

    def transaction(self, record: Record) -> None:
        self.raws.append(record.payload)

    def mined(self, _: Record) -> None:
        for raw in self.raws:
            self.report.waiting.lsns.pop(raw, None)

    def cheat(self, record: Record) -> None:
        name, arguments = decode_command(record.payload)
        applied, argument = self.store.applied, arguments[0] if len(arguments) == 1 else None
        if argument is None or name not in CHEATS:
            raise InvalidRecord(f"LSN {record.lsn}: no development call {name!r} with {len(arguments)} arguments")
        if name == "amend":
            applied.amend(argument)
        elif name == "snapshot":
            applied.take_snapshot(argument)
        elif name == "revert":
            self.store.revert(SnapshotRevert(*argument), record.lsn)

    def command(self, record: Record) -> None:
        name, arguments = decode_command(record.payload)
        if name == ANSWER:
            key, at, result = arguments[0]
            self.store.applied.answers.put(key, Answered(at, result))
        else:
            self.store.applied.change_settings({name: arguments[0]})

    def session(self, record: Record) -> None:
        session, change = decode_session(record.type, record.payload)
        self.store.sessions.put(session, change, record.lsn, len(record.payload))

    def template(self, record: Record) -> None:
        self.store.templates.put(*decode_template(record.payload))

    def fate(self, record: Record) -> None:
        self.store.fates.put(decode_fates(record.payload))

    def opened(self, record: Record) -> None:
        self.environment, self.known = decode_environment(record.payload), None

    def delta(self, record: Record) -> None:
        self.known = decode_delta(record.payload)

    def sealed(self, record: Record) -> None:
        store, report, environment = self.store, self.report, self.environment
        tip = store.applied.tip
        if self.checkpoint_lsn and not report.blocks and environment and environment.parent_hash != tip.hash:
            raise _of_another_history(store, record.lsn)
        if environment is None or environment.number != tip.number + 1:
            raise WalCorrupt(f"LSN {record.lsn} seals a block that does not follow block {tip.number}")
        reach("recovery.block.before")
        _replay_block(
            store, self.replay, _Sealed(environment, self.raws, self.known, decode_seal(record.payload), record.lsn)
        )
        self.environment = None
        report.blocks += 1
        report.transactions += len(self.raws)
        if report.blocks % CHECKPOINT_BLOCKS == 0:
            store.publish(store.applied.head)
            store.checkpoint(record.lsn, report.waiting.oldest_needed(store.applied.snapshots))


_NOTED: dict[int, Callable[[_Reading, Record], None]] = {
    RecordType.POOL_ADMIT: _Reading.admitted,
    RecordType.CHEAT: _Reading.pool_cheated,
    RecordType.BLOCK_ENV: _Reading.block_began,
    RecordType.TRANSACTION: _Reading.transaction,
    RecordType.BLOCK_SEAL: _Reading.mined,
}
"""What tells which transactions wait: read from where the oldest of them was admitted, before the checkpoint too."""

_APPLIED: dict[int, Callable[[_Reading, Record], None]] = {
    RecordType.CHEAT: _Reading.cheat,
    RecordType.COMMAND: _Reading.command,
    **dict.fromkeys(SESSION_TYPES, _Reading.session),
    RecordType.TEMPLATE: _Reading.template,
    RecordType.FATE: _Reading.fate,
    RecordType.BLOCK_ENV: _Reading.opened,
    RecordType.BLOCK_DELTA: _Reading.delta,
    RecordType.BLOCK_SEAL: _Reading.sealed,
}
"""What a record after the checkpoint does to the store."""


def _compare_with_log(store: Store) -> None:
    """Refuse a checkpoint of a block that the log has otherwise. Raises `StateStoreCorrupt`."""
    lsn = store.checkpoint_lsn
    own = next(store.wal.records(lsn), None) if lsn >= store.wal.first_lsn else None
    # A session's record, or one that only a later version knows and that is left out here, tells of no block.
    sealed = own is not None and own.lsn == lsn and own.type == RecordType.BLOCK_SEAL
    if own and sealed and decode_seal(own.payload).block_hash != store.applied.tip.hash:
        raise _of_another_history(store, lsn)


def _of_another_history(store: Store, lsn: int) -> StateStoreCorrupt:
    """The log is the truth: a state store put here from a copy that went on by itself is made again."""
    tip = store.applied.tip
    return StateStoreCorrupt(f"its block {tip.number}, 0x{tip.hash.hex()}, is not the log's at LSN {lsn}")


class _Sealed(NamedTuple):
    """A block as the log has it."""

    environment: BlockEnvironment
    raws: list[bytes]
    known: KnownOutcome | None
    seal: Seal
    lsn: int


def _replay_block(store: Store, replay: Replay, logged: _Sealed) -> None:
    environment, raws, known, seal, lsn = logged
    if environment.parent_hash != store.applied.tip.hash:
        raise StateRootMismatch(
            f"block {environment.number} (LSN {lsn}) names another parent than block {store.applied.tip.number}"
        )
    sealed = replay(environment, raws, known if store.deltas is not Deltas.OFF else None)
    got = sealed.seal()
    for name in ("state_root", "receipts_root", "gas_used", "status_bits", "block_hash"):
        expected, found = getattr(seal, name), getattr(got, name)
        if expected != found:
            log.critical("a replayed block differs", **_evidence(store, environment.number, expected, found))
            raise StateRootMismatch(
                f"block {environment.number} (LSN {lsn}): {name} is {_show(found)}, the log sealed {_show(expected)} "
                f"(sealed by {seal.vm_fingerprint}, replayed by {got.vm_fingerprint}){_first_account(store, known)}"
            )
    store.adopt(sealed, lsn)


def _first_account(store: Store, known: KnownOutcome | None) -> str:
    """The first account that differs, if the log knows what it should be; else the first that the block changed."""
    if store.applied.last_delta is None:
        return ""
    if known is not None:
        return "; " + (first_difference(known.delta, store.applied.last_delta) or "every account is as its delta says")
    address = min(store.applied.last_delta.accounts, default=None)
    if address is None:
        return "; it changes no account"
    return f"; the first account it changes: 0x{address.hex()}, now {store.applied.last_delta.accounts[address]}"


def _evidence(store: Store, number: int, expected: object, found: object) -> dict[str, object]:
    """What the block made of the accounts it changed: the first that differs is among them."""
    delta = store.applied.last_delta
    changed = sorted(delta.accounts) if delta is not None else []
    state = store.state.view(number)
    accounts = {f"0x{address.hex()}": str(state.account(address)) for address in changed[:EVIDENCE_ACCOUNTS]}
    return {"block": number, "expected": _show(expected), "got": _show(found), "changed_accounts": accounts}


def _show(value: object) -> str:
    return "0x" + value.hex() if isinstance(value, bytes) else str(value)
