"""What the listener uses of a QUIC library, and the libraries there are: each is a module of its own.

The libraries do packets, TLS, streams and loss recovery, without I/O. Who may connect, and what is said on a
connection, is decided by `node.wire` alike for all.
"""

from __future__ import annotations

import asyncio
import re
import socket
from collections.abc import Awaitable, Callable, Mapping
from importlib import import_module, metadata
from typing import Any, NamedTuple, Protocol

from node.auth.certificate import TlsFiles
from node.ops.errors import LibraryMissing
from node.wire.certificates import PemPair, ShownCertificate
from node.wire.http3 import Http3Library
from node.wire.limits import WireLimits

CONNECTION_ID_BYTES = 8
"""Length of the connection IDs of this node; the library issues no others."""

HANDSHAKE_MAX_BYTES = 16 * 1024
"""Handshake bytes of a client in each epoch; a ClientHello with a post-quantum key has about 2,000."""

DATAGRAMS_SENT_MAX = 32
"""Most datagrams that a connection sends in one turn of the event loop, where its library can be stopped there."""


class StreamGone(Exception):
    """The stream cannot be used any more: the peer has reset or stopped it, or it is finished."""


class LibraryConnection(Protocol):
    """One connection of a server. The first datagram given to it is an Initial that `node.wire.initial` has read.

    ``now`` is in seconds of the event loop's clock. Every method but those that say so may raise one of
    `QuicLibrary.faults`, or anything else in case of a bug; the connection is over then.
    """

    host_cid: bytes
    """The connection ID by which the server introduces itself."""

    @property
    def has_authenticated(self) -> bool:
        """Whether a packet has been decrypted: an Initial of random bytes never is."""

    def receive_many_datagrams(self, datagrams: list[bytes], addr: Any, now: float) -> None:
        """Take datagrams of one sender."""

    def datagrams_to_send(self, now: float) -> list[tuple[bytes, Any]]:
        """Datagrams to send now, each with its address, as far as RFC 9000, 8.1 allows; `DATAGRAMS_SENT_MAX` or more
        if others may follow."""

    def get_timer(self) -> float | None:
        """When `handle_timer` is to be called."""

    def handle_timer(self, now: float) -> None:
        """Detect losses, or end."""

    def next_event(self) -> Any:
        """The next of what has happened, of a type in `QuicLibrary.events` or of none of them; None if that is all."""

    def send_stream_data(self, stream_id: int, data: bytes, end_stream: bool = False) -> None:
        """Queue bytes. Raises `StreamGone`."""

    def stop_stream(self, stream_id: int, error_code: int) -> None:
        """Ask the peer to send no more. Raises `StreamGone`."""

    def reset_stream(self, stream_id: int, error_code: int) -> None:
        """Send no more, and tell the peer why. Raises `StreamGone`."""

    def get_send_buffer_size(self) -> int:
        """Bytes of all streams that wait to be sent."""

    def close(self, error_code: int = 0, frame_type: int | None = None, reason_phrase: str = "") -> None:
        """Close; the next datagrams say so."""

    def release(self) -> None:
        """Free its buffers now: it is in reference cycles, and may hold much out of order. The last call."""


class Events(NamedTuple):
    """Types of the events the listener acts upon, with the attributes it reads."""

    stream_data: type
    """``stream_id``, ``data`` in order, ``end_stream``"""
    stream_reset: type
    """``stream_id``"""
    stop_sending: type
    """``stream_id``"""
    handshake_completed: type
    """``alpn_protocol``"""
    terminated: type
    id_issued: type
    """``connection_id``"""
    id_retired: type
    """``connection_id``"""


class QuicLibrary(NamedTuple):
    """A QUIC library."""

    connection: Callable[..., LibraryConnection]
    """Makes a connection. Arguments: ``configuration``, ``original_destination_connection_id``, and
    ``retry_source_connection_id`` (None without a Retry)."""
    configuration: Callable[..., Any]
    """Makes the argument of that name: see `configured`."""
    read_pair: Callable[[PemPair], ShownCertificate]
    """Makes a certificate that one protocol shows. Raises `ValueError` if the library cannot use it."""
    events: Events
    faults: tuple[type[Exception], ...]
    """Exceptions by which it gives up a connection: what its peer did, not bugs of this node."""
    encode_retry: Callable[..., bytes]
    """A Retry packet. Arguments: ``version``, ``source_cid``, ``destination_cid``, ``original_destination_cid`` and
    ``retry_token``."""
    encode_versions: Callable[..., bytes]
    """A Version Negotiation packet. Arguments: ``source_cid``, ``destination_cid``, ``supported_versions``."""
    listen: Callable[[Callable[[], asyncio.DatagramProtocol], socket.socket], Awaitable[asyncio.DatagramTransport]]
    """Connects a protocol to a bound socket. A burst of one sender may arrive as ``datagrams_received``."""
    send: Callable[[asyncio.DatagramTransport, list[tuple[bytes, Any]]], None]
    """Sends datagrams."""
    http3: Callable[[], Http3Library]
    """Its HTTP/3."""


def configured(
    make: Callable[..., Any],
    limits: WireLimits,
    tls: TlsFiles,
    names: list[str],
    shown: Mapping[str, ShownCertificate] | None = None,
    **own: Any,
) -> Any:
    """A library's ``QuicConfiguration``, made by ``make``; ``own`` are options that only this library has.

    ``names`` are the protocols by their names in ALPN; ``shown`` has certificates of those that do not show ``tls``.
    """
    configuration = make(
        is_client=False,
        alpn_protocols=names,
        connection_id_length=CONNECTION_ID_BYTES,
        idle_timeout=limits.idle_timeout_s,
        max_data=limits.receive_window_bytes,
        max_stream_data=limits.receive_window_bytes,
        shown=shown or {},
        **own,
    )
    configuration.load_cert_chain(str(tls.certificate), str(tls.key))
    return configuration


def events_of(module: Any) -> Events:
    """The event classes of a library's module ``quic.events``: aioquic's names, which its forks keep."""
    return Events(
        stream_data=module.StreamDataReceived,
        stream_reset=module.StreamReset,
        stop_sending=module.StopSendingReceived,
        handshake_completed=module.HandshakeCompleted,
        terminated=module.ConnectionTerminated,
        id_issued=module.ConnectionIdIssued,
        id_retired=module.ConnectionIdRetired,
    )


class _Package(NamedTuple):
    module: str
    least: tuple[int, int]
    """The oldest version that works, as far as is known here."""


_PACKAGES = {
    "qh3": _Package("node.wire.qh3_library", (2, 1)),
    "aioquic": _Package("node.wire.aioquic_library", (1, 7)),
}


def load_library(name: str) -> QuicLibrary:
    """The library of that name; only this one is imported. Raises `LibraryMissing`."""
    module, least = _PACKAGES[name]
    try:
        version = library_version(name)
        if tuple(int(part) for part in re.findall(r"\d+", version)[:2]) < least:
            raise LibraryMissing(f"quic.library = {name!r} needs {name} {least[0]}.{least[1]}; {version} is installed")
        library: QuicLibrary = import_module(module).LIBRARY
    except ImportError as error:
        raise LibraryMissing(f"quic.library = {name!r} cannot be used: {error}") from None
    return library


def library_version(name: str) -> str:
    """Version of the installed package. Raises `ImportError` if there is none."""
    return metadata.version(name)
