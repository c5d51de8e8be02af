"""Messages between the daemon and its index process: MessagePack, framed by `node.ops.worker`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from storage.index.rows import BlockRows, IndexWatermark


class Prepare(msgspec.Struct, array_like=True, tag=True, frozen=True):
    """Create the database or migrate its schema."""


class Write(msgspec.Struct, array_like=True, tag=True, frozen=True):
    """Index consecutive blocks; ``lsn`` goes into the watermark."""

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
    """The request was committed; with the new watermark after a `Write`."""

    mark: IndexWatermark | None = None


class IndexingFailed(msgspec.Struct, array_like=True, tag=True, frozen=True):
    """The request failed: slug and text of a `StorageError`; the slug is empty for any other exception."""

    code: str
    message: str


Request = Prepare | Write | WriteSessions
Answer = Done | IndexingFailed

encode = msgspec.msgpack.Encoder().encode
decode_request = msgspec.msgpack.Decoder(Request).decode
decode_answer = msgspec.msgpack.Decoder(Answer).decode
