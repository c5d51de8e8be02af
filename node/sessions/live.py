"""Who is at which session: what tokens allow, who holds the wheel, and the feeds of those who watch."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from msgspec.structs import replace

from debugger.errors import SessionLimitReached, SessionNotFound
from node.sessions.errors import OwnersOnly, WatchOnly
from node.sessions.feed import WATCHERS, Feed
from node.sessions.shares import (
    OWNER,
    Access,
    Right,
    Sharing,
    decode_sharing,
    entered,
    holder,
    holder_name,
    parse_token,
    wheel_taken,
)
from storage.sessions.shelf import SessionShelf

FEEDS = 64
"""Feeds kept of sessions nobody watches now."""

Ref = int | str
"""A session's number, for the owner, or a share token."""


class Live:
    """Sharing of all sessions as the shelf has it, and their feeds. Use it from one event loop."""

    def __init__(self, shelf: SessionShelf, clock: Callable[[], float] = time.time) -> None:
        self._shelf = shelf
        self._clock = clock
        self._sharings: dict[int, Sharing] = {}
        self._feeds: dict[int, Feed] = {}

    def now(self) -> float:
        """Unix time, seconds."""
        return self._clock()

    def sharing(self, session: int) -> Sharing:
        """As the session's record has it. Raises `SessionNotFound`."""
        kept = self._shelf.get(session)
        if kept is None:
            raise SessionNotFound(f"no session {session}")
        found = self._sharings.get(session)
        if found is None:
            found = self._sharings[session] = decode_sharing(kept.place.sharing)
        return found

    def kept(self, session: int, sharing: Sharing | None) -> None:
        """The session's record, with this sharing, is durable; None: the session is closed."""
        if sharing is not None:
            self._sharings[session] = sharing
            return
        self._sharings.pop(session, None)
        feed = self._feeds.pop(session, None)
        if feed is not None:
            feed.wake()

    # What references allow

    def enter(self, ref: Ref) -> Access:
        """What a number or token allows. Raises `SessionNotFound`, `InvalidShare`, `ShareExpired`."""
        if isinstance(ref, int):
            self.sharing(ref)
            return Access(ref, OWNER, True)
        session, share, secret = parse_token(ref)
        return entered(self.sharing(session), session, share, secret, self.now())

    def driver(self, ref: Ref) -> Access:
        """`enter` for who wants to move or change it. Raises also `WatchOnly`."""
        access = self.enter(ref)
        if not access.may_drive:
            raise WatchOnly(f"share {access.share} of session {access.session} is to watch with")
        return access

    def check(self, ref: Ref, right: Right) -> None:
        """Raise what `enter` and `driver` raise, or `OwnersOnly`, unless the reference has the right.

        The owner's numbers have every right, of sessions that do not exist too: the method says what is missing.
        """
        if isinstance(ref, int):
            return
        if right is Right.OWN:
            raise OwnersOnly("a share token is not enough for this")
        (self.driver if right is Right.DRIVE else self.enter)(ref)

    def changed(self, access: Access) -> Sharing:
        """The sharing after one more change by who has the access, who takes the wheel if it is free.

        Raises `NotDriving`.
        """
        sharing = wheel_taken(self.sharing(access.session), access.share, self.now())
        return replace(sharing, changes=sharing.changes + 1)

    # Feeds

    def seconds_left(self, access: Access) -> float | None:
        """Until the access ends; None for the owner's."""
        expiry = next((s.expires for s in self.sharing(access.session).shares if s.id == access.share), None)
        return None if expiry is None else max(0.0, expiry - self.now())

    def join(self, session: int) -> Feed:
        """The session's feed, with one watcher more. Raises `SessionLimitReached`."""
        feed = self._feeds.pop(session, None) or Feed(self.sharing(session).changes)
        self._feeds[session] = feed
        if feed.watchers >= WATCHERS:
            raise SessionLimitReached(f"at most {WATCHERS} watch a session at once")
        feed.watchers += 1
        idle = [number for number, other in self._feeds.items() if not other.watchers]
        for number in idle[: max(0, len(idle) - FEEDS)]:
            del self._feeds[number]
        return feed

    def is_watched(self, session: int) -> bool:
        """Whether events are of use."""
        return session in self._feeds

    def watchers(self, session: int) -> int:
        """How many watch it now."""
        feed = self._feeds.get(session)
        return 0 if feed is None else feed.watchers

    def publish(self, session: int, sharing: Sharing, command: str, event: dict[str, Any]) -> None:
        """Tell the watchers of a change that is durable."""
        self.kept(session, sharing)
        feed = self._feeds.get(session)
        if feed is not None:
            feed.publish({**self.heading(session, command), **event})

    def wake(self, session: int) -> None:
        """Have those who watch look whether they still may."""
        if session in self._feeds:
            self._feeds[session].wake()

    def heading(self, session: int, command: str) -> dict[str, Any]:
        """What every event begins with."""
        sharing = self.sharing(session)
        driver = holder_name(sharing, holder(sharing, self.now()))
        return {"cursor": sharing.changes, "session": session, "command": command, "driver": driver}
