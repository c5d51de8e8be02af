"""Sessions that go: those not used for long, then the longest unused until the rest fits; and files nobody names."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable
from typing import NamedTuple

from debugger.errors import SessionNotFound
from node.sessions.service import SessionService
from storage.index.sessions import SessionRow

DAY = 86_400
"""Seconds."""


class Policy(NamedTuple):
    """How long sessions are kept, and how many."""

    keep_days: float = 30.0
    """Days without a command; 0: for ever."""
    max_sessions: int = 1_000
    max_bytes: int = 2**30
    """Contents of all sessions, in the log or in files."""


def expired(rows: Iterable[SessionRow], policy: Policy, now: int) -> list[SessionRow]:
    """Sessions that go, the longest unused first. Pinned ones stay, and count.

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


async def expire(service: SessionService, policy: Policy) -> str:
    """Remove what the policy lets go, never a session in use. Any part of it may be done again, or not at all."""
    keeper, removed = service.keeper, 0
    for row in expired(keeper.everything().rows, policy, keeper.now()):
        if not service.is_used(row.id):
            with contextlib.suppress(SessionNotFound):  # closed meanwhile
                removed += await service.close_unused(row.id, row.used)
    swept, left = await service.on_thread(lambda: keeper.files.sweep(keeper.shelf.snapshots, keeper.now()))
    return f"{removed} sessions removed, {len(keeper.shelf)} left; {swept} files removed, {left} left"
