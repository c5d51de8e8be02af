"""The server's half of a connection without I/O: bytes of streams in, events out; time is an argument.

States: *greeting* (only Hello on stream 0 is read, within two seconds) -> *open* -> *closed* (everything is
ignored).
"""

from __future__ import annotations

from collections.abc import Callable
from enum import Enum
from typing import cast

import msgspec

from chain.errors import ZvmdError
from node.doors.visitor import Verdict
from node.rpc.caller import GUEST, Caller, on_connection
from node.wire.errors import (
    FrameTooLarge,
    HelloAgain,
    HelloMissing,
    HelloTooLate,
    MalformedFrame,
    TooManyBytes,
    TooManyMalformed,
    TooManyRequests,
    TooManyStreams,
    TruncatedFrame,
    UnknownVersion,
    WireError,
    WrongStream,
    WrongToken,
)
from node.wire.events import (
    ConnectionRefused,
    Greeted,
    LargeFrameReceived,
    RequestReceived,
    RequestRefused,
    StreamEnded,
    StreamRefused,
    WireEvent,
)
from node.wire.limits import WireLimits
from zvmd.frames import PROTOCOL_VERSION, FrameBuffer, Hello, Request, decode_request

HELLO_STREAM = 0
LARGE_FRAME_BYTES = 8 * 1024
"""Larger frames are decoded on another thread: 2 MB of small values take longer than the event loop may be held."""
UNREADABLE = (msgspec.DecodeError, RecursionError, UnicodeDecodeError)
"""What decoding a frame raises."""


class ConnectionState(Enum):
    """State of a connection's life cycle."""

    GREETING = "greeting"
    OPEN = "open"
    CLOSED = "closed"


class ServerConnection:
    """Protocol state of one peer."""

    def __init__(
        self,
        limits: WireLimits,
        enter: Callable[[bytes], Verdict],
        now: float,
    ) -> None:
        """``enter`` returns who comes in with a token; it is asked once."""
        self.state = ConnectionState.GREETING
        self.caller: Caller = GUEST
        """Who the peer is, once it has said Hello."""
        self.in_flight = 0
        """Number of requests not answered yet."""
        self.hello_deadline = now + limits.hello_within_s
        self._limits = limits
        self._enter = enter
        self._streams: dict[int, FrameBuffer] = {}
        self._ended: set[int] = set()
        """Streams refused earlier: bytes that still arrive on them are dropped."""
        self._held_bytes = 0
        self._malformed = 0

    def receive(self, stream_id: int, data: bytes, end: bool, now: float) -> list[WireEvent]:
        """Take bytes of a stream; ``end`` is its FIN."""
        if self.state is ConnectionState.CLOSED or stream_id in self._ended:
            return []
        if stream_id % 4:
            return [self._close(stream_id, WrongStream(f"stream {stream_id}"))]
        if self.state is ConnectionState.GREETING:
            if now > self.hello_deadline:
                return [self._close(stream_id, HelloTooLate("no Hello in time"))]
            if stream_id != HELLO_STREAM:
                return [self._close(stream_id, HelloMissing(f"stream {stream_id} was used before Welcome"))]
        buffer = self._streams.get(stream_id)
        if buffer is None:
            if len(self._streams) >= self._limits.streams_max:
                return [self._end_stream(stream_id, TooManyStreams(f"the limit is {self._limits.streams_max}"))]
            buffer = self._streams[stream_id] = FrameBuffer(self._limits.request_frame_max_bytes)
        return self._feed(stream_id, buffer, data, end)

    def expire(self, now: float) -> list[WireEvent]:
        """Call at `hello_deadline`: a peer that has not said Hello is refused."""
        if self.state is ConnectionState.GREETING and now >= self.hello_deadline:
            return [self._close(HELLO_STREAM, HelloTooLate(f"no Hello within {self._limits.hello_within_s} s"))]
        return []

    def ended(self) -> None:
        """The connection is closed: what still arrives is dropped."""
        self.state = ConnectionState.CLOSED
        self._streams.clear()

    def stream_reset(self, stream_id: int) -> None:
        """The peer reset a stream."""
        buffer = self._streams.pop(stream_id, None)
        if buffer is not None:
            self._held_bytes -= len(buffer)

    def answered(self, size_bytes: int) -> None:
        """A `RequestReceived` of that size has been answered."""
        self.in_flight -= 1
        self._held_bytes -= size_bytes

    def _feed(self, stream_id: int, buffer: FrameBuffer, data: bytes, end: bool) -> list[WireEvent]:
        before = len(buffer)
        events: list[WireEvent] = []
        for body in buffer.feed(data):
            self._frame(stream_id, body, events)
            if self.state is ConnectionState.CLOSED:
                return events
        self._held_bytes += len(buffer) - before
        error: WireError
        if buffer.oversized_bytes:
            limit = self._limits.request_frame_max_bytes
            error = FrameTooLarge(f"a frame of {buffer.oversized_bytes} bytes; the limit is {limit}")
            events.append(self._refuse_stream(stream_id, error))
        elif self._held_bytes > self._limits.connection_buffer_max_bytes:
            events.append(self._close(stream_id, TooManyBytes(f"{self._held_bytes} bytes are held")))
        elif self.state is ConnectionState.GREETING and len(buffer) > self._limits.hello_frame_max_bytes:
            events.append(self._close(stream_id, HelloMissing("the first frame is too large for a Hello")))
        elif end:
            if len(buffer):
                events.append(self._refuse_stream(stream_id, TruncatedFrame(f"{len(buffer)} bytes of a frame")))
            else:
                del self._streams[stream_id]
                events.append(StreamEnded(stream_id))
        return events

    def decoded(self, stream_id: int, size_bytes: int, request: object) -> WireEvent | None:
        """Take the request of a `LargeFrameReceived`, or the exception of `zvmd.frames.decode_request`."""
        if self.state is ConnectionState.CLOSED:
            return None
        if not isinstance(request, BaseException) and not isinstance(request, Hello):
            return RequestReceived(stream_id, cast("Request", request), size_bytes)
        self.answered(size_bytes)
        if isinstance(request, UNREADABLE):
            return self._malformed_frame(stream_id, str(request)[:200])
        if isinstance(request, ZvmdError):
            return RequestRefused(stream_id, 0, request)
        if isinstance(request, BaseException):
            raise request
        return RequestRefused(stream_id, 0, HelloAgain("Hello was sent before"))

    def _frame(self, stream_id: int, body: bytes, events: list[WireEvent]) -> None:
        is_large = len(body) > LARGE_FRAME_BYTES and self.state is ConnectionState.OPEN
        try:
            request = None if is_large else decode_request(body)
        except UNREADABLE as reason:
            events.append(self._malformed_frame(stream_id, str(reason)[:200]))
            return
        if self.state is ConnectionState.GREETING:
            assert request is not None, "only frames of greeted peers are decoded elsewhere"
            events.append(self._greet(stream_id, request))
        elif isinstance(request, Hello):
            events.append(RequestRefused(stream_id, 0, HelloAgain("Hello was sent before")))
        elif self.in_flight >= self._limits.in_flight_max:
            error = TooManyRequests(f"the limit is {self._limits.in_flight_max} unanswered requests")
            events.append(RequestRefused(stream_id, 0 if request is None else request.id, error))
        else:
            self.in_flight += 1
            self._held_bytes += len(body)
            received = RequestReceived(stream_id, request, len(body)) if request is not None else None
            events.append(received or LargeFrameReceived(stream_id, body))

    def _greet(self, stream_id: int, request: Request) -> WireEvent:
        if not isinstance(request, Hello):
            return self._close(stream_id, HelloMissing("the first message is not Hello"))
        if request.version != PROTOCOL_VERSION:
            return self._close(
                stream_id, UnknownVersion(f"version {request.version}; this node speaks {PROTOCOL_VERSION}")
            )
        verdict = self._enter(request.token)
        if verdict.refusal is not None:
            error = WrongToken("the token is neither one of this node's nor a valid share token")
            return self._close(stream_id, error, verdict.delay_s)
        self.caller = on_connection(verdict.caller)
        self.state = ConnectionState.OPEN
        return Greeted(stream_id, request.client[:200])

    def _malformed_frame(self, stream_id: int, reason: str) -> WireEvent:
        if self.state is ConnectionState.GREETING:
            return self._close(stream_id, HelloMissing(f"the first frame cannot be read: {reason}"))
        self._malformed += 1
        if self._malformed > self._limits.malformed_max:
            return self._close(stream_id, TooManyMalformed(reason))
        return RequestRefused(stream_id, 0, MalformedFrame(reason))

    def _refuse_stream(self, stream_id: int, error: WireError) -> WireEvent:
        if self.state is ConnectionState.GREETING:
            return self._close(stream_id, error)
        return self._end_stream(stream_id, error)

    def _end_stream(self, stream_id: int, error: WireError) -> WireEvent:
        self.stream_reset(stream_id)
        self._malformed += 1
        self._ended.add(stream_id)
        if self._malformed > self._limits.malformed_max:
            return self._close(stream_id, TooManyMalformed(str(error)))
        return StreamRefused(stream_id, error)

    def _close(self, stream_id: int, error: WireError, delay_s: float = 0.0) -> WireEvent:
        self.ended()
        return ConnectionRefused(stream_id, error, delay_s)
