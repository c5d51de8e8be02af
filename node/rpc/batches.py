"""The answers of one JSON-RPC batch, as they arrive in any order."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from functools import partial
from typing import Any

from node.rpc.work import Work

Answer = bytes | None
"""None for a notification."""


class BatchAnswers:
    """Collects them, and counts their bytes for the batch's `Work`. Event loop only."""

    def __init__(self, size: int, work: Work) -> None:
        self._answers: list[Answer] = [None] * size
        self._work = work
        self._left = 0
        self._fault: BaseException | None = None
        self._settled: asyncio.Future[None] | None = None
        self._tasks: set[asyncio.Task[Answer]] = set()

    def expect(self) -> None:
        """One more answer will be `put`."""
        self._left += 1

    def put(self, number: int, answer: Any) -> None:
        """The answer to the request of that number, or the exception that ended it."""
        if isinstance(answer, BaseException):
            self._fault = self._fault or answer
        else:
            self._work.spend_answer(len(answer or b""))
            self._answers[number] = answer
        self._left -= 1
        if not self._left and self._settled is not None and not self._settled.done():
            self._settled.set_result(None)

    def run(self, number: int, answering: Coroutine[Any, Any, Answer]) -> None:
        """Have a task make the answer to the request of that number."""
        self.expect()
        task = asyncio.get_running_loop().create_task(answering)
        self._tasks.add(task)
        task.add_done_callback(partial(self._done, number))

    async def settled(self) -> list[bytes]:
        """The answers so far, when none is expected any more. Raises what ended one of them."""
        if self._left:
            self._settled = asyncio.get_running_loop().create_future()
            await self._settled
        if self._fault is not None:
            raise self._fault
        return [answer for answer in self._answers if answer is not None]

    def cancel(self) -> None:
        """Nobody waits any more."""
        for task in tuple(self._tasks):
            task.cancel()

    def _done(self, number: int, task: asyncio.Task[Answer]) -> None:
        self._tasks.discard(task)
        if task.cancelled():
            self.put(number, asyncio.CancelledError())
        else:
            self.put(number, task.exception() or task.result())
