"""The listener's QUIC by qh3, with workarounds for four bugs of qh3 2.1.

- Padding behind the last packet of a datagram was not counted as received. A client that pads there, as aioquic does,
  left a third of the anti-amplification limit of RFC 9000, 8.1, and the first flight did not fit.
- A flight that does not fit raised, and the datagrams already built for it were lost.
- A client with a connection ID of length zero (RFC 9000, 5.1: Chrome, quic-go) failed the check of RFC 9000, 7.3, and
  was sent packets with the ID that it had chosen for the server. So the core gets the empty ID, its Initial keys are
  made here, and the server goes on with the ID that the client chose, as the core accepts no third one.
- A handshake message that announces 16 MiB was kept, and copied whole for each packet (RFC 9000, 7.5: limit it).
"""

from __future__ import annotations

import asyncio
import hmac
import logging
import socket
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from itertools import groupby
from operator import itemgetter
from typing import Any

from qh3 import tls
from qh3._hazmat import pull_quic_header
from qh3.asyncio._transport import OptimizedDatagramTransport, enable_gro, has_gso
from qh3.quic import events
from qh3.quic.configuration import QuicConfiguration
from qh3.quic.connection import QuicConnection, QuicConnectionError
from qh3.quic.packet import QuicErrorCode, QuicFrameType, encode_quic_retry, encode_quic_version_negotiation

from node.wire.certificates import ShownCertificate, choosing, read_pair
from node.wire.http3 import Http3Library
from node.wire.library import (
    CONNECTION_ID_BYTES,
    DATAGRAMS_SENT_MAX,
    HANDSHAKE_MAX_BYTES,
    QuicLibrary,
    StreamGone,
    configured,
    events_of,
)

INITIAL_SALT = bytes.fromhex("38762cf7f55934b34d179ae6a4c80cadccbb7f0a")
INITIAL_KEYS = ((b"quic key", 16), (b"quic iv", 12), (b"quic hp", 16))
INITIAL_ALGORITHMS = ("aes-128-gcm", "aes-128-ecb")
"""How the keys of Initial packets are made (RFC 9001, 5.1 and 5.2)."""
_choose = choosing(tls)
GRO_SEGMENT_BYTES = 1280
"""Where the kernel does not tell the size of a coalesced burst's datagrams."""


@dataclass
class Qh3Configuration(QuicConfiguration):
    """The library's own, with certificates of single protocols."""

    shown: Mapping[str, ShownCertificate] = field(default_factory=dict)


class Qh3Connection(QuicConnection):
    """A `node.wire.library.LibraryConnection`."""

    def __init__(self, *, configuration: Qh3Configuration, **given: Any) -> None:
        super().__init__(configuration=configuration, **given)
        self._shown = configuration.shown

    def receive_datagram(self, data: bytes, addr: Any, now: float) -> None:
        """Take one datagram. Raises `QuicConnectionError`."""
        if self._core is None:
            self._remote_addr = addr
            self._version = int.from_bytes(data[1:5], "big")
            self._begin(addr, *_connection_ids(data), now)
            _choose(self._create_tls(remote_source_cid=None).tls, self._shown)
        core = self._require_core()
        for packet in self._packets(data):
            report = self._call_core(core.receive_datagram, packet, addr, now, len(data))
            if report[2]:
                self._learn_remote_source_cid(packet)
            self._drain_core()

    def datagrams_to_send(self, now: float) -> list[tuple[bytes, Any]]:
        """Datagrams to send now; those above the anti-amplification limit wait for the client's next datagram."""
        datagrams: list[tuple[bytes, Any]] = []
        if self._core is None:
            return datagrams
        try:
            while len(datagrams) < DATAGRAMS_SENT_MAX:
                built = self._call_core(self._core.poll_transmit, now)
                if built is None:
                    break
                datagrams.append((built[0], built[1]))
        except QuicConnectionError:
            if self._handshake_complete:
                raise
        return datagrams

    def send_stream_data(self, stream_id: int, data: Any, end_stream: bool = False) -> None:
        """Queue bytes. Raises `StreamGone`."""
        try:
            super().send_stream_data(stream_id, data, end_stream)
        except (QuicConnectionError, ValueError, AssertionError, KeyError) as error:
            raise StreamGone(str(error)) from None

    def stop_stream(self, stream_id: int, error_code: int) -> None:
        """Ask the peer to send no more. Raises `StreamGone`."""
        try:
            super().stop_stream(stream_id, error_code)
        except (QuicConnectionError, ValueError, AssertionError) as error:
            raise StreamGone(str(error)) from None

    def reset_stream(self, stream_id: int, error_code: int) -> None:
        """Send no more. Raises `StreamGone`."""
        try:
            super().reset_stream(stream_id, error_code)
        except (QuicConnectionError, ValueError, AssertionError) as error:
            raise StreamGone(str(error)) from None

    @property
    def has_authenticated(self) -> bool:
        """Whether a packet has been decrypted."""
        return self._core is not None and self._core.received_authenticated_packet

    def release(self) -> None:
        """Free its buffers now: it may hold megabytes of frames received out of order."""
        self._core = None
        tls, self._tls = self._tls, None
        if tls is not None:
            vars(tls).clear()  # it and its TLS refer to each other, and only the collector would find them

    def _drain_core(self) -> None:
        super()._drain_core()
        if self._tls is not None and max(self._tls._input_offsets.values()) > HANDSHAKE_MAX_BYTES:
            self.close(QuicErrorCode.CRYPTO_BUFFER_EXCEEDED, QuicFrameType.CRYPTO, "too many bytes of a handshake")

    def _begin(self, addr: Any, destination: bytes, source: bytes, now: float) -> None:
        """Make the core of a connection whose first Initial has these connection IDs."""
        if source or len(destination) != CONNECTION_ID_BYTES:
            self._create_core(addr, destination, now)
            return
        self.host_cid = destination
        self._create_core(addr, b"", now)
        core = self._require_core()
        for direction, name in (("receive", b"client in"), ("send", b"server in")):
            secret = _expanded(_extracted(INITIAL_SALT, destination), name, 32)
            key, iv, hp = (_expanded(secret, label, size) for label, size in INITIAL_KEYS)
            self._call_core(core.install_packet_key, direction, 0, INITIAL_ALGORITHMS, key, iv, hp, 0, secret, 1)

    def _packets(self, data: bytes) -> Iterator[bytes]:
        """The packets coalesced in a datagram; padding after the last one counts as part of it."""
        length = self._configuration.connection_id_length
        begin, end = 0, _packet_end(data, 0, length)
        while end < len(data):
            following = _packet_end(data, end, length)
            if following <= end:
                break
            yield data[begin:end]
            begin, end = end, following
        yield data[begin:]

    def _learn_remote_source_cid(self, data: bytes) -> None:
        if self._handshake_complete or self._tls is None:
            return
        try:
            source_cid = pull_quic_header(data, 0, self._configuration.connection_id_length)[4]
        except ValueError:
            return
        self._tls.remote_initial_source_connection_id = source_cid


def _connection_ids(data: bytes) -> tuple[bytes, bytes]:
    """Destination and source of a long header (RFC 8999, 5.1)."""
    at = 6 + data[5]
    return data[6:at], data[at + 1 : at + 1 + data[at]]


def _extracted(salt: bytes, secret: bytes) -> bytes:
    return hmac.digest(salt, secret, "sha256")


def _expanded(secret: bytes, label: bytes, size_bytes: int) -> bytes:
    """HKDF-Expand-Label of RFC 8446, 7.1, for results of at most 32 bytes."""
    name = b"tls13 " + label
    info = size_bytes.to_bytes(2, "big") + bytes((len(name),)) + name + b"\0\1"
    return hmac.digest(secret, info, "sha256")[:size_bytes]


def _packet_end(data: bytes, begin: int, connection_id_bytes: int) -> int:
    """Where the packet that begins here ends; 0 if none does."""
    if not data[begin] & 0x40:
        return 0
    try:
        return int(pull_quic_header(data, begin, connection_id_bytes)[9])
    except ValueError:
        return 0


def http3() -> Http3Library:
    """Its HTTP/3, which is imported only where it is spoken."""
    from node.wire.qh3_http3 import HTTP3

    return HTTP3


class Qh3Transport(OptimizedDatagramTransport):
    """Receives one burst in each turn of the event loop, of at most 32 messages; qh3's receives 32 bursts."""

    __slots__ = ()

    def _recv_rust(self, state: Any) -> None:
        try:
            received = state.recv()
        except (BlockingIOError, InterruptedError):
            return
        except OSError as error:
            self._protocol.error_received(error)
            return
        protocol: Any = self._protocol
        for addr, burst in groupby(received or (), itemgetter(1)):
            protocol.datagrams_received([datagram for datagram, _ in burst], addr)


async def _listen(make: Callable[[], asyncio.DatagramProtocol], bound: socket.socket) -> asyncio.DatagramTransport:
    logging.getLogger("quic").setLevel(logging.ERROR)  # it warns of every connection that ends
    bound.setblocking(False)
    loop = asyncio.get_running_loop()
    gro, gso = enable_gro(bound), has_gso(bound)
    transport = Qh3Transport(loop, bound, make(), None, gro, gso, GRO_SEGMENT_BYTES)
    started = loop.create_future()
    transport._start(started)
    await started
    return transport


def _send(transport: Any, datagrams: list[tuple[bytes, Any]]) -> None:
    """Send datagrams, successive ones to one address in one system call."""
    for address, burst in groupby(datagrams, itemgetter(1)):
        transport.sendto_many([datagram for datagram, _ in burst], address)


LIBRARY = QuicLibrary(
    connection=Qh3Connection,
    configuration=partial(configured, Qh3Configuration),
    read_pair=partial(read_pair, tls),
    events=events_of(events),
    faults=(QuicConnectionError,),
    encode_retry=encode_quic_retry,
    encode_versions=encode_quic_version_negotiation,
    listen=_listen,
    send=_send,
    http3=http3,
)
