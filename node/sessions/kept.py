"""A session as the log keeps it: its record, where it starts from, and the line that a list shows."""

from __future__ import annotations

from collections.abc import Generator

import msgspec

from debugger.errors import SessionFileMalformed, SessionLimitReached
from debugger.persist import decode_record, encode_record, record_of, restore_slices
from debugger.ports import SessionSummary
from debugger.session import Session
from node.sessions.origin import Ground, Origin
from node.sessions.shares import Sharing
from storage.errors import StateUnavailable

KEPT_VERSION = 1
UNSHARED = Sharing()
KEYFRAME_BYTES = 16 << 20
"""Keyframes of one session in the node: it has many."""


class Kept(msgspec.Struct, array_like=True, frozen=True, forbid_unknown_fields=True):
    """Content of a SESSION record of the log."""

    version: int
    origin: Origin
    summary: SessionSummary
    record: bytes
    """`debugger.persist.encode_record`."""
    sharing: Sharing = UNSHARED


def encode_kept(
    session_id: int, session: Session, origin: Origin, limit: int, sharing: Sharing = UNSHARED
) -> bytes:
    """The session as it is now. Raises `SessionLimitReached` beyond ``limit`` bytes."""
    halt = session.halt()
    summary = SessionSummary(
        session_id,
        session.name,
        session.tags,
        session.launch.environment.fork.name.lower(),
        session.step_index,
        None if halt is None else halt.reason,
    )
    kept = Kept(KEPT_VERSION, origin, summary, encode_record(record_of(session)), sharing)
    data = msgspec.msgpack.encode(kept)
    if len(data) > limit:
        raise SessionLimitReached(f"the session takes {len(data)} bytes to keep; {limit} are the most")
    return data


def copied(data: bytes, session_id: int, over: bytes | None) -> bytes:
    """The same session under another id; with the name and the tags of the record it takes the place of."""
    kept = decode_kept(data)
    replaced = None if over is None else decode_kept(over)
    label = kept.summary if replaced is None else replaced.summary
    sharing = UNSHARED if replaced is None else replaced.sharing
    summary = msgspec.structs.replace(kept.summary, id=session_id, name=label.name, tags=label.tags)
    record = msgspec.structs.replace(decode_record(kept.record), name=label.name, tags=label.tags)
    return msgspec.msgpack.encode(
        msgspec.structs.replace(kept, summary=summary, record=encode_record(record), sharing=sharing)
    )


def with_sharing(data: bytes, sharing: Sharing) -> bytes:
    """The same session, shared otherwise."""
    return msgspec.msgpack.encode(msgspec.structs.replace(decode_kept(data), sharing=sharing))


def decode_kept(data: bytes) -> Kept:
    """Raises `SessionFileMalformed`."""
    try:
        kept = msgspec.msgpack.decode(data, type=Kept)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise SessionFileMalformed(str(error)[:300]) from None
    if kept.version != KEPT_VERSION:
        raise SessionFileMalformed(f"version {kept.version} of a kept session")
    return kept


def bring_back(data: bytes, ground: Ground) -> Generator[None, None, tuple[Session, Origin]]:
    """The session replayed to its position; over its record's witness once the chain has forgotten the base state.

    In slices: others may work after every ``yield``. Raises `SessionDiverged`.
    """
    kept = decode_kept(data)
    try:
        base, block_hash = ground.base(kept.origin)
    except StateUnavailable:
        base, block_hash = None, None
    record = decode_record(kept.record)
    session = yield from restore_slices(record, ground.machine, base, block_hash, KEYFRAME_BYTES)
    session.is_running = False
    return session, kept.origin
