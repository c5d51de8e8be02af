"""How the daemon and its index process talk: a request and its answer as MessagePack, sent by `node.ops.worker`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from storage.index.rows import BlockRows, IndexWatermark


class Prepare(msgspec.Struct, array_like=True, tag=True, frozen=True):
    """Make the database, or migrate it."""


class Write(msgspec.Struct, array_like=True, tag=True, frozen=True):
    """Index consecutive blocks, up to this record of the log."""

    blocks: Sequence[BlockRows]
    lsn: int


class WriteSessions(msgspec.Struct, array_like=True, tag=True, frozen=True):
    """Index debug sessions, as `storage.index.rows.RowWriter.write_sessions`."""

    rows: Sequence[dict[str, Any]]
    """Fields of `storage.index.sessions.SessionRow`."""
    gone: Sequence[int]
    lsn: int
    all_: bool


class Done(msgspec.Struct, array_like=True, tag=True, frozen=True):
    """It is committed; the watermark after `Write`."""

    mark: IndexWatermark | None = None


class Refused(msgspec.Struct, array_like=True, tag=True, frozen=True):
    """It is not: the slug of a `StorageError`, empty for a fault of the process itself, and what it says."""

    code: str
    message: str


Request = Prepare | Write | WriteSessions
Answer = Done | Refused

encode = msgspec.msgpack.Encoder().encode
decode_request = msgspec.msgpack.Decoder(Request).decode
decode_answer = msgspec.msgpack.Decoder(Answer).decode
