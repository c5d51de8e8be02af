"""Events that a sans-IO connection returns after receiving bytes."""

from __future__ import annotations

from typing import NamedTuple

from chain.errors import ZvmdError
from node.wire.errors import WireError
from zvmd.frames import Request


class Greeted(NamedTuple):
    """The peer's Hello is valid: answer with Welcome."""

    stream_id: int
    client: str


class RequestReceived(NamedTuple):
    """A request to answer; give ``size_bytes`` back with `ServerConnection.answered`."""

    stream_id: int
    request: Request
    size_bytes: int


class LargeFrameReceived(NamedTuple):
    """A frame too large to be decoded on the event loop; give the request to `ServerConnection.decoded`."""

    stream_id: int
    body: bytes


class StreamEnded(NamedTuple):
    """The peer has finished this stream: finish it too once everything is answered."""

    stream_id: int


class RequestRefused(NamedTuple):
    """A request or frame is answered with a failure; everything else goes on."""

    stream_id: int
    request_id: int
    error: ZvmdError


class StreamRefused(NamedTuple):
    """The stream is answered with a failure and ended."""

    stream_id: int
    error: WireError


class ConnectionRefused(NamedTuple):
    """The connection is answered with a failure and closed; nothing follows."""

    stream_id: int
    error: WireError
    delay_s: float = 0.0
    """Seconds after which it is answered."""


WireEvent = (
    Greeted
    | RequestReceived
    | LargeFrameReceived
    | StreamEnded
    | RequestRefused
    | StreamRefused
    | ConnectionRefused
)
