"""Errors of the wire protocol; those marked with * end the connection.

ZvmdError
└── WireError
    ├── MalformedFrame         wire.malformed
    ├── FrameTooLarge          wire.frame_size          ends the stream
    ├── TruncatedFrame         wire.truncated           ends the stream
    ├── TooManyRequests        wire.in_flight
    ├── TooManyStreams         wire.streams             ends the stream
    ├── TooManySubscriptions   wire.subscriptions
    ├── TooManyBytes *         wire.bytes
    ├── TooManyMalformed *     wire.malformed_often
    ├── HelloMissing *         wire.hello_missing
    ├── HelloTooLate *         wire.hello_late
    ├── HelloAgain             wire.hello_again
    ├── UnknownVersion *       wire.version
    ├── WrongToken *           wire.token
    ├── TooManyConnections *   limit.connections
    ├── HelloTooLong *         wire.hello_datagrams
    ├── PlaceNeeded *          wire.place
    ├── GuestRefused           wire.guest
    ├── SlowReader *           wire.slow_reader
    ├── WrongStream *          wire.stream_kind
    └── PeerFault *            wire.fault
"""

from __future__ import annotations

from typing import ClassVar

from chain.errors import ZvmdError


class WireError(ZvmdError):
    """A peer broke a rule of the protocol."""

    code = "wire.error"
    hint = "see docs/formats/wire.md"
    rpc_code = -32600
    quic_code: ClassVar[int] = 1
    """Application error code of a QUIC reset or close."""


class MalformedFrame(WireError):
    """A frame's body is not a message that a client may send."""

    code = "wire.malformed"
    quic_code = 2
    hint = "send MessagePack arrays as docs/formats/wire.md describes"


class FrameTooLarge(WireError):
    """A frame announces more bytes than allowed."""

    code = "wire.frame_size"
    quic_code = 3
    hint = "the Welcome message gives the largest frame"


class TruncatedFrame(WireError):
    """A stream ended inside a frame."""

    code = "wire.truncated"
    quic_code = 4
    hint = "finish the frame before closing the stream"


class TooManyRequests(WireError):
    """More unanswered requests than allowed."""

    code = "wire.in_flight"
    rpc_code = -32005
    quic_code = 5
    hint = "wait for answers; Welcome tells how many may be in flight"


class TooManyStreams(WireError):
    """More open streams than allowed."""

    code = "wire.streams"
    rpc_code = -32005
    quic_code = 6
    hint = "send many requests over one stream"


class TooManySubscriptions(WireError):
    """More event streams than allowed on a connection."""

    code = "wire.subscriptions"
    rpc_code = -32005
    quic_code = 7
    hint = "end a subscription first"


class TooManyBytes(WireError):
    """Unfinished frames and unanswered requests hold more bytes than a connection may."""

    code = "wire.bytes"
    rpc_code = -32005
    quic_code = 8
    hint = "finish frames and wait for answers"


class TooManyMalformed(WireError):
    """Too many unreadable frames."""

    code = "wire.malformed_often"
    quic_code = 9
    hint = "this peer does not speak zvmd/1"


class HelloMissing(WireError):
    """The first message was not Hello, or was not on stream 0."""

    code = "wire.hello_missing"
    quic_code = 10
    hint = "send Hello on stream 0 and wait for Welcome before using other streams"


class HelloTooLate(WireError):
    """No Hello within two seconds."""

    code = "wire.hello_late"
    quic_code = 11
    hint = "send Hello right after connecting"


class HelloAgain(WireError):
    """Hello was sent a second time."""

    code = "wire.hello_again"
    quic_code = 12
    hint = "open another connection to change the token"


class UnknownVersion(WireError):
    """The client speaks another version of the protocol."""

    code = "wire.version"
    quic_code = 13
    hint = "use a client of the same major version as the node"


class WrongToken(WireError):
    """The token is not the node's."""

    code = "wire.token"
    rpc_code = -32001
    quic_code = 14
    hint = "use the token file in the node's data directory (--data-dir, ZVMD_TOKEN)"


class TooManyConnections(WireError):
    """The token has as many open connections as it may have."""

    code = "limit.connections"
    rpc_code = -32005
    quic_code = 21
    hint = "close a connection; the limit was given with the token"


class HelloTooLong(WireError):
    """More datagrams came before Hello than a handshake and a Hello need."""

    code = "wire.hello_datagrams"
    rpc_code = -32005
    quic_code = 19
    hint = "send Hello right after connecting"


class PlaceNeeded(WireError):
    """All places for connections were taken, and this connection had not said Hello."""

    code = "wire.place"
    rpc_code = -32005
    quic_code = 20
    hint = "connect again; limits.quic_connections and limits.connections_per_peer set the number of places"


class GuestRefused(WireError):
    """A peer with a share token asked for something other than its session."""

    code = "wire.guest"
    rpc_code = -32001
    quic_code = 18
    hint = "with a share token, call the session's methods with that token as the session"


class SlowReader(WireError):
    """The peer does not acknowledge what it is sent."""

    code = "wire.slow_reader"
    quic_code = 15
    hint = "read faster, or subscribe to less"


class WrongStream(WireError):
    """The client opened a unidirectional stream."""

    code = "wire.stream_kind"
    quic_code = 16
    hint = "open bidirectional streams"


class PeerFault(WireError):
    """A bug in zvmd, found while serving this peer; the log has the traceback."""

    code = "wire.fault"
    rpc_code = -32603
    quic_code = 17
    hint = "this is a bug in zvmd; please report it with the node's log"
