"""Live events of one session: the newest are kept for whoever follows, however many, each at its own pace."""

from __future__ import annotations

import asyncio
from collections import deque
from typing import Any

import msgspec

from node.sessions.errors import SlowWatcher

EVENTS = 256
"""Events kept of a session."""
EVENTS_BYTES = 1 << 20
"""Their size as JSON."""
WATCHERS = 64
"""Of one session."""


class Feed:
    """A watcher is a cursor into what is kept; one that has fallen behind it is told so. Use it from one event loop."""

    def __init__(self, cursor: int) -> None:
        """``cursor`` of the last event before."""
        self.cursor = cursor
        self.watchers = 0
        self._events: deque[tuple[dict[str, Any], int]] = deque()
        self._bytes = 0
        self._news = asyncio.Event()

    @property
    def oldest(self) -> int:
        """Cursor behind which every event is kept."""
        return self.cursor - len(self._events)

    def publish(self, event: dict[str, Any]) -> None:
        """Add the event that follows the last one; its cursor is one higher."""
        assert event["cursor"] == self.cursor + 1
        size = len(msgspec.json.encode(event))
        self._events.append((event, size))
        self._bytes += size
        self.cursor += 1
        while len(self._events) > EVENTS or self._bytes > EVENTS_BYTES:
            self._bytes -= self._events.popleft()[1]
        self.wake()

    def wake(self) -> None:
        """Have all watchers look whether they may go on."""
        self._news.set()
        self._news = asyncio.Event()

    def after(self, cursor: int) -> list[dict[str, Any]]:
        """Events behind a cursor. Raises `SlowWatcher` if some of them are no longer kept."""
        if cursor < self.oldest:
            raise SlowWatcher(f"{self.oldest - cursor} events behind cursor {cursor} were dropped")
        missing = self.cursor - cursor
        return [event for event, _ in list(self._events)[len(self._events) - missing :]] if missing > 0 else []

    async def news(self, timeout_seconds: float | None) -> None:
        """Return when there is something new, or when the time is over."""
        try:
            async with asyncio.timeout(timeout_seconds):
                await self._news.wait()
        except TimeoutError:
            return
