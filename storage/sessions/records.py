"""Records of debug sessions: a whole session, its new position, its closing; and users' templates.

| type | payload, MessagePack |
|---|---|
| SESSION | array of the session's id and nil (closed), or an array of label, place, content |
| SESSION_SNAPSHOT | the same; the content is an array of the BLAKE2b-256 and the size of its file |
| SESSION_MOVE | array of the session's id and its place |
| TEMPLATE | array of a name and, as binary, its content or nil (removed) |

Content is opaque to storage. It changes seldom; a move is some 60 bytes.
"""

from __future__ import annotations

from typing import TypeVar

import msgspec

from chain.types import UINT64_MAX
from storage.errors import InvalidRecord
from storage.wal.records import UNDECODABLE, RecordType

MAX_CONTENT = 7 * 2**20
"""Bytes of a session's content in a record; larger ones are snapshot files."""
MAX_TEMPLATE = 2**20
"""Bytes of a template."""
MAX_TEMPLATE_NAME = 200
"""Characters."""
DIGEST_BYTES = 32
SESSION_TYPES = frozenset((RecordType.SESSION, RecordType.SESSION_SNAPSHOT, RecordType.SESSION_MOVE))


class Label(msgspec.Struct, array_like=True, frozen=True, forbid_unknown_fields=True):
    """The fields by which a session is found."""

    name: str
    tags: tuple[str, ...]
    fork: str
    code_hash: bytes
    """Keccak-256 of the code that runs first; empty if there is none."""
    contract: bytes
    """Address that is called; empty for a creation."""
    transaction: bytes
    """Hash of the transaction that is debugged; empty if it is none."""
    created: int
    """Unix seconds."""
    pinned: bool = False
    """Never removed for its age or to make room."""


class SessionPosition(msgspec.Struct, array_like=True, frozen=True, forbid_unknown_fields=True):
    """A session's position."""

    step: int
    branch: int
    digest: bytes
    """Digest of the whole state there."""
    halt: str
    """Why the run has ended there; empty if it has not."""
    used: int
    """Unix seconds of the last command."""
    sharing: bytes = b""
    """How the node shares the session: opaque, small, and changed by every command."""


class SnapshotFile(msgspec.Struct, array_like=True, frozen=True, forbid_unknown_fields=True):
    """A file that holds a session's content."""

    blake2b: bytes
    size: int


class Kept(msgspec.Struct, array_like=True, frozen=True, forbid_unknown_fields=True):
    """A debug session in its stored form."""

    label: Label
    place: SessionPosition
    content: bytes | SnapshotFile


_Payload = TypeVar("_Payload")


def session_record(session: int, change: Kept | SessionPosition | None) -> tuple[RecordType, bytes]:
    """Type and payload of the record that says this of a session.

    >>> kind, payload = session_record(3, SessionPosition(2, 0, bytes(32), "", 1700000000))
    >>> kind.name, len(payload), decode_session(kind, payload)[0]
    ('SESSION_MOVE', 47, 3)
    """
    _require(0 < session <= UINT64_MAX, "a session id from 1 to 2**64 - 1")
    kind = RecordType.SESSION
    if isinstance(change, SessionPosition):
        kind = RecordType.SESSION_MOVE
    elif change is not None and isinstance(change.content, SnapshotFile):
        kind = RecordType.SESSION_SNAPSHOT
        _require(len(change.content.blake2b) == DIGEST_BYTES and change.content.size >= 0, "a digest and a size")
    elif change is not None:
        assert isinstance(change.content, bytes)
        _require(len(change.content) <= MAX_CONTENT, f"a session's content of at most {MAX_CONTENT} bytes")
    return kind, _encode([session, change])


def decode_session(kind: int, payload: bytes) -> tuple[int, Kept | SessionPosition | None]:
    """Id, and what a record says of that session. Raises `InvalidRecord`."""
    if kind == RecordType.SESSION_MOVE:
        session, change = _decoded(payload, tuple[int, SessionPosition], "a session's move")
        found: tuple[int, Kept | SessionPosition | None] = (session, change)
    else:
        found = _decoded(payload, tuple[int, Kept | None], "a session")
    _require(session_record(*found) == (kind, payload), "a session's encoding")
    return found


def encode_template(name: str, content: bytes | None) -> bytes:
    """Payload of a TEMPLATE record; None removes the template."""
    _require(0 < len(name) <= MAX_TEMPLATE_NAME, f"a template's name of at most {MAX_TEMPLATE_NAME} characters")
    _require(content is None or len(content) <= MAX_TEMPLATE, f"a template of at most {MAX_TEMPLATE} bytes")
    return _encode([name, content])


def decode_template(payload: bytes) -> tuple[str, bytes | None]:
    """Name and content of a TEMPLATE record. Raises `InvalidRecord`."""
    name, content = _decoded(payload, tuple[str, bytes | None], "a template")
    _require(encode_template(name, content) == payload, "a template's encoding")
    return name, content


def _decoded(payload: bytes, kind: type[_Payload], what: str) -> _Payload:
    try:
        return msgspec.msgpack.decode(payload, type=kind)
    except UNDECODABLE as error:
        raise InvalidRecord(f"not {what}: {error}") from None


def _encode(fields: list[object]) -> bytes:
    try:
        return msgspec.msgpack.encode(fields)
    except (OverflowError, UnicodeEncodeError) as error:  # an integer beyond 64 bits, a lone surrogate
        raise InvalidRecord(f"cannot be encoded: {error}") from None


def _require(condition: bool, what: str) -> None:
    if not condition:
        raise InvalidRecord(f"expected {what}")
