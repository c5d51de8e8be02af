"""Reader threads: every read of one loop turn becomes one job, so a flood pays one thread hop, not thousands.

One thread works at a time, as Python code gains nothing from two and loses much in handing the interpreter lock to
and fro. When it has been on one call for long (native code, a disk), the next thread is woken and goes on with the
queue, so nobody waits behind a stranger's heavy call.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections import deque
from collections.abc import Callable
from queue import SimpleQueue
from typing import Any, TypeVar

from node.rpc.errors import NodeBusy

T = TypeVar("T")
Job = Callable[[], Any]
Done = Callable[[Any], None]
"""Receives the job's value on the loop; an exception object if it raised."""

DELIVER_AFTER_S = 0.002
"""A thread brings results back at least this often."""
HELP_AFTER_S = 0.002
"""When all working threads have been on their calls for this long, another is woken."""


class Readers:
    """A small pool of threads for reads. Use from one event loop only."""

    def __init__(self, threads: int = 4, queued_max: int = 65_536) -> None:
        self._loop = asyncio.get_running_loop()
        self._queued_max = queued_max
        self._unanswered = 0
        self._jobs: deque[tuple[Job, Done]] = deque()
        self._hand_over_planned = False
        self._helper: asyncio.TimerHandle | None = None
        self._wake: SimpleQueue[bool] = SimpleQueue()
        self._lock = threading.Lock()
        self._working = 0
        """Threads woken and not asleep again; guarded by the lock."""
        self._begun = 0.0
        """When a thread last began a call."""
        self._threads = [threading.Thread(target=self._serve, name=f"reader-{i}", daemon=True) for i in range(threads)]
        for thread in self._threads:
            thread.start()

    def submit(self, job: Job, done: Done) -> None:
        """Run ``job`` on a thread, then ``done`` with its value on the loop. Raises `NodeBusy`."""
        if self._unanswered >= self._queued_max:
            raise NodeBusy(f"{self._unanswered} reads are waiting")
        self._unanswered += 1
        self._jobs.append((job, done))
        if not self._hand_over_planned:
            self._hand_over_planned = True
            self._loop.call_soon(self._hand_over)

    async def run(self, job: Callable[[], T]) -> T:
        """`submit` as a coroutine."""
        future: asyncio.Future[T] = self._loop.create_future()

        def done(value: Any) -> None:
            if future.done():
                return
            if isinstance(value, BaseException):
                future.set_exception(value)
            else:
                future.set_result(value)

        self.submit(job, done)
        return await future

    def close(self) -> None:
        """Let the threads end; jobs handed over are finished."""
        if self._helper is not None:
            self._helper.cancel()
        for _ in self._threads:
            self._wake.put(False)

    def _hand_over(self) -> None:
        self._hand_over_planned = False
        with self._lock:
            stuck = self._working == 0 or time.monotonic() - self._begun > HELP_AFTER_S
            if self._jobs and stuck and self._working < len(self._threads):
                self._working += 1
                self._wake.put(True)
            waiting = bool(self._jobs)
        if waiting and self._helper is None:
            self._helper = self._loop.call_later(HELP_AFTER_S, self._help)

    def _help(self) -> None:
        self._helper = None
        self._hand_over()

    def _serve(self) -> None:
        while self._wake.get():
            self._work_through()

    def _work_through(self) -> None:
        results: list[tuple[Done, Any]] = []
        first = time.monotonic()
        while True:
            try:
                job, done = self._jobs.popleft()
            except IndexError:
                if results:
                    self._bring_back(results)
                    results = []
                with self._lock:
                    # A job appended meanwhile found this thread working and woke nobody.
                    if self._jobs:
                        continue
                    self._working -= 1
                    return
            self._begun = now = time.monotonic()
            if results and now - first > DELIVER_AFTER_S:
                self._bring_back(results)
                results = []
            if not results:
                first = now
            value: Any
            try:
                value = job()
            except BaseException as error:
                value = error
            results.append((done, value))

    def _bring_back(self, results: list[tuple[Done, Any]]) -> None:
        try:
            self._loop.call_soon_threadsafe(self._deliver, results)
        except RuntimeError:
            return  # the loop is closed: nobody waits any more

    def _deliver(self, results: list[tuple[Done, Any]]) -> None:
        self._unanswered -= len(results)
        for done, value in results:
            done(value)
