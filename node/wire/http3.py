"""What `node.http3` uses of a QUIC library's HTTP/3.

The library does frames, QPACK and the connection's own streams (RFC 9114, RFC 9204); what a request means is decided
alike for all libraries.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple, Protocol

Fields = list[tuple[bytes, bytes]]

NO_ERROR, INTERNAL_ERROR, FRAME_UNEXPECTED, EXCESSIVE_LOAD = 0x100, 0x102, 0x105, 0x107
REQUEST_REJECTED, REQUEST_CANCELLED, REQUEST_INCOMPLETE, MESSAGE_ERROR = 0x10B, 0x10C, 0x10D, 0x10E
"""Error codes of RFC 9114, 8.1."""


class Http3Fault(Exception):
    """The peer broke a rule of HTTP/3 that ends the connection."""

    def __init__(self, code: int, reason: str) -> None:
        super().__init__(reason)
        self.code = code


class LibraryHttp3(Protocol):
    """HTTP/3 on a server's connection whose handshake is finished."""

    def take(self, event: Any) -> list[Any]:
        """What an event of the QUIC library means: events of the types in `Http3Library`, and others to be ignored.

        Raises `Http3Fault`.
        """

    def send_head(self, stream_id: int, fields: Fields, ends: bool) -> None:
        """Queue the head of an answer, or of an interim one. Raises `StreamGone`."""

    def send_body(self, stream_id: int, data: Any, ends: bool) -> None:
        """Queue a part of its body. Raises `StreamGone`."""

    def abandon(self, stream_id: int, code: int) -> None:
        """Send nothing more on a stream, say why, and `forget` it."""

    def forget(self, stream_id: int) -> None:
        """Keep nothing of a stream, whose events are not given to `take` any more."""

    def go_away(self, stream_id: int) -> None:
        """Announce that requests on this stream and those after it are not taken (RFC 9114, 5.2)."""


class Http3Library(NamedTuple):
    """The HTTP/3 of a QUIC library."""

    connection: Callable[[Any, int], LibraryHttp3]
    """Makes the HTTP/3 of a connection, which announces that a field section has at most so many bytes."""
    headers_received: type
    """``stream_id``, and ``headers``, an object with ``fields``: as they were sent, good or not"""
    data_received: type
    """``stream_id``, ``data``"""
