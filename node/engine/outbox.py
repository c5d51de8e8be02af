"""Batches the event loop's requests to the writer, and the answers that come back from its threads."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

from node.engine.loop_calls import LoopCalls
from node.engine.requests import WriterRequest
from node.ops.futures import settle


class Outbox:
    """The requests of one turn of the loop go to the writer together. Event loop only."""

    def __init__(self, put_all: Callable[[Sequence[WriterRequest]], None], calls: LoopCalls) -> None:
        """``put_all`` hands requests to the writer; ``calls`` brings the answers, once who answers wakes the loop."""
        self._put_all = put_all
        self._calls = calls
        self._requests: list[WriterRequest] = []

    async def ask(self, make: Callable[[Callable[[object], None]], WriterRequest]) -> object:
        """Make a request with its callback, and return its answer. Raises the answer if it is an error."""
        loop = asyncio.get_running_loop()
        future: asyncio.Future[object] = loop.create_future()

        def done(answer: object) -> None:
            self._calls.add(settle, future, answer)

        # The requests of one turn of the loop go to the writer together: one group, one sync.
        self._requests.append(make(done))
        if len(self._requests) == 1:
            self._calls.bind()
            loop.call_soon(self._send)
        return await future

    def _send(self) -> None:
        requests, self._requests = self._requests, []
        self._put_all(requests)
