"""The stored form of a session: label, place, and a content that changes only when more than the position does."""

from __future__ import annotations

from time import thread_time
from typing import Any

import msgspec

from chain.crypto import create_address
from chain.hashing import keccak256
from chain.state import EMPTY_ACCOUNT
from debugger.errors import SessionFileMalformed
from debugger.persist import decode_record, encode_record, record_of, restore_slices
from debugger.session import Session
from debugger.slices import Slices
from node.sessions.base_state import BaseStates, Origin
from storage.errors import StateUnavailable
from storage.sessions.records import Kept, Label, SessionPosition

CONTENT_VERSION = 1
KEYFRAME_BYTES = 16 << 20
"""Most keyframes of one session in the node, which has many sessions."""


class Content(msgspec.Struct, array_like=True, frozen=True, forbid_unknown_fields=True):
    """The part that storage treats as opaque bytes."""

    version: int
    origin: Origin
    record: bytes
    """`debugger.persist.encode_record`. Position, branch and digest in it are replaced by the place's."""


def label_of(session: Session, created: int, pinned: bool = False) -> Label:
    """The fields by which the session can be found."""
    launch = session.launch
    transaction, contract, code = launch.transaction, launch.target, launch.code
    if transaction is not None:
        contract = transaction.to if transaction.to is not None else create_address(launch.caller, transaction.nonce)
        code = None if transaction.to is not None else transaction.data
    if code is None:
        code_hash = (session.base.account(contract) or EMPTY_ACCOUNT).code_hash
    else:
        code_hash = keccak256(code)
    return Label(
        session.name,
        session.tags,
        launch.environment.fork.name.lower(),
        code_hash,
        contract,
        b"" if transaction is None else transaction.hash,
        created,
        pinned,
    )


def place_of(session: Session, now: int, sharing: bytes = b"") -> SessionPosition:
    """The session's position."""
    halt = session.halt()
    reason = "" if halt is None else halt.reason
    return SessionPosition(session.step_index, session.branch, session.place_digest(), reason, now, sharing)


def traits(session: Session, origin: Origin) -> tuple[Any, ...]:
    """Everything in the content that can change: if it is equal to the stored one, storing the place is enough.

    What the run has read of its base state counts only for a state that the chain may forget.
    """
    reads = 0 if origin.block is None else session.base.reads
    return (
        session.program,
        session.name,
        session.tags,
        session.breakpoint_ids,
        tuple(session.breakpoints.items()),
        tuple(session.branches.items()),
        reads,
    )


def content_of(session: Session, origin: Origin) -> bytes:
    """The session's content."""
    return msgspec.msgpack.encode(Content(CONTENT_VERSION, origin, encode_record(record_of(session))))


def decode_content(data: bytes) -> Content:
    """Raises `SessionFileMalformed`."""
    try:
        content = msgspec.msgpack.decode(data, type=Content)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise SessionFileMalformed(str(error)[:300]) from None
    if content.version != CONTENT_VERSION:
        raise SessionFileMalformed(f"version {content.version} of a stored session")
    return content


def copied(kept: Kept, data: bytes, over: Kept | None, now: int, sharing: bytes) -> tuple[Kept, bytes]:
    """A copy of the session for another id, and its content, which has to be stored.

    It keeps name, tags, age and pin of the session it takes the place of, if there is one.
    """
    label = msgspec.structs.replace(kept.label, created=now, pinned=False)
    if over is not None:
        old = over.label
        label = msgspec.structs.replace(
            label, name=old.name, tags=old.tags, created=old.created, pinned=old.pinned
        )
    place = msgspec.structs.replace(kept.place, used=now, sharing=sharing)
    content = decode_content(data)
    record = msgspec.structs.replace(decode_record(content.record), name=label.name, tags=label.tags)
    content = msgspec.structs.replace(content, record=encode_record(record))
    return Kept(label, place, b""), msgspec.msgpack.encode(content)


def bring_back(data: bytes, place: SessionPosition, bases: BaseStates) -> Slices[tuple[Session, Origin]]:
    """Replay the session to a place, over its record's witness if the chain no longer has the base state.

    In slices: others may work after every ``yield``. Raises `SessionDiverged`, `SessionFileMalformed`.
    """
    content = decode_content(data)
    try:
        base, block_hash = bases.base(content.origin)
    except StateUnavailable:
        base, block_hash = None, None
    record = msgspec.structs.replace(
        decode_record(content.record), position=place.step, branch=place.branch, digest=place.digest
    )
    session = yield from restore_slices(record, bases.machine, base, block_hash, KEYFRAME_BYTES, thread_time)
    return session, content.origin
