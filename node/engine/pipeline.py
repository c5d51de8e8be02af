"""The road of a transaction: admit, execute, log, make durable, publish. Read this file first.

One writer thread orders and executes; one committer thread syncs the log. While a group syncs, the next one fills.
Nothing is answered, shown to a reader or checkpointed before the sync that holds it (design, section 2).
"""

from __future__ import annotations

import queue
import threading
import time
from collections import deque
from collections.abc import Callable, Collection, Iterable
from itertools import chain, zip_longest

import structlog

from chain.errors import InvalidTransaction, NonceTooLow, ZvmdError
from chain.types import Address, Hash32
from node.api.errors import ExecutionFault, NodeStopping, ReadOnly, TransactionDropped, WriterBusy
from node.engine.admission import check_against_state
from node.engine.cheats import check_time, perform
from node.engine.clock import Clock
from node.engine.completion import Draft
from node.engine.executor import BlockBuilder
from node.engine.filling import fill
from node.engine.group import Group
from node.engine.ledger import Ledger
from node.engine.pool import PoolEntry
from node.engine.requests import (
    Cheat,
    Control,
    Freeze,
    KeepSession,
    KeepTemplate,
    Mine,
    Request,
    Submit,
    is_alone,
    parts,
)
from storage.errors import StorageError, StorageFull
from storage.fates import REPLACED, Fate, dropped
from storage.io.failpoints import reach

log = structlog.get_logger(__name__)

INBOX_MAX = 8_192
"""Requests that may wait for the writer."""
OVERLAY_BYTES_MAX = 256 * 2**20
"""Memory that blocks in no checkpoint may take before requests are refused for a while."""
GROUPS_IN_FLIGHT_MAX = 4
"""Groups that may wait for the committer before the writer pauses."""
IDLE_SECONDS = 1.0
FULL_DISK_RETRY_SECONDS = 1.0
FULL_DISK_PATIENCE = 5
"""Tries after which those who wait are told that the disk is full. What they sent stays in line for the log."""
BLOCKS_AT_ONCE = 128
"""Blocks of a request for many that are sealed in one turn, some 30 ms: the others are served between the turns."""
MINES_MAX = 1_024
"""Requests for blocks that may wait for a long one."""


class Pipeline:
    """The writer and the committer."""

    def __init__(self, ledger: Ledger, clock: Clock, on_fault: Callable[[BaseException], None]) -> None:
        self._ledger = ledger
        self._clock = clock
        self.now = clock.now
        """Wall-clock seconds, as the writer takes them."""
        self._on_fault = on_fault
        self._inbox: queue.Queue[Request | None] = queue.Queue(INBOX_MAX)
        self._groups: queue.Queue[Group | None] = queue.Queue(GROUPS_IN_FLIGHT_MAX)
        self._waiting_mined: dict[Hash32, list[Submit]] = {}
        self._mines: deque[Mine] = deque()  # the one under way, and those that wait for it
        ledger.sync = lambda: self._sync(Group(ledger.last_lsn))
        self._stopping = False
        self._gate = threading.Lock()
        """Held while a request goes into the inbox, and while the end goes in: nothing comes behind the end."""
        self.published_lsn = ledger.last_lsn
        """Everything in the log up to here is durable and seen by readers."""
        self.work_seconds = 0.0
        """CPU time the writer has spent on requests: replaying what it did takes about as long."""
        self.disk_full = False
        """The log could not be written for want of room."""
        self.no_room = False
        """Somebody who watches the disk saw that it is nearly full."""
        self.on_full: Callable[[], None] = lambda: None
        """Called on the committer thread when the log finds no room: whoever can make some should."""
        self.on_admitted: Callable[[list[PoolEntry]], None] = lambda _: None
        """Called on the committer thread with what came into the pool, durable now, before the blocks it went into."""
        self.on_publish: Callable[[], None] = lambda: None
        """Called on the committer thread after each publication."""
        self.heartbeat: Callable[[], None] = lambda: None
        """Called by the writer at least every `IDLE_SECONDS`, so that a stuck writer is noticed (watchdog)."""
        self._threads = [
            threading.Thread(target=self._guard, args=(self._write,), name="writer"),
            threading.Thread(target=self._guard, args=(self._commit,), name="committer"),
        ]

    def start(self) -> None:
        """Begin to take requests."""
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """Finish what was taken, make it durable, and end both threads."""
        with self._gate:
            self._stopping = True
            self._inbox.put(None)
        for thread in self._threads:
            thread.join()

    @property
    def waiting(self) -> int:
        """Requests in the inbox."""
        return self._inbox.qsize()

    @property
    def read_only(self) -> bool:
        """Changes are refused until the disk has room again."""
        return self.disk_full or self.no_room

    def put(self, request: Request) -> None:
        """Hand a request to the writer. Raises `ReadOnly`, `WriterBusy` and `NodeStopping`."""
        if self.read_only and not isinstance(request, Freeze):
            raise ReadOnly("the log's disk is full" if self.disk_full else "the log's disk is nearly full")
        if self._ledger.overlay_bytes > OVERLAY_BYTES_MAX and not isinstance(request, Freeze):
            raise WriterBusy("blocks are made faster than checkpoints write them down")
        with self._gate:
            if self._stopping:
                raise NodeStopping("the node is stopping")
            try:
                self._inbox.put_nowait(request)
            except queue.Full:
                raise WriterBusy(f"{INBOX_MAX} requests wait") from None

    # The writer thread

    def _write(self) -> None:
        stop = False
        while not stop:
            requests, stop = self._take()
            for part in parts(requests):
                if is_alone(part[0]):
                    self._groups.join()
                begin = time.thread_time()
                group = self.turn(part)
                self.work_seconds += time.thread_time() - begin
                self._hand_over(group)
            self.heartbeat()
        for mine in self._mines:
            mine.done(NodeStopping(f"the node stopped after {mine.sealed} of {mine.count} blocks"))
        for requests_left in self._waiting_mined.values():
            for request in requests_left:
                request.done(NodeStopping("the transaction waits in the pool and is durable"))
        self._groups.put(None)

    def _take(self) -> tuple[list[Request], bool]:
        """Everything that waits; blocks for the first request, `IDLE_SECONDS` at most, if no blocks are due."""
        requests: list[Request] = [self._mines[0]] if self._mines else []
        try:
            request = self._inbox.get(not requests, IDLE_SECONDS)
            while request is not None:
                requests.append(request)
                request = self._inbox.get_nowait()
        except queue.Empty:
            return requests, False
        return requests, True

    def _hand_over(self, group: Group) -> None:
        """Give the group to the committer; or commit it here if both would wait for it, which saves waking a thread."""
        if self._inbox.empty() and not self._groups.unfinished_tasks:
            self.commit(group)
        else:
            self._groups.put(group)

    def turn(self, requests: list[Request]) -> Group:
        """One group: admit, execute and seal, log. Raises `StorageError`: memory may be half changed, start again."""
        group = Group()
        self._ledger.forget_published()
        for request, following in zip_longest(requests, requests[1:]):
            try:
                _HANDLERS[type(request)](self, request, group)
            except StorageError:
                raise
            except ZvmdError as error:
                group.answers.append((request, error))
            if group.senders and not (isinstance(request, Submit) and request.shares_block(following)):
                self._seal_what_waits(group, group.senders)
                group.senders.clear()
        self._seal_what_waits(group)
        self._ledger.log_waiting()
        for transaction_hash, waiting in group.durable.items():
            group.answers += [(request, transaction_hash) for request in waiting]
        for transaction_hash, waiting in group.accepted.items():
            for request in waiting:
                request.done(transaction_hash)
        reach("pipeline.turn.done")
        group.lsn, group.head, group.position = self._ledger.last_lsn, self._ledger.tip.number, self._ledger.position
        return group

    def _submit(self, request: Submit, group: Group) -> None:
        ledger, candidate = self._ledger, request.candidate
        if isinstance(candidate, Draft):
            candidate = candidate.sign(ledger.next_nonce(candidate.sender))
        transaction, sender = candidate.transaction, candidate.sender
        if not ledger.knows(transaction, sender):
            block, committed = ledger.next_block(self._clock.now()), ledger.pool.spending(sender, transaction.nonce)
            check_against_state(transaction, sender, ledger.state(), block, committed)
            entry, replaced = ledger.admit(candidate)
            group.admitted.append(entry)
            reach("pipeline.admitted")
            if replaced is not None:
                reason = "replaced by a transaction that pays more"
                self._refuse(replaced, InvalidTransaction(reason), group)
                ledger.drop([(replaced, Fate(REPLACED, reason, transaction.hash))])
        self._settle_or_wait(request, transaction.hash, group)
        group.senders.add(sender)

    def _seal_what_waits(self, group: Group, senders: Collection[Address] | None = None) -> None:
        """With instant sealing: blocks for all that can be executed, or for what these senders have waiting."""
        if self._ledger.controls.automine:
            while self._seal(group, allow_empty=False, senders=senders):
                pass

    def _settle_or_wait(self, request: Submit, transaction_hash: Hash32, group: Group) -> None:
        if request.wait_mined and self._ledger.location(transaction_hash) is None:
            self._waiting_mined.setdefault(transaction_hash, []).append(request)
        elif not request.wait_durable:
            group.accepted.setdefault(transaction_hash, []).append(request)
        else:
            group.durable.setdefault(transaction_hash, []).append(request)

    def _mine(self, request: Mine, group: Group) -> None:
        """Seal some of the blocks; the next turn goes on. One request after the other."""
        if request not in self._mines:
            if self._answered_before(request, group):
                return
            check_time(self._ledger.tip.timestamp + request.count * request.interval_seconds)
            if len(self._mines) >= MINES_MAX:
                raise WriterBusy(f"{MINES_MAX} requests for blocks wait")
            self._mines.append(request)
        if request is not self._mines[0]:
            return
        if not request.sealed and self._answered_before(request, group):  # with what it waited for
            self._mines.popleft()
            return
        for _ in range(min(BLOCKS_AT_ONCE, request.count - request.sealed)):
            interval = request.interval_seconds if request.sealed else 0
            timestamp = self._ledger.tip.timestamp + interval if interval else None
            self._seal(group, allow_empty=True, timestamp=timestamp)
            request.sealed += 1
        if request.sealed >= request.count:
            self._mines.popleft()
            if request.interval_seconds and request.count > 1:  # as after a named timestamp, time goes on from there
                self._ledger.control("time_offset_seconds", self._ledger.tip.timestamp - self._clock.now())
            self._answer(request, self._ledger.tip.number, group)

    def _control(self, request: Control, group: Group) -> None:
        if not self._answered_before(request, group):
            self._ledger.control(request.name, request.value)
            self._answer(request, request.value, group)

    def _cheat(self, request: Cheat, group: Group) -> None:
        if self._answered_before(request, group):
            return
        self._answer(request, perform(self._ledger, self._clock.now(), request.name, request.arguments), group)
        for transaction_hash in [known for known in self._waiting_mined if self._ledger.pool.get(known) is None]:
            for waiting in self._waiting_mined.pop(transaction_hash):
                refusal = TransactionDropped(f"{request.name} took the transaction out of the pool")
                group.answers.append((waiting, refusal))

    def _answered_before(self, request: Mine | Control | Cheat, group: Group) -> bool:
        """Answer a request whose key was used before. The first answer is in the log, or in this very group."""
        known = self._ledger.answer_to(request.key) if request.key else None
        if known is None:
            return False
        group.answers.append((request, known.result))
        return True

    def _answer(self, request: Mine | Control | Cheat, result: object, group: Group) -> None:
        if request.key:
            self._ledger.remember_answer(request.key, result, self._clock.now())
        group.answers.append((request, result))

    def _keep_session(self, request: KeepSession, group: Group) -> None:
        self._ledger.keep_session(request.session, request.change)
        group.answers.append((request, request.session))

    def _keep_template(self, request: KeepTemplate, group: Group) -> None:
        self._ledger.keep_template(request.name, request.content)
        group.answers.append((request, request.name))

    def _freeze(self, request: Freeze, group: Group) -> None:
        group.answers.append((request, self._ledger.freeze()))

    def _seal(
        self,
        group: Group,
        *,
        allow_empty: bool,
        timestamp: int | None = None,
        senders: Collection[Address] | None = None,
    ) -> bool:
        """Fill, execute, apply and log one block, of these senders if given. False: nothing was to go in."""
        now = self._clock.now()
        entries = self._ledger.executable(self._ledger.next_block(now).base_fee, senders)
        first = next(entries, None)
        if first is None and not allow_empty:
            return False
        builder = self._ledger.new_block(now, timestamp)
        self._fill(builder, chain([first] if first is not None else [], entries), group)
        if not len(builder) and not allow_empty:
            return False
        reach("pipeline.executed")
        sealed = self._ledger.append(builder, self._clock.now())
        for transaction in sealed.block.transactions:
            for request in self._waiting_mined.pop(transaction.hash, ()):
                group.answers.append((request, transaction.hash))
        stale = self._ledger.stale()
        for entry, fate in stale:
            self._refuse(entry, NonceTooLow(fate.reason), group)
        self._ledger.drop(stale)
        return True

    def _fill(self, builder: BlockBuilder, entries: Iterable[PoolEntry], group: Group) -> None:
        """Execute what the pool offers; answer and drop what no block can take."""
        refused: list[tuple[PoolEntry, ZvmdError]] = []
        faults = 0

        def refuse(entry: PoolEntry, error: Exception) -> None:
            nonlocal faults
            if not isinstance(error, InvalidTransaction):  # a bug in executing this one; it changed nothing
                faults += 1
                if faults == 1:  # one traceback a block
                    log.error("execution fault", transaction=entry.transaction.hash.hex(), exc_info=error)
                error = ExecutionFault(f"{type(error).__name__} while executing")
            refused.append((entry, error))
            self._ledger.pool.remove(entry)

        fill(builder, entries, self._ledger.take, refuse)
        if faults > 1:
            log.error("execution faults while sealing a block", transactions=faults)
        for entry, error in refused:
            self._refuse(entry, error, group)
        self._ledger.drop([(entry, dropped(error)) for entry, error in refused])

    def _refuse(self, entry: PoolEntry, error: ZvmdError, group: Group) -> None:
        for request in self._waiting_mined.pop(entry.transaction.hash, ()):
            group.answers.append((request, error))
        # Whoever only waits for durability gets the refusal too if it came in the same group.
        for waiting in (group.durable, group.accepted):
            for request in waiting.pop(entry.transaction.hash, ()):
                group.answers.append((request, error))

    # The committer thread

    def _commit(self) -> None:
        while (group := self._groups.get()) is not None:
            self.commit(group)
            self._groups.task_done()

    def commit(self, group: Group) -> None:
        """Make a group durable, show it to readers, answer it: in this order. Raises `StoragePanic`."""
        reach("pipeline.commit.before")
        self._sync(group)
        reach("pipeline.durable")
        if group.admitted:
            self.on_admitted(group.admitted)
        self._ledger.publish(group.head, group.position)
        self.published_lsn = group.lsn
        self.on_publish()
        reach("pipeline.published")
        for request, answer in group.answers:
            request.done(answer)
            reach("pipeline.answered")

    def _sync(self, group: Group) -> None:
        """Wait until the log is durable as far as the group; a full disk makes the node read-only meanwhile."""
        tries = 0
        while True:
            try:
                self._ledger.make_durable(group.lsn)
            except StorageFull as error:
                if not self.disk_full:
                    log.error("disk full: read-only until there is room", error=str(error))
                self.disk_full = True
                self.on_full()
                tries += 1
                if tries == FULL_DISK_PATIENCE:
                    self._tell_full(group)
                self._clock.sleep(FULL_DISK_RETRY_SECONDS)
            else:
                self.disk_full = False
                return

    def _tell_full(self, group: Group) -> None:
        """Nobody should wait for hours for a disk: they ask again by the same bytes or the same key."""
        for request, _ in group.answers:
            if not isinstance(request, Freeze):
                request.done(ReadOnly("the disk is full; what was sent is neither refused nor durable yet"))
        group.answers = [(request, answer) for request, answer in group.answers if isinstance(request, Freeze)]

    def _guard(self, run: Callable[[], None]) -> None:
        try:
            run()
        except BaseException as error:
            self._on_fault(error)
            raise


_HANDLERS: dict[type[Request], Callable[..., None]] = {
    Submit: Pipeline._submit,
    Mine: Pipeline._mine,
    Control: Pipeline._control,
    Cheat: Pipeline._cheat,
    KeepSession: Pipeline._keep_session,
    KeepTemplate: Pipeline._keep_template,
    Freeze: Pipeline._freeze,
}
