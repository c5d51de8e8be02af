"""Debug sessions in the index: their rows, and the ids that a search finds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from sqlalchemy import ColumnElement, Connection, delete, insert, select

from storage.errors import IndexDamaged
from storage.index.models import session_tags, session_watermark, sessions

SESSIONS_MAX = 100_000
"""Ids one query returns at most."""
AT_ONCE = 500
"""Ids in one statement; SQLite takes 32,766 variables."""


@dataclass(frozen=True, slots=True)
class SessionRow:
    """The fields by which a session is found; empty bytes or text for a missing value."""

    id: int
    name: str
    tags: tuple[str, ...]
    fork: str
    code_hash: bytes
    contract: bytes
    transaction: bytes
    halt: str
    created: int
    used: int
    steps: int
    bytes: int
    pinned: bool


@dataclass(frozen=True, slots=True)
class SessionFilter:
    """Which sessions; None: any. Numbers include both ends."""

    name: str | None = None
    """A substring of the name, ignoring case."""
    tag: str | None = None
    fork: str | None = None
    code_hash: bytes | None = None
    contract: bytes | None = None
    transaction: bytes | None = None
    halt: str | None = None
    """Empty: those that have not halted."""
    pinned: bool | None = None
    created: tuple[int | None, int | None] = (None, None)
    used: tuple[int | None, int | None] = (None, None)
    steps: tuple[int | None, int | None] = (None, None)
    bytes: tuple[int | None, int | None] = (None, None)

    def matches(self, row: SessionRow) -> bool:
        """The same decision as the database's, on a row in memory."""
        if self.name is not None and self.name.casefold() not in row.name.casefold():
            return False
        if self.tag is not None and self.tag not in row.tags:
            return False
        same = all(getattr(self, field) in (None, getattr(row, field)) for field in EQUAL)
        return same and all(_is_within(getattr(row, field), getattr(self, field)) for field in RANGES)


EQUAL = ("fork", "code_hash", "contract", "transaction", "halt", "pinned")
RANGES = ("created", "used", "steps", "bytes")


def _is_within(value: int, ends: tuple[int | None, int | None]) -> bool:
    low, high = ends
    return (low is None or value >= low) and (high is None or value <= high)


def write_rows(
    connection: Connection, rows: Sequence[SessionRow], gone: Sequence[int], lsn: int, *, all_: bool
) -> None:
    """Replace the rows of sessions and delete those gone; ``all_``: there are no others than these."""
    if all_:
        connection.execute(delete(session_tags))
        connection.execute(delete(sessions))
    else:
        replaced = [*gone, *(row.id for row in rows)]
        for start in range(0, len(replaced), AT_ONCE):
            ids = replaced[start : start + AT_ONCE]
            connection.execute(delete(session_tags).where(session_tags.c.session.in_(ids)))
            connection.execute(delete(sessions).where(sessions.c.id.in_(ids)))
    if rows:
        connection.execute(insert(sessions), [_values(row) for row in rows])
    tags = [{"tag": tag, "session": row.id} for row in rows for tag in sorted(set(row.tags))]
    if tags:
        connection.execute(insert(session_tags), tags)
    connection.execute(delete(session_watermark))
    connection.execute(insert(session_watermark), {"id": 1, "lsn": lsn})


def _values(row: SessionRow) -> dict[str, Any]:
    values = asdict(row)
    del values["tags"]
    for field in ("code_hash", "contract", "transaction", "halt"):
        values[field] = values[field] or None
    return {**values, "name": row.name.casefold(), "pinned": int(row.pinned)}


def read_lsn(connection: Connection) -> int:
    """The log record up to which sessions were indexed."""
    found = connection.execute(select(session_watermark.c.lsn)).scalar()
    if found is not None and not isinstance(found, int):
        raise IndexDamaged(f"index: {found!r} where a number should be"[:200])
    return found or 0


def find(connection: Connection, wanted: SessionFilter, limit: int, before: int | None = None) -> list[int]:
    """Ids of matching sessions below ``before``, the newest first."""
    query = select(sessions.c.id).where(*_conditions(wanted, before)).order_by(sessions.c.id.desc())
    found = list(connection.execute(query.limit(min(limit, SESSIONS_MAX))).scalars())
    if not all(isinstance(session, int) for session in found):
        raise IndexDamaged("index: a session's id is not a number")
    return found


def _conditions(wanted: SessionFilter, before: int | None) -> list[ColumnElement[bool]]:
    conditions: list[ColumnElement[bool]] = []
    if before is not None:
        conditions.append(sessions.c.id < before)
    if wanted.name:
        conditions.append(sessions.c.name.contains(wanted.name.casefold(), autoescape=True))
    if wanted.tag is not None:
        conditions.append(sessions.c.id.in_(select(session_tags.c.session).where(session_tags.c.tag == wanted.tag)))
    for field in EQUAL:
        value = getattr(wanted, field)
        column = sessions.c[field]
        if value is not None:
            value = int(value) if isinstance(value, bool) else value
            conditions.append(column.is_(None) if value in ("", b"") else column == value)
    for field in RANGES:
        low, high = getattr(wanted, field)
        if low is not None:
            conditions.append(sessions.c[field] >= low)
        if high is not None:
            conditions.append(sessions.c[field] <= high)
    return conditions
