"""Finds debug sessions: the index proposes, those it has not reached yet are looked at too, the shelf decides."""

from __future__ import annotations

from typing import NamedTuple

from storage.errors import IndexDamaged, IndexLocked
from storage.index.follower import IndexFollower
from storage.index.index import Index
from storage.index.sessions import SESSIONS_MAX, SessionFilter, SessionRow
from storage.sessions.shelf import Entry, SessionShelf


class Found(NamedTuple):
    """A page of a search."""

    rows: list[SessionRow]
    """The newest session first."""
    more: bool
    """There are further ones below the last id."""


def row_of(session: int, entry: Entry) -> SessionRow:
    """What the index says of a session."""
    label, place = entry.kept.label, entry.kept.place
    return SessionRow(
        session, label.name, label.tags, label.fork, label.code_hash, label.contract, label.transaction, place.halt,
        label.created, place.used, place.step, entry.bytes, label.pinned,
    )  # fmt: skip


class SessionSearch:
    """Feeds sessions to the index behind the log, and answers for those in between."""

    def __init__(self, follower: IndexFollower, shelf: SessionShelf) -> None:
        self._follower = follower
        self._shelf = shelf
        self._filled: int | None = None
        """Incarnation of the index that was filled; after another one, all rows are written again."""

    def is_due(self, durable_lsn: int) -> bool:
        """Whether sessions have changed since they were indexed, or the index is a new one."""
        is_new = self._filled != self._follower.index.incarnation
        return bool(self._shelf.unindexed(durable_lsn)) or (is_new and len(self._shelf) > 0)

    def catch_up(self, durable_lsn: int) -> int:
        """Index what has changed and is durable; returns how many sessions. A damaged index is built again."""
        if not self.is_due(durable_lsn):
            return 0
        return self._follower.write_with(lambda index: self._write(index, durable_lsn))

    def _write(self, index: Index, durable_lsn: int) -> int:
        is_new = index.incarnation != self._filled
        if is_new:
            self._filled = None
        changes = self._shelf.unindexed(durable_lsn)
        chosen = {*changes, *self._shelf} if is_new else set(changes)
        entries = [(session, self._shelf.entry(session)) for session in sorted(chosen)]
        # What the log may still lose is not written down: those sessions stay among the unindexed ones.
        rows = [row_of(session, entry) for session, entry in entries if entry is not None and entry.lsn <= durable_lsn]
        gone = [session for session, entry in entries if entry is None]
        index.write_sessions(rows, gone, durable_lsn, all_=is_new)
        self._shelf.indexed(changes)
        self._filled = index.incarnation
        return len(entries)

    def find(self, wanted: SessionFilter, limit: int, before: int | None = None) -> Found:
        """Matching sessions with ids below ``before``, the newest first. Any thread; never behind the log."""
        proposed: set[int] | None = None
        waiting = set(self._shelf.unindexed())
        index = self._follower.index
        room = limit + 1 + len(waiting)
        if self._filled == index.incarnation and room <= SESSIONS_MAX:
            try:
                proposed = {*index.sessions(wanted, room, before), *waiting}
            except (IndexDamaged, IndexLocked):  # the next turn of the index job notices, and builds it again or waits
                proposed = None
        rows: list[SessionRow] = []
        for session in sorted(self._shelf if proposed is None else proposed, reverse=True):
            entry = self._shelf.entry(session)
            if entry is None or (before is not None and session >= before):
                continue
            row = row_of(session, entry)
            if wanted.matches(row):
                rows.append(row)
        return Found(rows[:limit], len(rows) > limit)
