"""A thread for the handshakes of QUIC connections: a step of one takes milliseconds, most of them for signing."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from typing import Any


class Handshakes:
    """Takes the steps of all handshakes one after the other, in the order in which they came.

    Who comes in is limited by `node.wire.server`, and a connection has one step under way, so the queue is bounded.
    """

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._thread = ThreadPoolExecutor(1, "quic-handshake")

    def take(self, step: Callable[[], Any], done: Callable[[Future[Any]], None]) -> None:
        """Call ``step`` on the thread, then ``done`` on the event loop with the future that has what became of it.

        Not after `close`.
        """
        self._thread.submit(step).add_done_callback(lambda future: self._hand_back(future, done))

    def close(self) -> None:
        """Take no more steps. Those that wait are cancelled, and their ``done`` is called with the cancelled future."""
        self._thread.shutdown(wait=False, cancel_futures=True)

    def _hand_back(self, future: Future[Any], done: Callable[[Future[Any]], None]) -> None:
        with suppress(RuntimeError):  # the loop is closed: nobody waits any more
            self._loop.call_soon_threadsafe(done, future)
