"""Requests of the event loop to the writer: sent together, each awaited."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from chain.errors import ZvmdError
from node.engine.requests import Request
from node.ops.futures import settle


class Outbox:
    """What one turn of the loop asks of the writer goes to it together. Used on the loop's thread."""

    def __init__(self, put: Callable[[Request], None]) -> None:
        """``put`` hands a request to the writer, or raises `ZvmdError`."""
        self._put = put
        self._requests: list[Request] = []

    async def ask(self, make: Callable[[Callable[[object], None]], Request]) -> object:
        """The answer to a request, which is made with what to call with it. Raises the answer if that is an error."""
        loop = asyncio.get_running_loop()
        future: asyncio.Future[object] = loop.create_future()

        def done(answer: object) -> None:
            loop.call_soon_threadsafe(settle, future, answer)

        # What one turn of the loop brings goes to the writer together: one group, one sync.
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
