"""The bounds that the `H3Connection` of both libraries lack.

The compression state of both directions is empty, so no stream waits for another and no client makes the node keep a
table. What was received and cannot be understood yet is limited, and so is the number of frames that say nothing. What
a request says is not looked at here.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from node.wire.http3 import EXCESSIVE_LOAD, Fields, Http3Fault
from node.wire.library import StreamGone

HTTP2_FRAMES = frozenset((0x02, 0x06, 0x08, 0x09))
"""Frame types of HTTP/2 that are errors in HTTP/3 (RFC 9114, 7.2.8)."""
CANCEL_PUSH, GOAWAY = 0x03, 0x07
GOOD_FIELDS = ((b":method", b"GET"), (b":authority", b"-"))
LARGE_SECTION_BYTES = 40 * 1024
"""ls-qpack, which both libraries use, decodes no field for which it would reserve more than 64 KiB, and it reserves
half as much again as is encoded. So a section above this that cannot be decoded may be a good one that is too large
(RFC 9114, 4.2.2). No state is shared with other sections, so these are not harmed."""
UNFINISHED_STREAMS = 8
"""So many streams of a connection may each have begun a frame of the largest size, or more of them smaller ones."""
FRAMES_SPARE = 1_000
"""Frames beyond those that requests need, of a connection at one time."""
FRAMES_OF_A_REQUEST = 10
BYTES_OF_A_FRAME = 64
"""A body in smaller frames than this on average uses up the spare ones."""


class StaticEncoder:
    """A QPACK encoder that uses only the static table, whatever the peer allows (RFC 9204, 2.1.3)."""

    def __init__(self, encoder: Any) -> None:
        self.encode = encoder.encode
        self.feed_decoder = encoder.feed_decoder

    def apply_settings(self, **_: int) -> bytes:
        """Keep no dynamic table."""
        return b""


class Unjudged(list[tuple[bytes, bytes]]):
    """Fields that the library takes for good ones: it ends the connection for what ends a request (RFC 9114, 4.1.2).

    It iterates over them; ``fields`` are those that were sent.
    """

    def __init__(self, fields: Fields, is_head: bool) -> None:
        super().__init__(GOOD_FIELDS if is_head else ())
        self.fields = fields


class BoundedHttp3:
    """What is common to the subclasses of the libraries' `H3Connection`, which has the underscored names."""

    _stream: dict[int, Any]
    _quic: Any
    _is_done: bool
    _local_control_stream_id: int | None
    handle_event: Callable[[Any], list[Any]]
    send_headers: Callable[..., None]
    send_data: Callable[..., None]
    protocol_error: type[Exception]
    """What the library raises when a frame is not allowed."""
    field_section_max_bytes: int

    def _bound(self, field_section_max_bytes: int) -> None:
        self.field_section_max_bytes = field_section_max_bytes
        self.buffered_max_bytes = field_section_max_bytes + 16 * 1024
        """Kept of a stream: a frame that is understood only as a whole."""
        self._buffered: dict[int, int] = {}
        """Bytes so kept, by stream."""
        self._buffered_bytes = 0
        self._frames_left = float(FRAMES_SPARE)

    def _undecoded(self, size_bytes: int, fault: Exception) -> Fields:
        """Fields that are too large, for a section that could not be decoded. Raises the fault of a small one."""
        if size_bytes <= LARGE_SECTION_BYTES:
            raise fault
        return [(b"-", bytes(self.field_section_max_bytes))]

    def _get_local_settings(self) -> dict[int, int]:
        """The SETTINGS sent: no dynamic table, no blocked streams, a size of heads, and one reserved to be ignored."""
        return {0x01: 0, 0x06: self.field_section_max_bytes, 0x07: 0, 0x21: 1}

    def take(self, event: Any) -> list[Any]:
        """See `LibraryHttp3`."""
        found = self.handle_event(event)
        if self._is_done:
            end = self._quic._close_event
            raise Http3Fault(end.error_code, end.reason_phrase)
        self._count_buffered(event.stream_id)
        if self._frames_left < 0:
            raise Http3Fault(EXCESSIVE_LOAD, "too many frames that say nothing")
        return found

    def _count_buffered(self, stream_id: int) -> None:
        """Look at what the library keeps of a stream. Raises `Http3Fault`."""
        stream = self._stream.get(stream_id)
        size = 0 if stream is None else len(stream.buffer)
        self._buffered_bytes += size - self._buffered.pop(stream_id, 0)
        if not size:
            return
        self._buffered[stream_id] = size
        if size > self.buffered_max_bytes:
            raise Http3Fault(EXCESSIVE_LOAD, f"a frame above {self.buffered_max_bytes} bytes is kept by nobody")
        if self._buffered_bytes > UNFINISHED_STREAMS * self.buffered_max_bytes:
            raise Http3Fault(EXCESSIVE_LOAD, f"{self._buffered_bytes} bytes of unfinished frames")

    def send_head(self, stream_id: int, fields: Fields, ends: bool) -> None:
        """See `LibraryHttp3`."""
        try:
            self.send_headers(stream_id, fields, ends)
        except self.protocol_error as error:
            raise StreamGone(str(error)) from None

    def send_body(self, stream_id: int, data: Any, ends: bool) -> None:
        """See `LibraryHttp3`."""
        try:
            self.send_data(stream_id, data, ends)
        except self.protocol_error as error:
            raise StreamGone(str(error)) from None

    def abandon(self, stream_id: int, code: int) -> None:
        """See `LibraryHttp3`."""
        try:
            self._quic.reset_stream(stream_id, code)
        except StreamGone:
            pass  # it has ended already
        self.forget(stream_id)

    def forget(self, stream_id: int) -> None:
        """See `LibraryHttp3`."""
        self._stream.pop(stream_id, None)
        self._buffered_bytes -= self._buffered.pop(stream_id, 0)

    def go_away(self, stream_id: int) -> None:
        """See `LibraryHttp3`."""
        frame = bytes((GOAWAY, 8)) + (0xC0 << 56 | stream_id).to_bytes(8, "big")  # RFC 9000, 16: in eight bytes
        self._quic.send_stream_data(self._local_control_stream_id, frame)

    def _spend(self, is_request: bool, size_bytes: int) -> None:
        """Count a frame, or a part of one."""
        earned = FRAMES_OF_A_REQUEST if is_request else size_bytes / BYTES_OF_A_FRAME
        self._frames_left = min(FRAMES_SPARE, self._frames_left + earned) - 1
