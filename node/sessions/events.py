"""Live events of sessions: the newest of each session are buffered for its watchers, which read at their own pace."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, Awaitable, Callable
from typing import Any

import msgspec

from debugger.errors import SessionLimitReached
from debugger.session import Session
from node.sessions.errors import SlowWatcher
from node.sessions.rights import SessionRef
from node.sessions.sharing import SessionAccess, Sharing, Sharings, holder, holder_name
from node.sessions.summary import Json, summary

EVENTS = 256
"""Most events kept of a session."""
EVENTS_BYTES = 1 << 20
"""Most bytes of these events as JSON."""
WATCHERS = 64
"""Of one session."""
FEEDS = 64
"""Most feeds kept of sessions without watchers."""


class Feed:
    """Owns one session's newest events. A watcher is a cursor into them. Use it from one event loop."""

    def __init__(self, cursor: int) -> None:
        """``cursor``: that of the previous event."""
        self.cursor = cursor
        self.watchers = 0
        self._events: deque[tuple[Json, int]] = deque()
        self._bytes = 0
        self._news = asyncio.Event()

    @property
    def oldest(self) -> int:
        """Cursor after which every event is kept."""
        return self.cursor - len(self._events)

    def publish(self, event: Json) -> None:
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
        """Wake all watchers, so that they check their access."""
        self._news.set()
        self._news = asyncio.Event()

    def join(self) -> None:
        """Add a watcher. Raises `SessionLimitReached`."""
        if self.watchers >= WATCHERS:
            raise SessionLimitReached(f"at most {WATCHERS} watch a session at once")
        self.watchers += 1

    def leave(self) -> None:
        """Remove a watcher."""
        self.watchers -= 1

    def after(self, cursor: int) -> list[Json]:
        """Events after a cursor. Raises `SlowWatcher` if some of them are no longer kept."""
        if cursor < self.oldest:
            raise SlowWatcher(f"{self.oldest - cursor} events behind cursor {cursor} were dropped")
        missing = self.cursor - cursor
        return [event for event, _ in list(self._events)[len(self._events) - missing :]] if missing > 0 else []

    async def news(self, timeout_seconds: float | None) -> None:
        """Return on a new event, or when the time is over."""
        try:
            async with asyncio.timeout(timeout_seconds):
                await self._news.wait()
        except TimeoutError:
            return


class Feeds:
    """Owns the feeds of all sessions that are or recently were watched. Use it from one event loop."""

    def __init__(self, sharings: Sharings) -> None:
        self._sharings = sharings
        self._feeds: dict[int, Feed] = {}
        """The one joined last comes last."""

    def join(self, session: int) -> Feed:
        """The session's feed, with one watcher more. Raises `SessionNotFound`, `SessionLimitReached`."""
        feed = self._feeds.pop(session, None) or Feed(self._sharings.of(session).changes)
        self._feeds[session] = feed
        feed.join()
        idle = [number for number, other in self._feeds.items() if not other.watchers]
        for number in idle[: max(0, len(idle) - FEEDS)]:
            del self._feeds[number]
        return feed

    def has(self, session: int) -> bool:
        """Whether events of the session are needed."""
        return session in self._feeds

    def watchers(self, session: int) -> int:
        """Number of watchers."""
        feed = self._feeds.get(session)
        return 0 if feed is None else feed.watchers

    def publish(self, session: int, command: str, event: Json) -> None:
        """Give the watchers a change whose record, with its sharing, is durable."""
        feed = self._feeds.get(session)
        if feed is not None:
            feed.publish({**self.heading(session, command), **event})

    def wake(self, session: int) -> None:
        """Wake the watchers, so that they check whether they still have access."""
        if session in self._feeds:
            self._feeds[session].wake()

    def end(self, session: int) -> None:
        """The session is closed."""
        feed = self._feeds.pop(session, None)
        if feed is not None:
            feed.wake()

    def heading(self, session: int, command: str) -> Json:
        """The fields that every event begins with."""
        sharing: Sharing = self._sharings.of(session)
        driver = holder_name(sharing, holder(sharing, self._sharings.now()))
        return {"cursor": sharing.changes, "session": session, "command": command, "driver": driver}

    async def watch(
        self, read: Callable[..., Awaitable[Any]], ref: SessionRef, access: SessionAccess, cursor: int | None
    ) -> AsyncGenerator[list[Json], None]:
        """Events after the cursor; first the current position if there is no cursor, or if some after it are not kept.

        ``read`` is `SessionService.read`. Raises like `Sharings.enter` when the access ends, and `SlowWatcher`.
        """
        session = access.session
        feed = self.join(session)

        def look(found: Session) -> Json:
            return {**self.heading(session, "watch"), "position": summary(found, [])}

        try:
            if cursor is None or not feed.oldest <= cursor <= feed.cursor:
                event: Json = await read(look, session)
                if cursor is not None:
                    event["missed"] = max(0, event["cursor"] - cursor)
                cursor = event["cursor"]
                yield [event]
            while True:
                self._sharings.enter(ref)
                events = feed.after(cursor)
                if events:
                    cursor = events[-1]["cursor"]
                    yield events
                else:
                    await feed.news(self._sharings.seconds_left(access))
        finally:
            feed.leave()
