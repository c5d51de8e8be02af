"""Reader threads: every read of one loop turn becomes one job, so a flood pays one thread hop, not thousands.

One thread works at a time, as Python code gains nothing from two and loses much in handing the interpreter lock to
and fro. When it has been on one call for long (native code, a disk), the next thread is woken and goes on.

Nobody waits behind a stranger's heavy calls:

- Clients take turns, the shortest job first: it is taken to cost what the client's last one did, or the most that it
  can by its method and parameters (`node.rpc.cost`). One that has waited comes before all that are shorter by less than
  `WEIGHT` allows.
- What is cheap for certain waits for no other job of its client.
- A client may have as many reads waiting as there are places left, so that a newcomer finds one, and no more than
  should take `RpcLimits.client_max_s`.
- Jobs have lanes by the processor time they have taken: light, short, medium and long. Of six threads two may be on
  long jobs and one on a medium one. A job that outgrows its lane while the next is full is *put back*: stopped, and
  begun again when there is room. Reads change nothing, so that is allowed. The last thread is for light jobs.
- Native code works without the interpreter lock, so threads in it take the processors away from the event loop and from
  each other. Each lane but the light one has one place for certain; more only as long as there are processors for all
  jobs of these lanes, of which medium and long ones leave one free unless their client is the only one. Light jobs are
  begun at once beside them, as many as there are processors.
- Who has used much of the medium and long lanes lately comes later in them, so many long jobs of one client let one of
  another pass.
- What runs is looked at by the clock and ended when its `Work` is above its time or its memory.
"""

from __future__ import annotations

import asyncio
import math
import os
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from heapq import heappop, heappush
from queue import SimpleQueue
from typing import Any, TypeVar

import structlog

from node.ops.futures import settle
from node.ops.slices import LoopSlice
from node.rpc.cost import CHEAP_S, PART, KnownCosts, ReadPrice
from node.rpc.errors import InternalError, NodeBusy
from node.rpc.limits import RpcLimits
from node.rpc.work import ReaderShare, Work, current_work
from vm.interruption import Interruption, run_interruptible

T = TypeVar("T")
Job = Callable[[], Any]
Done = Callable[[Any], None]
"""Receives the job's value on the loop; an exception object if it raised."""

_log = structlog.get_logger("readers")

DELIVER_AFTER_S = 0.002
"""A thread brings results back at least this often."""
HELP_AFTER_S = 0.002
"""When all working threads have been on their calls for this long, another is woken."""
LOOK_EVERY_S = 0.01
"""What runs is looked at this often."""
LOOK_AGAIN_S = 0.001
"""After a look that found the lock taken: the event loop waits for no thread."""
LIGHT, SHORT, MEDIUM, LONG = range(4)
LANES_S = (0.001, CHEAP_S, 0.5, math.inf)
"""Processor time, seconds, of a job in each lane; waiting for the interpreter lock does not count. What is cheap for
certain is light although it may take `CHEAP_S`."""
WAITING_S = 0.05
"""A light job under way for so long waits for a disk or a lock: it takes no processor from others."""
WEIGHT = 20.0
"""A second of processor time that a job is taken to cost counts like so many of having arrived later."""


class PutBack(BaseException):
    """Ends a long job that must wait; no handler of errors may take it for one."""


@dataclass(slots=True)
class _Queued:
    """A job waiting or running."""

    number: int
    run: Job
    done: Done
    work: Work
    turn: float = 0.0
    """What comes first; a time, seconds."""
    begun: float = 0.0
    clock: int = 0
    """The thread's clock of processor time; 0 before the job has begun and after its end."""
    clock_begun: float = 0.0
    """What it said at the beginning: the time of day counts what waits for the interpreter lock, too."""
    lane: int = 0
    price: ReadPrice = PART
    interruption: Interruption | None = None

    def __lt__(self, other: _Queued) -> bool:
        return (self.turn, self.number) < (other.turn, other.number)


def _allowed_s(job: _Queued) -> float:
    """Processor time, seconds, that the job may take in its lane."""
    return CHEAP_S if job.lane == LIGHT and job.price.is_cheap else LANES_S[job.lane]


def _queue_of(job: _Queued) -> deque[_Queued]:
    """Where its client's jobs of its sort wait."""
    return job.work.share.queues[job.price.is_cheap]


class _Clocks(threading.local):
    def __init__(self) -> None:
        self.thread = time.pthread_getcpuclockid(threading.get_ident())


def processors_here() -> int:
    """Processors that this process may run on."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


class Readers:
    """A small pool of threads for reads. Use from one event loop only."""

    def __init__(self, limits: RpcLimits, processors: int | None = None) -> None:
        """``processors`` are by default those this process may run on."""
        self._loop = asyncio.get_running_loop()
        self._limits = limits
        self._own = Work(limits)
        self._unanswered = 0
        self._arrived: list[_Queued] = []
        self._is_hand_over_planned = False
        self._timer: asyncio.TimerHandle | None = None
        self._number = 0
        self._costs = KnownCosts()
        self._results: deque[tuple[_Queued, Any]] = deque()
        """What threads have done and the loop has not told yet."""
        self._lock = threading.Lock()
        self._clocks = _Clocks()
        # Guarded by the lock:
        self._lanes: tuple[list[_Queued], ...] = ([], [], [], [])
        """Heaps of what waits; in LIGHT and SHORT only the next job of each client's queues, by what it should cost."""
        self._waiting = 0
        """Jobs that have not begun yet."""
        self._running: dict[int, _Queued] = {}
        """By thread."""
        self._wakes: list[SimpleQueue[bool]] = []
        """What wakes each thread; False ends it."""
        self._asleep: list[SimpleQueue[bool]] = []
        """Threads without work, the last to fall asleep last: it is woken first, because its caches are warm."""
        self._put_back = self._stopped = self._replaced = 0
        self._begun = 0.0
        """When a thread last began a call."""
        self.begun = 0
        """Jobs begun since the start."""
        self._size = limits.reader_threads
        self._room = {
            SHORT: max(1, self._size - 1),
            MEDIUM: max(1, self._size // 6),
            LONG: max(1, self._size // 3),
        }
        """Threads that may be on jobs of those lanes."""
        self._processors = processors or processors_here()
        for _ in range(self._size):
            self._start_thread()

    def admit(self, share: ReaderShare, prices: Sequence[ReadPrice]) -> float:
        """Seconds that reads of these prices should take, of one request or batch. Raises `NodeBusy`.

        A client that waits for nothing is not refused here.
        """
        expected = min(sum(map(self._costs.expected, prices)), self._limits.call_max_s)
        if share.unanswered >= max(1, self._limits.reads_queued_max - self._unanswered):
            raise NodeBusy(f"{share.unanswered} reads of this client are waiting, more than there are places left")
        excess = share.expected_s + expected - self._limits.client_max_s
        if excess > 0 and share.expected_s and not all(price.is_cheap for price in prices):
            retry_after_s = min(max(1.0, excess), self._limits.call_max_s)
            raise NodeBusy(
                f"requests of this client that should take {share.expected_s:.0f} s of processor time are waiting; "
                f"try again in {retry_after_s:.0f} s",
                retry_after_s,
            )
        return expected

    def submit(self, job: Job, done: Done, work: Work | None = None, price: ReadPrice | None = None) -> None:
        """Run ``job`` on a thread, then ``done`` with its value on the loop. Raises `NodeBusy`.

        ``work`` bounds it; by default that of the running coroutine. Its price is the work's if it has no other.
        """
        if self._unanswered >= self._limits.reads_queued_max:
            raise NodeBusy(f"{self._unanswered} reads are waiting")
        work = work or current_work.get() or self._unbounded()
        self._unanswered += 1
        work.share.arrived()
        self._number += 1
        self._arrived.append(_Queued(self._number, job, done, work, price=price or work.order.price))
        if not self._is_hand_over_planned:
            self._is_hand_over_planned = True
            self._loop.call_soon(self._hand_over)

    async def run(self, job: Callable[[], T], work: Work | None = None, price: ReadPrice | None = None) -> T:
        """`submit` as a coroutine."""
        future: asyncio.Future[T] = self._loop.create_future()
        self.submit(job, partial(settle, future), work, price)
        return await future

    @property
    def is_busy(self) -> bool:
        """Whether a read waits, runs, or has not been answered yet. Event loop."""
        return self._unanswered > 0

    def status(self) -> dict[str, int]:
        """For ``zvmd_status``."""
        with self._lock:
            return {
                "threads": self._size,
                "busy": len(self._running),
                "medium": self._count(MEDIUM),
                "long": self._count(LONG),
                "waiting": self._waiting + len(self._lanes[MEDIUM]) + len(self._lanes[LONG]),
                "putBack": self._put_back,
                "stopped": self._stopped,
                "replaced": self._replaced,
            }

    def bound(self) -> tuple[int, int]:
        """How many reads wait or run, and the limit."""
        return self._unanswered, self._limits.reads_queued_max

    def close(self) -> None:
        """Let the threads end; jobs handed over are finished."""
        if self._timer is not None:
            self._timer.cancel()
        with self._lock:
            for wake in self._wakes:
                wake.put(False)

    def _unbounded(self) -> Work:
        """The work of the node's own reads and of its streams: one page each, so the time starts again with each."""
        return Work(self._limits, self._own.client)

    # On the loop

    def _hand_over(self) -> None:
        if not self._lock.acquire(blocking=False):  # a thread has it that may have to wait for the interpreter lock
            self._loop.call_soon(self._hand_over)
            return
        self._is_hand_over_planned = False
        arrived, self._arrived = self._arrived, []
        now = time.monotonic()
        try:
            for job in arrived:
                queue = _queue_of(job)
                queue.append(job)
                if len(queue) == 1:
                    self._line_up(job, now)
            self._waiting += len(arrived)
            waiting = self._wake_another(now)
        finally:
            self._lock.release()
        if self._timer is None and (waiting or len(self._asleep) < self._size):
            self._timer = self._loop.call_later(HELP_AFTER_S, self._look)

    def _line_up(self, job: _Queued, now: float) -> None:
        """The job waits in its lane, by what it is taken to cost. Holds the lock."""
        cost = min(job.work.share.cost, job.price.most_s)
        if job.lane < MEDIUM:
            job.lane = LIGHT if job.price.is_cheap or cost < LANES_S[LIGHT] else SHORT
        else:
            cost += job.work.share.used(now)
        job.turn = now + WEIGHT * cost
        heappush(self._lanes[job.lane], job)

    def _wake_another(self, now: float) -> bool:
        """Wake a thread if nobody can go on soon with what waits; whether anything waits. Holds the lock."""
        lane = self._next_lane()
        if lane is None:
            return False
        working = self._size - len(self._asleep)
        is_free = working == 0 or (lane >= MEDIUM and working == 1) or (lane == LIGHT and self._are_all_heavy(working))
        if is_free or now - self._begun > HELP_AFTER_S:
            self._wake()
        return True

    def _are_all_heavy(self, working: int) -> bool:
        """Whether all threads that are awake are on jobs that are not light. Holds the lock."""
        return self._count_heavy() == working

    def _wake(self) -> None:
        """Wake a thread, if one is asleep. Holds the lock."""
        if self._asleep:
            self._asleep.pop().put(True)

    def _next_lane(self) -> int | None:
        """The longest lane in which a job waits that may begin. Holds the lock."""
        light, short, medium, long = self._lanes
        heavy = self._count_heavy()
        if long and self._has_room(LONG, heavy):
            return LONG
        if medium and self._has_room(MEDIUM, heavy):
            return MEDIUM
        may_be_light = bool(light) and self._has_room_for_light()
        if not short or len(self._running) >= max(1, self._size - 1) or not self._has_room(SHORT, heavy):
            return LIGHT if may_be_light else None
        return LIGHT if may_be_light and light[0] < short[0] else SHORT

    def _has_room_for_light(self) -> bool:
        since = time.monotonic() - WAITING_S
        busy = sum(job.lane == LIGHT and job.begun > since for job in self._running.values())
        return busy < self._processors

    def _has_room(self, lane: int, heavy: int) -> bool:
        """Whether one more job may run in the lane beside so many others that are not light. Holds the lock."""
        count = self._count(lane)
        spare = 0 if lane == SHORT or self._is_one_client() else 1
        return count == 0 or (count < self._room[lane] and heavy < self._processors - spare)

    def _is_one_client(self) -> bool:
        """Whether all that runs, and what waits for its first turn, is of one client. Holds the lock."""
        light, short, *_ = self._lanes  # at most two jobs of each client
        jobs = (*self._running.values(), *light[:3], *short[:3])
        return len({id(job.work.share) for job in jobs}) <= 1

    def _count_heavy(self) -> int:
        return sum(job.lane != LIGHT for job in self._running.values())

    def _count(self, lane: int) -> int:
        return sum(job.lane == lane for job in self._running.values())

    def _look(self) -> None:
        """End what is above its limits, put back what finds no room in its lane, wake another if all are stuck."""
        self._timer = None
        self._deliver()  # of threads that are on a long job now
        if not self._lock.acquire(blocking=False):
            self._timer = self._loop.call_later(LOOK_AGAIN_S, self._look)
            return
        now = time.monotonic()
        try:
            running = sorted(self._running.values(), key=lambda job: job.begun)
            for job in running:
                if not job.clock:
                    continue
                if job.interruption is not None and now - job.begun > _allowed_s(job):
                    self._promote(job, job.interruption)
            waiting = self._wake_another(now)
        finally:
            self._lock.release()
        for job in running:
            job.work.look(now)
        if waiting or running or len(self._asleep) < self._size:
            self._timer = self._loop.call_later(HELP_AFTER_S if waiting else LOOK_EVERY_S, self._look)

    def _promote(self, job: _Queued, interruption: Interruption) -> None:
        """Move a job that runs to the lane of its time, or have it put back. Holds the lock."""
        if time.clock_gettime(job.clock) - job.clock_begun <= _allowed_s(job):
            return
        others = self._count_heavy() - (job.lane != LIGHT)
        with_room = [lane for lane in self._room if lane > job.lane and self._has_room(lane, others)]
        if with_room:
            job.lane = with_room[0]
        else:
            interruption.stop(PutBack())  # where it has ended meanwhile, or is to end anyway, that does nothing

    def _deliver(self) -> None:
        turn = LoopSlice()
        while self._results:
            job, value = self._results.popleft()
            self._unanswered -= 1
            job.work.share.answered()
            job.done(value)
            if turn.is_over:
                self._loop.call_soon(self._deliver)
                return

    # On a thread

    def _start_thread(self) -> None:
        wake: SimpleQueue[bool] = SimpleQueue()
        with self._lock:
            self._asleep.append(wake)
            self._wakes.append(wake)
        threading.Thread(target=self._serve, args=(wake,), name="reader", daemon=True).start()

    def _serve(self, wake: SimpleQueue[bool]) -> None:
        try:
            while wake.get():
                self._work_through(wake)
        except BaseException as error:
            self._replace(error, wake)

    def _replace(self, error: BaseException, wake: SimpleQueue[bool]) -> None:
        """Another thread goes on where this one dies: with a bug or without memory, never with a job's own error."""
        _log.error("reader_died", exc_info=error)
        with self._lock:
            job = self._running.pop(threading.get_ident(), None)
            self._wakes.remove(wake)
            self._replaced += 1
        if job is not None:
            self._results.append((job, InternalError(f"the reader thread ended: {type(error).__name__}")))
        self._start_thread()
        self._bring_back()

    def _take(self, thread: int, wake: SimpleQueue[bool]) -> _Queued | None:
        """The next job, now this thread's; None if there is none, and the thread sleeps then. Holds the lock."""
        lane = self._next_lane()
        if lane is None:
            self._asleep.append(wake)
            return None
        job = heappop(self._lanes[lane])
        job.lane = lane
        self._begun = job.begun = time.monotonic()
        if lane < MEDIUM:
            self._waiting -= 1
            queue = _queue_of(job)
            queue.popleft()
            if queue:
                self._line_up(queue[0], job.begun)
        self._running[thread] = job
        self.begun += 1
        if lane != LIGHT and self._lanes[LIGHT]:
            self._wake()
        return job

    def _work_through(self, wake: SimpleQueue[bool]) -> None:
        thread, clock = threading.get_ident(), self._clocks.thread
        first, has_results = 0.0, False
        with self._lock:
            job = self._take(thread, wake)
        while job is not None:
            if not has_results:
                first = job.begun
            elif job.begun - first > DELIVER_AFTER_S or job.work.share.cost > DELIVER_AFTER_S:
                self._bring_back()
                first = job.begun
            job.clock_begun, job.clock = time.clock_gettime(clock), clock
            job = self._execute(job, thread, wake)
            has_results = True
        if has_results:
            self._bring_back()

    def _execute(self, job: _Queued, thread: int, wake: SimpleQueue[bool]) -> _Queued | None:
        """Run the job; the next one, as `_take` says."""
        interruption = job.interruption = job.work.begin(job.begun)
        value: Any
        is_put_back = False
        try:
            value = run_interruptible(interruption, job.run)
        except PutBack:
            is_put_back = True
        except BaseException as error:
            value = error
        job.work.end(interruption)
        if not is_put_back:
            self._results.append((job, value))
        with self._lock:
            del self._running[thread]
            self._account(job, is_put_back)
            return self._take(thread, wake)

    def _account(self, job: _Queued, is_put_back: bool) -> None:
        """What the job took; one that was put back waits for room. Holds the lock."""
        job.interruption = None
        share, cost = job.work.share, time.clock_gettime(job.clock) - job.clock_begun
        job.clock = 0
        if not job.price.is_cheap or cost > CHEAP_S:
            share.cost = max(cost, share.cost / 2)
        if not is_put_back:
            self._costs.learn(job.price, cost)
        if cost > LANES_S[SHORT]:
            share.use(cost, job.begun)
        if is_put_back:
            self._put_back += 1
            job.lane = MEDIUM if job.lane < MEDIUM else LONG
            self._line_up(job, job.begun)
        elif job.work.reason is not None:
            self._stopped += 1

    def _bring_back(self) -> None:
        try:
            self._loop.call_soon_threadsafe(self._deliver)
        except RuntimeError:
            return  # the loop is closed: nobody waits any more
