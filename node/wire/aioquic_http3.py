"""HTTP/3 by aioquic, with what aioquic 1.7 leaves out of RFC 9114.

- Pushes that a client cancels (7.2.3).
- Streams of QPACK that end (6.2; RFC 9204, 4.2).
- WebTransport, which it takes without being asked to.
"""

from __future__ import annotations

from typing import Any

import pylsqpack
from aioquic.h3.connection import (
    ClosedCriticalStream,
    FrameType,
    FrameUnexpected,
    H3Connection,
    H3Stream,
    HeadersState,
    IdError,
    ProtocolError,
    QpackDecompressionFailed,
    StreamType,
)
from aioquic.h3.events import DataReceived, H3Event, HeadersReceived

from node.wire.http3 import Http3Library
from node.wire.http3_bounds import CANCEL_PUSH, BoundedHttp3, StaticEncoder, Unjudged


class AioquicHttp3(BoundedHttp3, H3Connection):
    """A `node.wire.http3.LibraryHttp3`."""

    protocol_error = ProtocolError

    def __init__(self, quic: Any, field_section_max_bytes: int) -> None:
        self._bound(field_section_max_bytes)
        H3Connection.__init__(self, quic)

    def _init_connection(self) -> None:
        self._decoder = pylsqpack.Decoder(0, 0)
        encoder: Any = StaticEncoder(pylsqpack.Encoder())
        self._encoder = encoder
        super()._init_connection()

    def _decode_headers(self, stream_id: int, frame_data: bytes | None) -> Unjudged:
        is_head = self._stream[stream_id].headers_recv_state is HeadersState.INITIAL
        try:
            fields = super()._decode_headers(stream_id, frame_data)
        except QpackDecompressionFailed as fault:
            fields = self._undecoded(len(frame_data or b""), fault)
        return Unjudged(fields, is_head)

    def _receive_stream_data_uni(self, stream: H3Stream, data: bytes, stream_ended: bool) -> list[H3Event]:
        found = super()._receive_stream_data_uni(stream, data, stream_ended)
        if stream_ended and stream.stream_type in (StreamType.QPACK_ENCODER, StreamType.QPACK_DECODER):
            raise ClosedCriticalStream("a stream of QPACK has ended")
        return found

    def _check_control_frame_type(self, frame_type: int) -> None:
        self._spend(False, 0)
        super()._check_control_frame_type(frame_type)
        if frame_type == CANCEL_PUSH:
            raise IdError("nothing was pushed")

    def _check_request_or_push_frame_type(self, frame_type: int, stream: H3Stream) -> None:
        self._spend(frame_type == FrameType.HEADERS, 0)
        super()._check_request_or_push_frame_type(frame_type, stream)
        if frame_type == FrameType.WEBTRANSPORT_STREAM:
            raise FrameUnexpected("WebTransport was not offered")

    def _handle_request_or_push_frame(
        self, frame_type: int, frame_data: bytes | None, stream: H3Stream, stream_ended: bool
    ) -> list[H3Event]:
        self._spend(False, len(frame_data or b""))
        return super()._handle_request_or_push_frame(frame_type, frame_data, stream, stream_ended)


HTTP3 = Http3Library(AioquicHttp3, HeadersReceived, DataReceived)
