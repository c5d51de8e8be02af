"""HTTP/3 by aioquic, with what aioquic 1.7 leaves out of RFC 9114: pushes that a client cancels (7.2.3)."""

from __future__ import annotations

from typing import Any

import pylsqpack
from aioquic.h3.connection import (
    FrameType,
    FrameUnexpected,
    H3Connection,
    H3Stream,
    IdError,
    ProtocolError,
)
from aioquic.h3.events import DataReceived, H3Event, HeadersReceived

from node.wire.http3 import Http3Library
from node.wire.http3_bounds import CANCEL_PUSH, BoundedHttp3, StaticEncoder


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
