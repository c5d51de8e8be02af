"""Reader threads: every read of one loop turn becomes one job, so a flood pays one thread hop, not thousands.

The loop hands over a batch, a thread works through it and brings results back in chunks. When one call of a
batch takes long, the loop lets another thread continue with the rest, so nobody waits behind a stranger's
heavy call.
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
HELP_AFTER_S = 0.010
"""A batch that made no progress for this long gets another thread."""


class _Batch:
    """Jobs submitted in one loop turn; threads take from the left."""

    __slots__ = ("jobs", "left_at_check")

    def __init__(self) -> None:
        self.jobs: deque[tuple[Job, Done]] = deque()
        self.left_at_check = -1


class Readers:
    """A small pool of threads for reads. Use from one event loop only."""

    def __init__(self, threads: int = 4, queued_max: int = 65_536) -> None:
        self._loop = asyncio.get_running_loop()
        self._queued_max = queued_max
        self._queued = 0
        self._open: _Batch | None = None
        self._running: list[_Batch] = []
        self._work: SimpleQueue[_Batch | None] = SimpleQueue()
        self._helper: asyncio.TimerHandle | None = None
        self._after_delivery: list[Callable[[], None]] = []
        self._threads = [threading.Thread(target=self._serve, name=f"reader-{i}", daemon=True) for i in range(threads)]
        for thread in self._threads:
            thread.start()

    def submit(self, job: Job, done: Done) -> None:
        """Run ``job`` on a thread, then ``done`` with its value on the loop. Raises `NodeBusy`."""
        if self._queued >= self._queued_max:
            raise NodeBusy(f"{self._queued} reads are waiting")
        self._queued += 1
        if self._open is None:
            self._open = _Batch()
            self._loop.call_soon(self._hand_over)
        self._open.jobs.append((job, done))

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

    def after_delivery(self, action: Callable[[], None]) -> None:
        """Call ``action`` once after the chunk of results that is being delivered now."""
        self._after_delivery.append(action)

    def close(self) -> None:
        """Let the threads end; jobs handed over are finished."""
        if self._helper is not None:
            self._helper.cancel()
        for _ in self._threads:
            self._work.put(None)

    def _hand_over(self) -> None:
        batch, self._open = self._open, None
        if batch is None:
            return
        self._running.append(batch)
        self._work.put(batch)
        if self._helper is None:
            self._helper = self._loop.call_later(HELP_AFTER_S, self._help)

    def _help(self) -> None:
        self._helper = None
        self._running = [batch for batch in self._running if batch.jobs]
        for batch in self._running:
            if batch.left_at_check == len(batch.jobs):
                self._work.put(batch)
            batch.left_at_check = len(batch.jobs)
        if self._running:
            self._helper = self._loop.call_later(HELP_AFTER_S, self._help)

    def _serve(self) -> None:
        while (batch := self._work.get()) is not None:
            self._work_through(batch)

    def _work_through(self, batch: _Batch) -> None:
        results: list[tuple[Done, Any]] = []
        started = time.monotonic()
        while True:
            try:
                job, done = batch.jobs.popleft()
            except IndexError:
                break
            value: Any
            try:
                value = job()
            except BaseException as error:
                value = error
            results.append((done, value))
            if time.monotonic() - started > DELIVER_AFTER_S:
                self._bring_back(results)
                results = []
                started = time.monotonic()
        if results:
            self._bring_back(results)

    def _bring_back(self, results: list[tuple[Done, Any]]) -> None:
        try:
            self._loop.call_soon_threadsafe(self._deliver, results)
        except RuntimeError:
            return  # the loop is closed: nobody waits any more

    def _deliver(self, results: list[tuple[Done, Any]]) -> None:
        self._queued -= len(results)
        for done, value in results:
            done(value)
        actions, self._after_delivery = self._after_delivery, []
        for action in actions:
            action()
