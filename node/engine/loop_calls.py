"""Calls from other threads into the event loop, with one wake-up for as many as come together."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Any


class LoopCalls:
    """Calls that wait for the loop. Waking it costs system calls and a change of threads, so `wake` does it for all."""

    def __init__(self) -> None:
        self._loop: asyncio.AbstractEventLoop | None = None
        self._calls: deque[tuple[Callable[..., object], tuple[Any, ...]]] = deque()

    def bind(self) -> None:
        """From now on calls are made on the running loop."""
        self._loop = asyncio.get_running_loop()

    def add(self, call: Callable[..., object], *arguments: Any) -> None:
        """Have the loop make this call after the next `wake`, in the order of `add`. Any thread."""
        self._calls.append((call, arguments))

    def wake(self) -> None:
        """Let the loop make the calls that wait. Any thread, once the loop is bound."""
        if self._calls and self._loop is not None:
            self._loop.call_soon_threadsafe(self._make)

    def _make(self) -> None:
        calls = self._calls
        try:
            while calls:
                call, arguments = calls.popleft()
                call(*arguments)
        finally:
            if calls:  # one of them failed
                self.wake()
