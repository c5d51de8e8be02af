"""Stores sessions, small ones and moves in the log, large ones in files that the log names; decides for how long."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable
from typing import NamedTuple, Protocol

import msgspec

from chain.errors import ZvmdError
from debugger.errors import SessionLimitReached, SessionNotFound
from storage.errors import StoragePanic
from storage.index.sessions import SessionRow
from storage.sessions.records import MAX_CONTENT, Kept, Label, SessionPosition, SnapshotFile
from storage.sessions.search import SessionSearch, row_of
from storage.sessions.shelf import SessionShelf

INLINE_BYTES = 2**20
"""Larger contents are files: the log and each checkpoint would contain them again and again."""
CONTENT_BYTES = 256 * 2**20
"""Largest content of one session, bytes."""

Keep = Callable[[int, Kept | SessionPosition | None], Awaitable[object]]
"""Returns once a session's change is durable and on the shelf."""


DAY = 86_400
"""Seconds."""


class Policy(NamedTuple):
    """How long sessions are kept, and how many."""

    keep_days: float = 30.0
    """Days without a command; 0: no limit."""
    max_sessions: int = 1_000
    max_bytes: int = 2**30
    """Bytes of all sessions' contents, in the log or in files."""


def expired(rows: Iterable[SessionRow], policy: Policy, now: int) -> list[SessionRow]:
    """Sessions to remove: those unused for too long, then the longest unused until the rest fits. Pinned ones stay,
    and count. ``now`` in Unix seconds.

    >>> expired([], Policy(), 0)
    []
    """
    by_age = sorted(rows, key=lambda row: (row.used, row.id))
    count, total = len(by_age), sum(row.bytes for row in by_age)
    gone = []
    for row in by_age:
        is_old = policy.keep_days > 0 and now - row.used > policy.keep_days * DAY
        if not row.pinned and (is_old or count > policy.max_sessions or total > policy.max_bytes):
            count, total = count - 1, total - row.bytes
            gone.append(row)
    return gone


class Files(Protocol):
    """Snapshot files, as `storage.sessions.files.SessionFiles`."""

    def write(self, session: int, content: bytes) -> SnapshotFile: ...

    def settled(self, session: int, snapshot: SnapshotFile) -> None: ...

    def refused(self, session: int, snapshot: SnapshotFile) -> None: ...

    def read(self, session: int, snapshot: SnapshotFile) -> bytes: ...

    def sweep(self, named: Callable[[], set[tuple[int, bytes]]], now: float) -> tuple[int, int]: ...


class SessionRepository:
    """The last stored state of each session, and how to store another. One call per session at a time.

    The shelf is storage's: the writer puts records there once they are durable. The repository owns the number of bytes
    in use and, through `Files`, the snapshot files.
    """

    def __init__(
        self,
        shelf: SessionShelf,
        keep: Keep,
        files: Files,
        search: SessionSearch,
        now: Callable[[], float],
        inline_bytes: int = INLINE_BYTES,
        on_panic: Callable[[BaseException], None] = lambda _: None,
    ) -> None:
        """``inline_bytes`` is the largest content that goes into a record; ``on_panic`` ends the process."""
        self.shelf = shelf
        self.files = files
        self.search = search
        self.inline_bytes = min(inline_bytes, MAX_CONTENT)
        self._keep = keep
        self._clock = now
        self._on_panic = on_panic
        self.bytes = sum(_inline(shelf.get(session)) for session in shelf)
        """Bytes of contents in memory and in the log."""

    def now(self) -> int:
        """Unix seconds."""
        return int(self._clock())

    def kept(self, session: int) -> Kept:
        """The last stored state of the session. Raises `SessionNotFound`."""
        kept = self.shelf.get(session)
        if kept is None:
            raise SessionNotFound(f"no session {session}")
        return kept

    def content(self, session: int, kept: Kept) -> bytes:
        """Its content. Not on the event loop: it may be a file. Raises `SnapshotLost` or `StorageUnreadable`."""
        if isinstance(kept.content, SnapshotFile):
            return self.files.read(session, kept.content)
        return kept.content

    def store(self, session: int, content: bytes) -> bytes | SnapshotFile:
        """Store a content; a large one is durable in its file afterwards. Not on the event loop.

        Raises `SessionLimitReached`, `StorageFull`.
        """
        if len(content) <= self.inline_bytes:
            return content
        if len(content) > CONTENT_BYTES:
            raise SessionLimitReached(f"the stored session takes {len(content)} bytes; the limit is {CONTENT_BYTES}")
        try:
            return self.files.write(session, content)
        except StoragePanic as error:
            self._on_panic(error)
            raise

    async def put(self, session: int, change: Kept | SessionPosition | None) -> None:
        """Log the session, its new position, or its closing; returns when that is durable."""
        before = _inline(self.shelf.get(session))
        file = change.content if isinstance(change, Kept) and isinstance(change.content, SnapshotFile) else None
        try:
            await self._keep(session, change)
        except ZvmdError:
            # Refused by the writer; a record that only waits for disk space is already on the shelf.
            if file is not None and (session, file.blake2b) not in self.shelf.snapshots():
                self.files.refused(session, file)
            raise
        finally:
            if file is not None:
                self.files.settled(session, file)
        self.bytes += _inline(self.shelf.get(session)) - before

    async def relabel(self, session: int, label: Label) -> None:
        """Change the session's label only."""
        await self.put(session, msgspec.structs.replace(self.kept(session), label=label))

    def rows(self) -> list[SessionRow]:
        """All sessions, the newest first."""
        entries = ((session, self.shelf.entry(session)) for session in reversed(list(self.shelf)))
        return [row_of(session, entry) for session, entry in entries if entry is not None]

    def sweep(self) -> tuple[int, int]:
        """Remove files that no session names; returns how many, and how many are left. Not on the event loop."""
        return self.files.sweep(self.shelf.snapshots, self.now())


def _inline(kept: Kept | None) -> int:
    return 0 if kept is None or isinstance(kept.content, SnapshotFile) else len(kept.content)
