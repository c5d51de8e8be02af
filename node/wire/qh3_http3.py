"""HTTP/3 by qh3, with what qh3 2.1 leaves out of RFC 9114.

- Control frames whose content is cut short, frames cut short by the end of their stream, and the end of a stream that
  has no request on it (4.1, 7.1).
- Frame types of HTTP/2 (7.2.8), pushes that a client cancels, limits or makes (4.6, 6.2.2, 7.2.7).
- WebTransport, which it takes without being asked to.
"""

from __future__ import annotations

from typing import Any

from qh3._hazmat import BufferReadError, QpackDecoder, QpackEncoder
from qh3.h3.connection import (
    ErrorCode,
    FrameError,
    FrameType,
    FrameUnexpected,
    H3Connection,
    H3Stream,
    HeadersState,
    ProtocolError,
    QpackDecompressionFailed,
    StreamCreationError,
    StreamType,
)
from qh3.h3.events import DataReceived, H3Event, HeadersReceived

from node.wire.http3 import REQUEST_INCOMPLETE, Http3Library
from node.wire.http3_bounds import CANCEL_PUSH, HTTP2_FRAMES, BoundedHttp3, StaticEncoder, Unjudged


class IdError(ProtocolError):
    """A push ID that is not allowed."""

    error_code = ErrorCode.H3_ID_ERROR


class Qh3Http3(BoundedHttp3, H3Connection):
    """A `node.wire.http3.LibraryHttp3`."""

    protocol_error = ProtocolError

    def __init__(self, quic: Any, field_section_max_bytes: int) -> None:
        self._bound(field_section_max_bytes)
        H3Connection.__init__(self, quic)

    def _init_connection(self) -> None:
        self._max_encoded_field_section_size = self.buffered_max_bytes
        self._decoder = QpackDecoder(0, 0, max_field_section_size=2 * self.field_section_max_bytes)
        encoder: Any = StaticEncoder(QpackEncoder())
        self._encoder = encoder
        super()._init_connection()

    def _decode_headers(
        self, stream_id: int, frame_data: bytes | None, *, offset: int = 0, length: int | None = None
    ) -> Unjudged:
        is_head = self._stream[stream_id].headers_recv_state is HeadersState.INITIAL
        try:
            fields = super()._decode_headers(stream_id, frame_data, offset=offset, length=length)
        except QpackDecompressionFailed as fault:
            fields = self._undecoded(len(frame_data or b"") - offset if length is None else length, fault)
        return Unjudged(fields, is_head)

    def _handle_control_frame(self, frame_type: int, frame_data: bytes) -> list[H3Event]:
        self._spend(False, len(frame_data))
        pushes = self._max_push_id or 0
        try:
            found = super()._handle_control_frame(frame_type, frame_data)
        except BufferReadError:
            raise FrameError("a control frame is cut short") from None
        if frame_type in HTTP2_FRAMES:
            raise FrameUnexpected("a frame of HTTP/2")
        if frame_type == CANCEL_PUSH or (self._max_push_id or 0) < pushes:
            raise IdError("nothing was pushed, and the limit on pushes only grows")
        return found

    def _receive_stream_data_uni(self, stream: H3Stream, data: bytes, stream_ended: bool) -> list[H3Event]:
        found = super()._receive_stream_data_uni(stream, data, stream_ended)
        if stream.stream_type == StreamType.PUSH:
            raise StreamCreationError("a client does not push")
        return found

    def _handle_request_or_push_frame(
        self,
        frame_type: int,
        frame_data: bytes | None,
        stream: H3Stream,
        stream_ended: bool,
        *,
        frame_offset: int = 0,
        frame_length: int | None = None,
    ) -> list[H3Event]:
        self._spend(frame_type == FrameType.HEADERS, len(frame_data or b""))
        if frame_type in HTTP2_FRAMES:
            raise FrameUnexpected("a frame of HTTP/2")
        return super()._handle_request_or_push_frame(
            frame_type, frame_data, stream, stream_ended, frame_offset=frame_offset, frame_length=frame_length
        )

    def _receive_request_or_push_data(self, stream: H3Stream, data: bytes, stream_ended: bool) -> list[H3Event]:
        found = super()._receive_request_or_push_data(stream, data, stream_ended)
        if stream.session_id is not None:
            raise FrameUnexpected("WebTransport was not offered")
        if stream.receiving_ended:
            if stream.buffer or stream.frame_size is not None:
                raise FrameError("a frame is cut short by the end of its stream")
            if stream.headers_recv_state is HeadersState.INITIAL:
                self.abandon(stream.stream_id, REQUEST_INCOMPLETE)
        return found


HTTP3 = Http3Library(Qh3Http3, HeadersReceived, DataReceived)
