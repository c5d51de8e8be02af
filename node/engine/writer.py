"""The chain's one writer, as a state machine: requests in, a turn out. Read this file first.

`Writer.step` admits, orders, executes and seals in memory, and returns what follows as a value (`node.engine.turn`):
the records for the log, the new head, the answers. It knows no thread, no disk, no clock and no queue; those are the
committer's (`node.engine.committer`). Raft libraries cut the same way: `step` is etcd's ``Step`` and ``Ready``,
`published` and `went_back` are its ``Advance``.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import chain, zip_longest

import structlog

from chain.errors import InvalidTransaction, NonceTooLow, ZvmdError
from chain.state import EMPTY_ACCOUNT, Account
from chain.transactions import Transaction
from chain.types import Address, Hash32
from node.api.errors import ExecutionFault, NodeStopping, TransactionDropped, WriterBusy
from node.engine.admission import check_against_state
from node.engine.cheats import check_time, perform
from node.engine.drafts import Draft
from node.engine.executor import BlockBuilder
from node.engine.filling import fill
from node.engine.logged_chain import Ended, GoBack, LoggedChain
from node.engine.pool import PooledTransaction
from node.engine.requests import (
    Cheat,
    Control,
    Freeze,
    KeepSession,
    KeepTemplate,
    Mine,
    Submit,
    WriterRequest,
    is_alone,
)
from node.engine.turn import Turn
from storage.blocks.fates import REPLACED, Fate, dropped
from storage.errors import StorageError
from storage.idempotency import Answered
from storage.io.failpoints import reach

log = structlog.get_logger(__name__)

BLOCKS_AT_ONCE = 128
"""Blocks of one request sealed in one turn, some 30 ms: other requests are served between the turns."""
MINES_MAX = 1_024
"""Requests for blocks that may wait while a long one is served."""


@dataclass(slots=True)
class _Mining:
    """A request for blocks, and how many of its blocks are sealed."""

    request: Mine
    sealed: int = 0


@dataclass(slots=True)
class _Work:
    """The state of the current turn."""

    now: int
    """Wall clock, Unix seconds."""
    answers: list[tuple[WriterRequest, object]] = field(default_factory=list)
    senders: set[Address] = field(default_factory=set)
    """Senders of submissions in this turn that instant sealing has not sealed a block for yet."""
    durable: dict[Hash32, list[Submit]] = field(default_factory=dict)
    """Submissions of this turn, answered with the hash unless their block refuses the transaction."""
    accepted: dict[Hash32, list[Submit]] = field(default_factory=dict)
    """Submissions that do not wait for the disk."""
    admitted: list[PooledTransaction] = field(default_factory=list)


class Writer:
    """Owns the chain's mutable state: the applied chain, the pool, and the requests that wait for a block.

    One caller at a time. After a `StorageError` the state in memory may be half changed: the process has to end.
    """

    def __init__(self, chain: LoggedChain, located: Callable[[Hash32], object | None]) -> None:
        """``located`` returns the position of a transaction in a published block, None if no block has it."""
        self._chain = chain
        self._located = located
        self._waiting_mined: dict[Hash32, list[Submit]] = {}
        self._mines: deque[_Mining] = deque()  # the current one, and those that wait for it

    @property
    def is_mining(self) -> bool:
        """Whether blocks are due, which the next step seals even without requests."""
        return bool(self._mines)

    def step(self, requests: Sequence[WriterRequest], now: int) -> Turn:
        """Execute requests in order; ``now`` is Unix seconds. A request that `is_alone` must come by itself.

        Raises `StorageError` if the state cannot be read.
        """
        work = _Work(now)
        if self._mines and not (requests and is_alone(requests[0])):
            self._mine_some(work)
        for request, following in zip_longest(requests, requests[1:]):
            try:
                _HANDLERS[type(request)](self, request, work)
            except StorageError:
                raise
            except ZvmdError as error:
                work.answers.append((request, error))
            if work.senders and not (isinstance(request, Submit) and request.shares_block(following)):
                self._seal_what_waits(work, work.senders)
                work.senders.clear()
        if self._chain.going_back is None:
            self._seal_what_waits(work)
        self._chain.log_waiting()
        reach("pipeline.turn.done")
        return self._turn(work)

    def _turn(self, work: _Work) -> Turn:
        logged = self._chain
        for transaction_hash, waiting in work.durable.items():
            work.answers += [(request, transaction_hash) for request in waiting]
        changes = logged.take_changes()
        return Turn(
            lsn=logged.records.last_lsn,
            head=logged.applied.head,
            records=changes.records,
            accepted=[(request, known) for known, waiting in work.accepted.items() for request in waiting],
            back=changes.back,
            sealed=changes.sealed,
            admitted=work.admitted,
            ended=changes.ended,
            answers=work.answers,
        )

    def published(self, head: int) -> None:
        """Readers see the blocks up to ``head``: stop showing their transactions as waiting."""
        self._chain.pool.forget_left(head)

    def went_back(self, back: GoBack) -> None:
        """The chain has been rewound: restore the pool of that moment."""
        self._chain.pool.replace_all(back.waiting)
        self._chain.pool.forget_snapshots(self._chain.applied.snapshots)

    def stop(self) -> Iterator[tuple[WriterRequest, ZvmdError]]:
        """The requests that still wait when no further step will come, with their answers."""
        for mine in self._mines:
            text = f"the node stopped after {mine.sealed} of {mine.request.count} blocks"
            yield mine.request, NodeStopping(text)
        for waiting in self._waiting_mined.values():
            for request in waiting:
                yield request, NodeStopping("the transaction is in the pool and durable")

    # Transactions

    def _submit(self, request: Submit, work: _Work) -> None:
        logged, entry = self._chain, request.transaction
        if isinstance(entry, Draft):
            nonce = logged.pool.next_nonce(entry.sender, logged.account(entry.sender).nonce)
            entry = entry.sign(nonce)
        transaction, sender = entry.transaction, entry.sender
        state = logged.applied.newest_state()
        account = state.account(sender) or EMPTY_ACCOUNT
        if not self._knows(transaction, account):
            block, committed = logged.next_block(work.now), logged.pool.spending(sender, transaction.nonce)
            check_against_state(transaction, sender, account, state, block, committed)
            replaced = logged.admit(entry)
            work.admitted.append(entry)
            reach("pipeline.admitted")
            if replaced is not None:
                reason = "replaced by a transaction that pays more"
                self._refuse(replaced, InvalidTransaction(reason), work)
                logged.drop([(replaced, Fate(REPLACED, reason, transaction.hash))])
        self._settle_or_wait(request, transaction.hash, work)
        work.senders.add(sender)

    def _knows(self, transaction: Transaction, account: Account) -> bool:
        """Whether the transaction is in the pool or in a block, so that sending it again logs nothing."""
        if self._chain.pool.has(transaction.hash):
            return True
        return transaction.nonce < account.nonce and self._is_mined(transaction.hash)

    def _is_mined(self, transaction_hash: Hash32) -> bool:
        return self._chain.pool.is_leaving(transaction_hash) or self._located(transaction_hash) is not None

    def _settle_or_wait(self, request: Submit, transaction_hash: Hash32, work: _Work) -> None:
        if request.wait_mined and not self._is_mined(transaction_hash):
            self._waiting_mined.setdefault(transaction_hash, []).append(request)
        elif not request.wait_durable:
            work.accepted.setdefault(transaction_hash, []).append(request)
        else:
            work.durable.setdefault(transaction_hash, []).append(request)

    def _refuse(self, entry: PooledTransaction, error: ZvmdError, work: _Work) -> None:
        for request in self._waiting_mined.pop(entry.transaction.hash, ()):
            work.answers.append((request, error))
        # Submissions that only wait for durability get the refusal too if they came in the same turn.
        for waiting in (work.durable, work.accepted):
            for request in waiting.pop(entry.transaction.hash, ()):
                work.answers.append((request, error))

    # Blocks

    def _mine(self, request: Mine, work: _Work) -> None:
        """Seal some of the requested blocks; the next turns continue. One request after the other."""
        if self._answered_before(request, work):
            return
        check_time(self._chain.applied.tip.timestamp + request.count * request.interval_seconds)
        if len(self._mines) >= MINES_MAX:
            raise WriterBusy(f"{MINES_MAX} requests for blocks wait")
        self._mines.append(_Mining(request))
        if len(self._mines) == 1:
            self._mine_some(work)

    def _mine_some(self, work: _Work) -> None:
        mining, logged = self._mines[0], self._chain
        request = mining.request
        if not mining.sealed and self._answered_before(request, work):  # with what it waited for
            self._mines.popleft()
            return
        for _ in range(min(BLOCKS_AT_ONCE, request.count - mining.sealed)):
            interval = request.interval_seconds if mining.sealed else 0
            timestamp = logged.applied.tip.timestamp + interval if interval else None
            self._seal(work, allow_empty=True, timestamp=timestamp)
            mining.sealed += 1
        if mining.sealed >= request.count:
            self._mines.popleft()
            if request.interval_seconds and request.count > 1:  # the clock continues from the last timestamp
                logged.set("time_offset_seconds", logged.applied.tip.timestamp - work.now)
            self._answer(request, logged.applied.tip.number, work)

    def _seal_what_waits(self, work: _Work, senders: Collection[Address] | None = None) -> None:
        """With instant sealing: seal blocks for all executable transactions, or for those of these senders."""
        if self._chain.applied.settings.automine:
            while self._seal(work, allow_empty=False, senders=senders):
                pass

    def _seal(
        self,
        work: _Work,
        *,
        allow_empty: bool,
        timestamp: int | None = None,
        senders: Collection[Address] | None = None,
    ) -> bool:
        """Fill, execute, apply and log one block, from these senders if given. False if there was nothing to do."""
        logged, now = self._chain, work.now
        if not allow_empty and not logged.pool.holds_any_of(senders):
            return False
        entries = logged.executable(logged.next_block(now).base_fee, senders)
        first = next(entries, None)
        if first is None and not allow_empty:
            return False
        builder = logged.new_block(now, timestamp)
        self._fill(builder, chain([first] if first is not None else [], entries), work)
        if not len(builder) and not allow_empty:
            return False
        reach("pipeline.executed")
        sealed = logged.seal(builder, now)
        for row in sealed.rows:
            for request in self._waiting_mined.pop(row.transaction.hash, ()):
                work.answers.append((request, row.transaction.hash))
        stale = self._stale()
        for entry, fate in stale:
            self._refuse(entry, NonceTooLow(fate.reason), work)
        logged.drop(stale)
        return True

    def _fill(self, builder: BlockBuilder, entries: Iterable[PooledTransaction], work: _Work) -> None:
        """Execute transactions from the pool; answer and drop those that no block can contain."""
        refused: list[tuple[PooledTransaction, ZvmdError]] = []
        faults = 0

        def refuse(entry: PooledTransaction, error: Exception) -> None:
            nonlocal faults
            if not isinstance(error, InvalidTransaction):  # a bug in executing this one; it changed nothing
                faults += 1
                if faults == 1:  # one traceback per block
                    log.error("execution fault", transaction=entry.transaction.hash.hex(), exc_info=error)
                error = ExecutionFault(f"{type(error).__name__} while executing")
            refused.append((entry, error))
            self._chain.pool.remove(entry)

        fill(builder, entries, self._chain.take, refuse)
        if faults > 1:
            log.error("execution faults while sealing a block", transactions=faults)
        for entry, error in refused:
            self._refuse(entry, error, work)
        self._chain.drop([(entry, dropped(error)) for entry, error in refused])

    def _stale(self) -> Ended:
        """Waiting transactions whose nonce the newest block used otherwise: a delegation, a contract's creation."""
        delta, found = self._chain.applied.last_delta, Ended()
        for address, account in delta.accounts.items() if delta is not None else ():
            nonce = account.nonce if account is not None else 0
            for entry in self._chain.pool.below(address, nonce):
                found.append((entry, dropped(f"nonce too low: the account's next is {nonce}")))
        return found

    # Everything else

    def _control(self, request: Control, work: _Work) -> None:
        if not self._answered_before(request, work):
            self._chain.set(request.name, request.value)
            self._answer(request, request.value, work)

    def _cheat(self, request: Cheat, work: _Work) -> None:
        if self._answered_before(request, work):
            return
        answer = perform(self._chain, work.now, request.name, request.arguments)
        self._answer(request, answer, work)
        pool, back = self._chain.pool, self._chain.going_back
        kept = None if back is None else {entry.transaction.hash for entry in back.waiting}
        for known in list(self._waiting_mined):
            if (pool.get(known) is None) if kept is None else (known not in kept):
                error = TransactionDropped(f"{request.name} removed the transaction from the pool")
                work.answers += [(waiting, error) for waiting in self._waiting_mined.pop(known)]

    def _answered_before(self, request: Mine | Control | Cheat, work: _Work) -> bool:
        """Answer a request whose key was used before. The first answer is in the log or in this turn."""
        known = self._chain.applied.answers.get(request.key) if request.key else None
        if known is None:
            return False
        work.answers.append((request, known.result))
        return True

    def _answer(self, request: Mine | Control | Cheat, result: object, work: _Work) -> None:
        if request.key:
            self._chain.remember_answer(request.key, Answered(work.now, result))
        work.answers.append((request, result))

    def _keep_session(self, request: KeepSession, work: _Work) -> None:
        self._chain.keep_session(request.session, request.change)
        work.answers.append((request, request.session))

    def _keep_template(self, request: KeepTemplate, work: _Work) -> None:
        self._chain.keep_template(request.name, request.content)
        work.answers.append((request, request.name))

    def _freeze(self, request: Freeze, work: _Work) -> None:
        work.answers.append((request, self._chain.freeze()))


_HANDLERS: dict[type[WriterRequest], Callable[..., None]] = {
    Submit: Writer._submit,
    Mine: Writer._mine,
    Control: Writer._control,
    Cheat: Writer._cheat,
    KeepSession: Writer._keep_session,
    KeepTemplate: Writer._keep_template,
    Freeze: Writer._freeze,
}
