"""Limits of HTTP/3 besides those of HTTP (`node.gateway.limits`) and of QUIC (`node.wire.limits`)."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Http3Limits:
    """Limits of each connection."""

    first_datagrams_max: int = 128
    """Most datagrams of a peer before its first request that is not refused."""
    answers_per_turn_max: int = 16
    """Requests of a connection answered before others get their turn on the event loop."""
    unsent_bytes_max: int = 256 * 1024
    """Bytes of answers given to the QUIC library before the peer takes them; the rest waits, counted as held."""
    part_bytes: int = 64 * 1024
    """A part of an answer, after which another answer has its turn."""
