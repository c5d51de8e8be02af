"""Debug sessions in the index: their rows, and the ids that a search finds."""

from __future__ import annotations

from dataclasses import dataclass
from sqlite3 import Connection
from typing import Any

from storage.errors import IndexDamaged

SESSIONS_MAX = 100_000
"""Ids one query returns at most."""


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


def read_lsn(connection: Connection) -> int:
    """The log record up to which sessions were indexed."""
    found = connection.execute("SELECT lsn FROM session_watermark").fetchone()
    if found is not None and not isinstance(found[0], int):
        raise IndexDamaged(f"index: {found[0]!r} where a number should be"[:200])
    return found[0] if found is not None else 0


def find(connection: Connection, wanted: SessionFilter, limit: int, before: int | None = None) -> list[int]:
    """Ids of matching sessions below ``before``, the newest first."""
    conditions, values = _conditions(wanted, before)
    where = f" WHERE {' AND '.join(conditions)}" if conditions else ""
    query = f"SELECT id FROM sessions{where} ORDER BY id DESC LIMIT :limit"  # noqa: S608
    found = [row[0] for row in connection.execute(query, {**values, "limit": min(limit, SESSIONS_MAX)})]
    if not all(isinstance(session, int) for session in found):
        raise IndexDamaged("index: a session's id is not a number")
    return found


def _conditions(wanted: SessionFilter, before: int | None) -> tuple[list[str], dict[str, Any]]:
    """What a row must fulfil, and the values in it."""
    conditions: list[str] = []
    values: dict[str, Any] = {}

    def require(condition: str, name: str, value: Any) -> None:
        conditions.append(condition)
        values[name] = value

    if before is not None:
        require("id < :before", "before", before)
    if wanted.name:
        require("instr(name, :name) > 0", "name", wanted.name.casefold())
    if wanted.tag is not None:
        require("id IN (SELECT session FROM session_tags WHERE tag = :tag)", "tag", wanted.tag)
    for field in EQUAL:
        value = getattr(wanted, field)
        if value in ("", b""):
            conditions.append(f'"{field}" IS NULL')
        elif value is not None:
            require(f'"{field}" = :{field}', field, value)
    for field in RANGES:
        for end, comparison in zip(getattr(wanted, field), (">=", "<="), strict=True):
            if end is not None:
                name = f"{field}{len(values)}"
                require(f'"{field}" {comparison} :{name}', name, end)
    return conditions, values
