"""Batches the event loop's requests to the writer, each of which is awaited."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from chain.errors import ZvmdError
from node.engine.requests import WriterRequest
from node.ops.futures import settle


class Outbox:
    """The requests of one turn of the loop go to the writer together. Event loop only."""

    def __init__(self, put: Callable[[WriterRequest], None]) -> None:
        """``put`` hands a request to the writer, or raises `ZvmdError`."""
        self._put = put
        self._requests: list[WriterRequest] = []

    async def ask(self, make: Callable[[Callable[[object], None]], WriterRequest]) -> object:
        """Make a request with its callback, and return its answer. Raises the answer if it is an error."""
        loop = asyncio.get_running_loop()
        future: asyncio.Future[object] = loop.create_future()

        def done(answer: object) -> None:
            loop.call_soon_threadsafe(settle, future, answer)

        # The requests of one turn of the loop go to the writer together: one group, one sync.
        self._requests.append(make(done))
        if len(self._requests) == 1:
            loop.call_soon(self._send)
        return await future

    def _send(self) -> None:
        requests, self._requests = self._requests, []
        for request in requests:
            try:
                self._put(request)
            except ZvmdError as error:
                request.done(error)
