"""Limits of the QUIC side, each with its unit in the name."""

from __future__ import annotations

from dataclasses import dataclass

from zvmd.frames import REQUEST_FRAME_MAX_BYTES


@dataclass(frozen=True, slots=True)
class WireLimits:
    """Limits of the QUIC listener, of each connection and of each source."""

    hello_within_s: float = 2.0
    request_frame_max_bytes: int = REQUEST_FRAME_MAX_BYTES
    hello_frame_max_bytes: int = 1024
    connection_buffer_max_bytes: int = 8 * 1024 * 1024
    """Bytes of unfinished frames and unanswered requests of a connection together."""
    receive_window_bytes: int = 64 * 1024
    """QUIC's window of a stream and of a connection. Frames of one byte with gaps of one byte cost 50 times of it."""
    in_flight_max: int = 8192
    """Unanswered requests of a connection."""
    streams_max: int = 32
    """Streams of a connection open at the same time."""
    malformed_max: int = 16
    """Unreadable frames before the connection is closed."""
    subscriptions_max: int = 64
    connections_max: int = 128
    connections_per_address_max: int = 16
    half_open_before_retry: int = 64
    """Handshakes not finished, above which new addresses are validated by Retry."""
    unproved_per_s: int = 32
    """New connections from unvalidated addresses; above this, addresses are validated by Retry."""
    unproved_per_source_per_s: int = 16
    """The same for one address and port."""
    proved_per_s: int = 200
    """New connections from addresses validated by Retry."""
    proved_per_network_per_s: int = 100
    """The same for one /24 or /64."""
    retries_per_s: int = 3_000
    """Retry and Version Negotiation packets sent."""
    retries_per_source_per_s: int = 4
    """The same to one address and port."""
    strangers_per_turn_max: int = 128
    """Datagrams of unknown connections examined in one turn of the event loop; the rest is dropped."""
    strangers_waiting_max: int = 128
    """Initials of unknown connections that wait to be handled, and connections without a decrypted packet; the rest is
    dropped."""
    datagrams_waiting_max: int = 512
    """Datagrams of a connection that wait to be handled; the rest is dropped."""
    hello_datagrams_max: int = 64
    """Most datagrams from a peer that has not said Hello."""
    unconfirmed_pause_bytes: int = 1024 * 1024
    """Event streams pause when so many bytes are on their way to the peer."""
    unconfirmed_max_bytes: int = 64 * 1024 * 1024
    """A peer with so many unacknowledged bytes is disconnected."""
    stop_s: float = 5.0
    """For requests to be answered when the node stops."""
    take_answer_s: float = 30.0
    """A peer that has more than `node.rpc.held.SMALL_BYTES` to take has to take as much within this time."""
    receipt_wait_max_s: float = 60.0
    idle_timeout_s: float = 60.0
