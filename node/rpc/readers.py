"""Reader threads: every read of one loop turn becomes one job, so a flood pays one thread hop, not thousands.

One thread works at a time, as Python code gains nothing from two and loses much in handing the interpreter lock to
and fro. When it has been on one call for long (native code, a disk), the next thread is woken and goes on.

Nobody waits behind a stranger's heavy calls:

- Jobs are taken by start-time fair queuing over clients: a client's next job counts from where its last one ended.
- Half of the threads may be on long jobs. One more that turns long is *put back*: stopped, and begun again when a
  thread for long jobs is free. Reads change nothing, so that is allowed. The other threads are always for short jobs.
- What runs is looked at by the clock and ended when its `Work` is above its time or its memory.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from heapq import heappop, heappush
from queue import SimpleQueue
from typing import Any, TypeVar

import structlog

from node.rpc.errors import InternalError, NodeBusy
from node.rpc.limits import RpcLimits
from node.rpc.work import Work, current_work
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
LONG_AFTER_S = 0.05
"""A job that has run for this long is a long one."""
COST_S = 0.001
"""What a job counts in the virtual time before it has run."""


class PutBack(BaseException):
    """Ends a long job that must wait; no handler of errors may take it for one."""


@dataclass(slots=True)
class _Queued:
    """A job waiting or running."""

    start: float
    """Its place in the virtual time."""
    number: int
    run: Job
    done: Done
    work: Work
    begun: float = 0.0
    is_long: bool = False
    interruption: Interruption | None = None

    def __lt__(self, other: _Queued) -> bool:
        return (self.start, self.number) < (other.start, other.number)


class Readers:
    """A small pool of threads for reads. Use from one event loop only."""

    def __init__(self, limits: RpcLimits) -> None:
        self._loop = asyncio.get_running_loop()
        self._limits = limits
        self._own = Work(limits)
        self._unanswered = 0
        self._arrived: list[_Queued] = []
        self._is_hand_over_planned = False
        self._timer: asyncio.TimerHandle | None = None
        self._number = 0
        self._wake: SimpleQueue[bool] = SimpleQueue()
        self._lock = threading.Lock()
        # Guarded by the lock:
        self._short: list[_Queued] = []
        self._long: list[_Queued] = []
        self._running: dict[int, _Queued] = {}
        """By thread."""
        self._virtual = 0.0
        self._working = 0
        """Threads woken and not asleep again."""
        self._put_back = self._stopped = self._replaced = 0
        self._begun = 0.0
        """When a thread last began a call."""
        self.begun = 0
        """Jobs begun since the start."""
        self._size = limits.reader_threads
        self._long_max = max(1, self._size // 2)
        for _ in range(self._size):
            self._start_thread()

    def submit(self, job: Job, done: Done, work: Work | None = None) -> None:
        """Run ``job`` on a thread, then ``done`` with its value on the loop. Raises `NodeBusy`.

        ``work`` bounds it; by default that of the running coroutine.
        """
        if self._unanswered >= self._limits.reads_queued_max:
            raise NodeBusy(f"{self._unanswered} reads are waiting")
        self._unanswered += 1
        self._number += 1
        self._arrived.append(_Queued(0.0, self._number, job, done, work or current_work.get() or self._unbounded()))
        if not self._is_hand_over_planned:
            self._is_hand_over_planned = True
            self._loop.call_soon(self._hand_over)

    async def run(self, job: Callable[[], T], work: Work | None = None) -> T:
        """`submit` as a coroutine."""
        future: asyncio.Future[T] = self._loop.create_future()

        def done(value: Any) -> None:
            if future.done():
                return
            if isinstance(value, BaseException):
                future.set_exception(value)
            else:
                future.set_result(value)

        self.submit(job, done, work)
        return await future

    def status(self) -> dict[str, int]:
        """For ``zvmd_status``."""
        with self._lock:
            return {
                "threads": self._size,
                "busy": len(self._running),
                "long": sum(job.is_long for job in self._running.values()),
                "waiting": len(self._short) + len(self._long),
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
        for _ in range(self._size):
            self._wake.put(False)

    def _unbounded(self) -> Work:
        """Of what the node reads for itself and its streams: a page each, so the time begins with each."""
        return Work(self._limits, self._own.client)

    # On the loop

    def _hand_over(self) -> None:
        self._is_hand_over_planned = False
        arrived, self._arrived = self._arrived, []
        with self._lock:
            for job in arrived:
                client = job.work.client
                job.start = max(self._virtual, client.finish)
                client.finish = job.start + COST_S
                heappush(self._short, job)
            waiting = self._wake_another(time.monotonic())
        if self._timer is None and (waiting or self._working):
            self._timer = self._loop.call_later(HELP_AFTER_S, self._look)

    def _wake_another(self, now: float) -> bool:
        """Wake a thread if nobody can go on soon with what waits; whether anything waits. Holds the lock."""
        may_be_long = bool(self._long) and self._count_long() < self._long_max
        waiting = bool(self._short) or may_be_long
        is_stuck = self._working == 0 or now - self._begun > HELP_AFTER_S or (may_be_long and self._working == 1)
        if waiting and is_stuck and self._working < self._size:
            self._working += 1
            self._wake.put(True)
        return waiting

    def _count_long(self) -> int:
        return sum(job.is_long for job in self._running.values())

    def _look(self) -> None:
        """End what is above its limits, put back what is long in excess, wake another thread if all are stuck."""
        self._timer = None
        now = time.monotonic()
        with self._lock:
            running = sorted(self._running.values(), key=lambda job: job.begun)
            for job in running:
                if not job.is_long and now - job.begun > LONG_AFTER_S and job.interruption is not None:
                    if self._count_long() < self._long_max:
                        job.is_long = True
                    elif job.interruption.reason is None:
                        job.interruption.stop(PutBack())
            waiting = self._wake_another(now)
        for job in running:
            job.work.look(now)
        if waiting or running or self._working:
            self._timer = self._loop.call_later(HELP_AFTER_S if waiting else LOOK_EVERY_S, self._look)

    def _deliver(self, results: list[tuple[Done, Any]]) -> None:
        self._unanswered -= len(results)
        for done, value in results:
            done(value)

    # On a thread

    def _start_thread(self) -> None:
        threading.Thread(target=self._serve, name="reader", daemon=True).start()

    def _serve(self) -> None:
        results: list[tuple[Done, Any]] = []
        try:
            while self._wake.get():
                self._work_through(results)
        except BaseException as error:
            self._replace(results, error)

    def _replace(self, results: list[tuple[Done, Any]], error: BaseException) -> None:
        """Another thread goes on where this one dies: with a bug or without memory, never with a job's own error."""
        _log.error("reader_died", exc_info=error)
        with self._lock:
            job = self._running.pop(threading.get_ident(), None)
            self._working -= 1
            self._replaced += 1
        if job is not None:
            results.append((job.done, InternalError(f"the reader thread ended: {type(error).__name__}")))
        self._start_thread()
        self._bring_back(results)

    def _take(self) -> _Queued | None:
        """The next job, now this thread's; None if there is none, and the thread sleeps then."""
        with self._lock:
            queue = self._short
            if self._long and (not queue or self._working > 1) and self._count_long() < self._long_max:
                queue = self._long
            if not queue:
                self._working -= 1
                return None
            job = heappop(queue)
            job.is_long = queue is self._long
            self._virtual = max(self._virtual, job.start)
            self._running[threading.get_ident()] = job
            self._begun = job.begun = time.monotonic()
            self.begun += 1
            if job.is_long and self._short and self._working < self._size:
                self._working += 1
                self._wake.put(True)
        job.interruption = job.work.begin(job.begun)
        return job

    def _work_through(self, results: list[tuple[Done, Any]]) -> None:
        first = 0.0
        while True:
            if results and not (self._short or self._long):
                self._bring_back(results)  # nobody is kept waiting for a result while this thread falls asleep
            job = self._take()
            if job is None:
                if results:
                    self._bring_back(results)
                return
            if results and job.begun - first > DELIVER_AFTER_S:
                self._bring_back(results)
            if not results:
                first = job.begun
            self._execute(job, results)

    def _execute(self, job: _Queued, results: list[tuple[Done, Any]]) -> None:
        interruption = job.interruption
        assert interruption is not None
        value: Any
        is_put_back = False
        try:
            value = run_interruptible(interruption, job.run)
        except PutBack:
            is_put_back = True
        except BaseException as error:
            value = error
        job.work.end(interruption)
        with self._lock:
            del self._running[threading.get_ident()]
            job.interruption = None
            client = job.work.client
            client.finish = max(client.finish, job.start + time.monotonic() - job.begun)
            if is_put_back:
                self._put_back += 1
                heappush(self._long, job)
            elif job.work.reason is not None:
                self._stopped += 1
        if not is_put_back:
            results.append((job.done, value))

    def _bring_back(self, results: list[tuple[Done, Any]]) -> None:
        brought = results[:]
        results.clear()
        try:
            self._loop.call_soon_threadsafe(self._deliver, brought)
        except RuntimeError:
            return  # the loop is closed: nobody waits any more
