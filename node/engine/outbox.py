"""Batches the event loop's requests to the writer, and the answers that come back from its threads."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable

from chain.errors import ZvmdError
from node.engine.requests import WriterRequest
from node.ops.futures import settle


class Outbox:
    """The requests of one turn of the loop go to the writer together. Event loop only, but for the answers."""

    def __init__(self, put: Callable[[WriterRequest], None]) -> None:
        """``put`` hands a request to the writer, or raises `ZvmdError`."""
        self._put = put
        self._requests: list[WriterRequest] = []
        self._answers: deque[tuple[asyncio.Future[object], object]] = deque()
        """What threads have answered and the loop has not told yet."""
        self._is_woken = False
        """Whether the loop is to look at the answers. Cleared before it does, so none is left lying."""

    async def ask(self, make: Callable[[Callable[[object], None]], WriterRequest]) -> object:
        """Make a request with its callback, and return its answer. Raises the answer if it is an error."""
        loop = asyncio.get_running_loop()
        future: asyncio.Future[object] = loop.create_future()

        def done(answer: object) -> None:
            self._answers.append((future, answer))
            if not self._is_woken:
                self._is_woken = True
                loop.call_soon_threadsafe(self._tell)

        # The requests of one turn of the loop go to the writer together: one group, one sync.
        self._requests.append(make(done))
        if len(self._requests) == 1:
            loop.call_soon(self._send)
        return await future

    def _tell(self) -> None:
        self._is_woken = False
        while self._answers:
            settle(*self._answers.popleft())

    def _send(self) -> None:
        requests, self._requests = self._requests, []
        for request in requests:
            try:
                self._put(request)
            except ZvmdError as error:
                request.done(error)
