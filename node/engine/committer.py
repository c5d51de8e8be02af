"""Carries out the writer's turns: appends to the log and syncs it, publishes, answers, and waits out a full disk.

One thread steps the writer, another syncs the log: while a turn syncs, the next one is made. Nothing is answered, shown
to a reader or checkpointed before the sync that holds it (docs/design/0002).
"""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import structlog

from chain.errors import ZvmdError
from node.api.errors import NodeStopping, ReadOnly, WriterBusy
from node.engine.clock import Clock
from node.engine.pool import PooledTransaction
from node.engine.requests import Freeze, WriterRequest, goes_back, is_alone, parts
from node.engine.turn import Turn
from node.engine.writer import Writer
from storage.errors import StorageFull
from storage.io.failpoints import reach
from storage.store import Store

log = structlog.get_logger(__name__)

INBOX_MAX = 8_192
"""Requests that may wait for the writer."""
OVERLAY_BYTES_MAX = 256 * 2**20
"""Memory of blocks above the last checkpoint, from which on requests are refused until one is written."""
TURNS_IN_FLIGHT_MAX = 4
"""Turns that may wait for the committer before the writer pauses."""
IDLE_SECONDS = 1.0
FULL_DISK_RETRY_SECONDS = 1.0
FULL_DISK_PATIENCE = 5
"""Attempts after which waiting requests get a disk-full error: clients need not wait for hours, and can ask again
by the same bytes or the same key. What they sent stays in line for the log."""
FULL = "the disk is full; what was sent is neither refused nor durable yet"


def _ignore(*_: object) -> None:
    """Default of a listener that is not used."""


@dataclass(frozen=True, slots=True)
class Listeners:
    """Callbacks, and the threads that call them."""

    on_fault: Callable[[BaseException], None] = _ignore
    """A thread fails with this exception, so the process has to end. Called on that thread."""
    on_full: Callable[[], None] = _ignore
    """The log's disk is full: free space if possible. Committer thread."""
    on_admitted: Callable[[list[PooledTransaction]], None] = _ignore
    """These transactions entered the pool and are durable; their blocks are not published yet. Committer thread."""
    on_publish: Callable[[int], None] = _ignore
    """Readers see everything up to the record with this LSN. Committer thread."""
    on_answered: Callable[[], None] = _ignore
    """Called after the callbacks of a group, its requests' among them: who waits for them can be woken for all at once.
    The thread that answered."""
    heartbeat: Callable[[], None] = _ignore
    """Called at least every `IDLE_SECONDS`, so that the watchdog notices a stuck writer. Writer thread."""


class Committer:
    """Owns the inbox, the turns in flight and both threads; publishes in the `Store`."""

    def __init__(self, writer: Writer, store: Store, clock: Clock, listeners: Listeners | None = None) -> None:
        self._writer = writer
        self._store = store
        self._clock = clock
        self._listeners = listeners or Listeners()
        self._inbox: queue.SimpleQueue[WriterRequest | None] = queue.SimpleQueue()
        self._turns: queue.SimpleQueue[Turn | None] = queue.SimpleQueue()
        self._places: queue.SimpleQueue[None] = queue.SimpleQueue()
        """One for each turn that may wait for the committer besides those that do: all of them if it is idle."""
        for _ in range(TURNS_IN_FLIGHT_MAX):
            self._places.put(None)
        self._stopping = False
        self._gate = threading.Lock()
        """Held while a request or the end marker enters the inbox, so that nothing follows the end marker."""
        self._work_seconds = 0.0
        self._log_is_full = False
        self._has_room = True
        self._threads = [
            threading.Thread(target=self._guard, args=(self._write,), name="writer"),
            threading.Thread(target=self._guard, args=(self._commit,), name="committer"),
        ]

    def start(self) -> None:
        """Start both threads and accept requests."""
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """Finish all accepted requests, make them durable, and end the threads that could be started."""
        with self._gate:
            self._stopping = True
            self._inbox.put(None)
        for thread in self._threads:
            if thread.ident is not None:
                thread.join()

    def now(self) -> int:
        """Wall-clock seconds, as the writer takes them."""
        return self._clock.now()

    @property
    def work_seconds(self) -> float:
        """CPU time the writer has spent on requests, about the time that replaying them would take."""
        return self._work_seconds

    @property
    def waiting(self) -> int:
        """Number of requests in the inbox."""
        return self._inbox.qsize()

    @property
    def read_only(self) -> bool:
        """Whether changes are refused until the disk has space again."""
        return self._log_is_full or not self._has_room

    def disk_has_room(self, has_room: bool) -> None:
        """Report whether the disk has space; without it, changes are refused."""
        self._has_room = has_room

    def put(self, request: WriterRequest) -> None:
        """Hand a request to the writer. Raises `ReadOnly`, `WriterBusy` and `NodeStopping`."""
        if not isinstance(request, Freeze):
            self._check_room()
        with self._gate:
            self._enter(request)

    def put_all(self, requests: Sequence[WriterRequest]) -> None:
        """Hand requests to the writer, in order; those that it does not take are answered with what `put` raises."""
        entered = 0
        try:
            self._check_room()
            with self._gate:
                for request in requests:
                    self._enter(request)
                    entered += 1
        except ZvmdError as error:
            self._answer((request, error) for request in requests[entered:])

    def _check_room(self) -> None:
        if self.read_only:
            raise ReadOnly("the log's disk is full" if self._log_is_full else "the log's disk is nearly full")
        if self._store.state.overlay_bytes > OVERLAY_BYTES_MAX:
            raise WriterBusy("blocks are sealed faster than checkpoints can write them")

    def _enter(self, request: WriterRequest) -> None:
        """Put a request into the inbox; the caller holds the gate."""
        if self._stopping:
            raise NodeStopping("the node is stopping")
        if self._inbox.qsize() >= INBOX_MAX:
            raise WriterBusy(f"{INBOX_MAX} requests wait")
        self._inbox.put(request)

    def _answer(self, answers: Iterable[tuple[WriterRequest, object]]) -> None:
        for request, answer in answers:
            request.done(answer)
        self._listeners.on_answered()

    # The writer thread

    def _write(self) -> None:
        stop = False
        while not stop:
            requests, stop = self._take()
            for part in parts(requests) if requests or not self._writer.is_mining else ([],):
                if part and is_alone(part[0]):
                    self._wait_for_committer()
                begin = time.thread_time()
                turn = self.step(part)
                self._work_seconds += time.thread_time() - begin
                self._hand_over(turn)
            self._listeners.heartbeat()
        self._answer(self._writer.stop())
        self._turns.put(None)

    def _wait_for_committer(self) -> None:
        """Until all turns are committed."""
        for _ in range(TURNS_IN_FLIGHT_MAX):
            self._places.get()
        for _ in range(TURNS_IN_FLIGHT_MAX):
            self._places.put(None)

    def _take(self) -> tuple[list[WriterRequest], bool]:
        """All waiting requests, and whether the end marker came. Waits `IDLE_SECONDS` at most for the first one, unless
        blocks are due.
        """
        requests: list[WriterRequest] = []
        try:
            request = self._inbox.get(not self._writer.is_mining, IDLE_SECONDS)
            while request is not None:
                requests.append(request)
                request = self._inbox.get_nowait()
        except queue.Empty:
            return requests, False
        return requests, True

    def _hand_over(self, turn: Turn) -> None:
        """Give the turn to the committer thread, or commit it here if that one is idle, which saves a thread switch."""
        if self._inbox.empty() and self._places.qsize() == TURNS_IN_FLIGHT_MAX:
            self.commit(turn)
        else:
            self._places.get()
            self._turns.put(turn)

    def step(self, requests: Sequence[WriterRequest]) -> Turn:
        """The writer's next turn, for `commit`; the log has its records, and a chain that goes back is back already.

        A request that `is_alone` comes by itself, when all turns before are committed.
        Raises `StorageError`: memory may be half changed, start again.
        """
        self._writer.published(self._store.head.number)
        if any(map(goes_back, requests)):
            try:
                self._store.write_frozen()  # a checkpoint in progress cannot be changed
            except StorageFull as error:
                refusal = ReadOnly(f"the disk is full: {error}")
                turn = self._writer.step([], self.now())
                turn.answers += [(request, refusal) for request in requests]
                return turn
        turn = self._writer.step(requests, self.now())
        self._store.append(turn.records)
        if turn.accepted:
            self._answer(turn.accepted)
        return turn if turn.back is None else self._go_back(turn)

    def _go_back(self, turn: Turn) -> Turn:
        """Rewind the chain once its record is durable; returns the turn that continues there and answers both."""
        assert turn.back is not None
        self._flush(turn)
        self._store.revert(turn.back.revert, turn.back.lsn)
        self._writer.went_back(turn.back)
        following = self._writer.step([], self.now())
        self._store.append(following.records)
        following.goes_on(turn)
        return following

    # The committer thread

    def _commit(self) -> None:
        while (turn := self._turns.get()) is not None:
            self.commit(turn)
            self._places.put(None)

    def commit(self, turn: Turn) -> None:
        """Make a turn durable, publish it, answer it, in this order. Raises `StoragePanic`."""
        reach("pipeline.commit.before")
        self._flush(turn)
        reach("pipeline.durable")
        self._publish(turn)
        reach("pipeline.published")
        for request, answer in turn.answers:
            request.done(answer)
            reach("pipeline.answered")
        self._listeners.on_answered()

    def _publish(self, turn: Turn) -> None:
        if turn.ended:
            entry, fate = turn.ended[0]
            log.info(
                "transactions left the pool",
                count=len(turn.ended), first=entry.transaction.hash.hex(), fate=fate.kind, reason=fate.reason,
            )  # fmt: skip
        if turn.admitted:
            self._listeners.on_admitted(turn.admitted)
        for sealed in turn.sealed:
            self._store.remember(sealed)
        self._store.publish(turn.head)
        self._listeners.on_publish(turn.lsn)

    def _flush(self, turn: Turn) -> None:
        """Wait until the log is durable up to the turn's end; while the disk is full, the node is read-only."""
        tries = 0
        while True:
            try:
                self._store.wal.flush(turn.lsn)
            except StorageFull as error:
                if not self._log_is_full:
                    log.error("disk full: read-only until there is space", error=str(error))
                self._log_is_full = True
                self._listeners.on_full()
                tries += 1
                if tries == FULL_DISK_PATIENCE:
                    turn.give_up_waiting(ReadOnly(FULL))
                    self._listeners.on_answered()
                self._clock.sleep(FULL_DISK_RETRY_SECONDS)
            else:
                self._log_is_full = False
                return

    def _guard(self, run: Callable[[], None]) -> None:
        try:
            run()
        except BaseException as error:
            self._listeners.on_fault(error)
            raise
