"""The way from the event loop to the writer and back."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from chain.errors import ZvmdError
from node.engine.requests import Request


class Outbox:
    """Collects what one turn of the event loop asks of the writer, and hands it over together: one group, one sync."""

    def __init__(self, put: Callable[[Request], None]) -> None:
        self._put = put
        self._requests: list[Request] = []

    async def ask(self, make: Callable[[Callable[[object], None]], Request]) -> object:
        """The writer's answer to a request, which ``make`` gives its callback. Raises what the writer refuses with."""
        loop = asyncio.get_running_loop()
        future: asyncio.Future[object] = loop.create_future()

        def settle(answer: object) -> None:
            if future.done():
                return
            if isinstance(answer, BaseException):
                future.set_exception(answer)
            else:
                future.set_result(answer)

        def done(answer: object) -> None:
            loop.call_soon_threadsafe(settle, answer)

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
