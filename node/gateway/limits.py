"""Limits of the HTTP side, each with its unit in the name."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class HttpLimits:
    """Limits of the HTTP listener, of each connection and of each request."""

    # Connections
    connections_max: int = 256
    connections_per_address_max: int = 128
    """Those of one address that is not a loopback address."""
    surplus_max: int = 32
    """Connections above the maximum that are accepted only for an answer that says so."""
    look_every_s: float = 1.0
    """How often connections are compared with their deadlines."""
    tls_handshake_s: float = 10.0
    tls_handshake_bytes_max: int = 64 * 1024
    """Sent by the peer, its certificates included."""
    tls_handshakes_per_turn: int = 1
    """Steps of handshakes in one turn of the event loop: 0.5 ms with a P-256 key, 1 ms with RSA-2048."""
    tls_records_per_turn: int = 32
    """Records of a connection taken before others get their turn: each may change the keys, in tens of microseconds."""
    tls_silent_records_max: int = 128
    """Records without data that a peer may send behind its handshake. Clients send one or two."""
    request_s: float = 15.0
    """For a request to arrive, from its first byte, or from the connection's beginning for the first."""
    keep_alive_s: float = 75.0
    """Between two requests."""
    answer_s: float = 3_600.0
    """For an answer to be made. Calls have far less (`RpcLimits`); mining many blocks may take minutes."""
    take_answer_s: float = 30.0
    """For a peer to take what it was sent."""
    half_closed_s: float = 1.0
    """For an answer to be made once the peer sends no more: it may wait for the answer, or be gone."""
    linger_s: float = 2.0
    """For a peer to hang up after its last answer; what it still sends is discarded."""
    linger_bytes_max: int = 64 * 1024 * 1024
    """Most bytes discarded then."""
    stop_s: float = 5.0
    """For requests to be answered when the node stops."""

    # Requests
    request_line_bytes_max: int = 8 * 1024
    head_bytes_max: int = 64 * 1024
    """Request line and headers together."""
    headers_max: int = 128
    heads_remembered_max: int = 8
    """Heads of a connection that are not read again when they come again byte for byte."""
    head_remembered_bytes_max: int = 4 * 1024
    """Larger ones are read each time: 8 of 64 KiB on every connection would be 128 MiB, and twice as much decoded."""
    discarded_body_bytes_max: int = 64 * 1024
    """The body of a request that is refused is read up to this size, and the connection stays; else it is closed."""
    chunk_line_bytes_max: int = 256
    chunk_overhead_bytes_max: int = 128 * 1024
    """All of a chunked body but its data."""
    pipelined_bytes_max: int = 64 * 1024
    """Received while an answer is made; then reading pauses."""
    requests_per_turn_max: int = 16
    """Requests of a connection answered before others get their turn on the event loop."""

    # WebSocket
    messages_unanswered_max: int = 1024
    """For one connection; then reading pauses."""
    messages_unanswered_bytes_max: int = 512 * 1024
    """The same in bytes."""
    ping_every_s: float = 20.0
    """A silent peer is pinged, and has as long to answer."""
    slice_bytes: int = 4 * 1024
    """Received bytes are looked at in such slices."""
    frames_per_turn_max: int = 64
    """Frames of a connection handled before others get their turn on the event loop."""
    message_bytes_per_turn_max: int = 256 * 1024
    """The same in bytes of messages."""
    overhead_frames_burst: int = 1_000
    """Control frames, and fragments below `fragment_bytes_min`, that may come at once."""
    overhead_frames_per_s: float = 100.0
    """And afterwards; a peer that sends more is disconnected."""
    fragment_bytes_min: int = 1024
    unsent_share: float = 0.5
    """The most of `RpcLimits.held_max_bytes` that one connection's answers may hold."""
