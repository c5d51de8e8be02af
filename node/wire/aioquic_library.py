"""The listener's QUIC by aioquic, with limits on what a peer may cost that aioquic 1.7 does not have.

- Its receive windows double whenever a peer has used half of them, read or not: a few bytes far ahead made it reserve
  twice the memory again and again. Here a window is a fixed size ahead of what was read.
- It keeps 512 KiB of handshake bytes for each of three epochs of a peer that has not proved anything, and each gap
  between bytes received out of order makes every further frame slower. Both are limited here (RFC 9000, 21.7).
- It works through a datagram of 64 KiB at once.
- It takes acknowledgements of packets that it never sent (RFC 9000, 13.1 and 21.4).
"""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from aioquic import tls
from aioquic.buffer import Buffer
from aioquic.quic import events
from aioquic.quic.configuration import QuicConfiguration
from aioquic.quic.connection import (
    CONNECTION_LIMIT_FRAME_CAPACITY,
    MAX_STREAM_DATA_FRAME_CAPACITY,
    QuicConnection,
    QuicConnectionError,
    QuicConnectionState,
    QuicReceiveContext,
)
from aioquic.quic.packet import QuicErrorCode, QuicFrameType, encode_quic_retry, encode_quic_version_negotiation
from aioquic.quic.packet_builder import QuicPacketBuilder
from aioquic.quic.recovery import QuicPacketSpace
from aioquic.quic.stream import QuicStream

from node.wire.certificates import ShownCertificate, choosing, read_pair
from node.wire.http3 import Http3Library
from node.wire.initial import VERSION_1
from node.wire.library import (
    HANDSHAKE_MAX_BYTES,
    QuicLibrary,
    StreamGone,
    configured,
    events_of,
)

DATAGRAM_MAX_BYTES = 2048
"""Longer datagrams are dropped, as on a path of that MTU: clients probe for it (RFC 9000, 14.3)."""
_choose = choosing(tls)
GAPS_MAX = 128
"""Pieces of a stream kept behind a gap. A window of whole packets has no more than 30."""


@dataclass
class AioquicConfiguration(QuicConfiguration):
    """The library's own, with certificates of single protocols."""

    shown: Mapping[str, ShownCertificate] = field(default_factory=dict)


class AioquicConnection(QuicConnection):
    """A `node.wire.library.LibraryConnection`."""

    def __init__(self, *, configuration: AioquicConfiguration, **given: Any) -> None:
        super().__init__(configuration=configuration, **given)
        self._shown = configuration.shown

    @property
    def has_authenticated(self) -> bool:
        """Whether a packet has been decrypted."""
        return self._state is not QuicConnectionState.FIRSTFLIGHT

    def receive_many_datagrams(self, datagrams: list[bytes], addr: Any, now: float) -> None:
        """Take datagrams of one sender."""
        for datagram in datagrams:
            if len(datagram) <= DATAGRAM_MAX_BYTES:
                self.receive_datagram(datagram, addr, now)

    def datagrams_to_send(self, now: float) -> list[tuple[bytes, Any]]:
        """Datagrams to send now: none before the first was received."""
        return super().datagrams_to_send(now) if self._network_paths else []

    def send_stream_data(self, stream_id: int, data: bytes, end_stream: bool = False) -> None:
        """Queue bytes. Raises `StreamGone`."""
        try:
            super().send_stream_data(stream_id, data, end_stream)
        except (ValueError, RuntimeError) as error:
            raise StreamGone(str(error)) from None

    def stop_stream(self, stream_id: int, error_code: int) -> None:
        """Ask the peer to send no more. Raises `StreamGone`."""
        try:
            super().stop_stream(stream_id, error_code)
        except ValueError as error:
            raise StreamGone(str(error)) from None

    def reset_stream(self, stream_id: int, error_code: int) -> None:
        """Send no more. Raises `StreamGone`."""
        try:
            super().reset_stream(stream_id, error_code)
        except (ValueError, RuntimeError) as error:
            raise StreamGone(str(error)) from None

    def get_send_buffer_size(self) -> int:
        """Bytes of all streams that the peer has not acknowledged."""
        return sum(len(stream.sender._buffer) for stream in self._streams.values())

    def release(self) -> None:
        """Free everything: its handlers of frames refer to it, so the collector would have to find it."""
        self.__dict__.clear()

    def _initialize(self, peer_cid: bytes) -> None:
        super()._initialize(peer_cid)
        _choose(self.tls, self._shown)

    # -- what a peer may cost: the library calls these, with these arguments ------------------------

    def _handle_crypto_frame(self, context: QuicReceiveContext, frame_type: int, buf: Buffer) -> None:
        begin = buf.tell()
        end = buf.pull_uint_var() + buf.pull_uint_var()
        buf.seek(begin)
        if end > HANDSHAKE_MAX_BYTES:
            raise _exceeded(frame_type, f"more than {HANDSHAKE_MAX_BYTES} bytes of a handshake")
        super()._handle_crypto_frame(context, frame_type, buf)
        _check_gaps(self._crypto_streams[context.epoch], frame_type)

    def _handle_ack_frame(self, context: QuicReceiveContext, frame_type: int, buf: Buffer) -> None:
        begin = buf.tell()
        if buf.pull_uint_var() >= self._packet_number:
            reason = "an acknowledgement of a packet that was never sent"
            raise QuicConnectionError(QuicErrorCode.PROTOCOL_VIOLATION, frame_type, reason)
        buf.seek(begin)
        super()._handle_ack_frame(context, frame_type, buf)

    def _handle_stream_frame(self, context: QuicReceiveContext, frame_type: int, buf: Buffer) -> None:
        begin = buf.tell()
        stream_id = buf.pull_uint_var()
        buf.seek(begin)
        super()._handle_stream_frame(context, frame_type, buf)
        _check_gaps(self._streams[stream_id], frame_type)

    def _write_connection_limits(self, builder: QuicPacketBuilder, space: QuicPacketSpace) -> None:  # noqa: ARG002
        data = self._local_max_data
        receivers = [stream.receiver for stream in self._streams.values() if not stream.receiver.is_finished]
        unread = sum(receiver.highest_offset - receiver.starting_offset() for receiver in receivers)
        data.value = _moved(data.value, data.used - unread, self._configuration.max_data)
        for limit in (data, self._local_max_streams_bidi, self._local_max_streams_uni):
            left, more = limit.sent - limit.used, limit.value - limit.sent
            if more and (limit is data or left < more):
                arguments = (self._on_connection_limit_delivery, (limit,))
                buf = builder.start_frame(limit.frame_type, CONNECTION_LIMIT_FRAME_CAPACITY, *arguments)
                buf.push_uint_var(limit.value)
                limit.sent = limit.value

    def _write_stream_limits(
        self, builder: QuicPacketBuilder, space: QuicPacketSpace, stream: QuicStream  # noqa: ARG002
    ) -> None:
        assert stream.stream_id is not None, "only streams of handshakes have no number"
        if stream.receiver.is_finished:
            return
        read, window = stream.receiver.starting_offset(), self._configuration.max_stream_data
        stream.max_stream_data_local = _moved(stream.max_stream_data_local, read, window)
        if stream.max_stream_data_local_sent != stream.max_stream_data_local:
            arguments = (self._on_max_stream_data_delivery, (stream,))
            buf = builder.start_frame(QuicFrameType.MAX_STREAM_DATA, MAX_STREAM_DATA_FRAME_CAPACITY, *arguments)
            buf.push_uint_var(stream.stream_id)
            buf.push_uint_var(stream.max_stream_data_local)
            stream.max_stream_data_local_sent = stream.max_stream_data_local


def _moved(limit: int, read: int, window: int) -> int:
    """The limit of a window that begins at ``read``: moved on by half of the window or more, or not."""
    return read + window if read + window - limit >= window // 2 else limit


def _check_gaps(stream: QuicStream, frame_type: int) -> None:
    if len(stream.receiver._ranges) > GAPS_MAX:
        raise _exceeded(frame_type, f"more than {GAPS_MAX} pieces out of order")


def _exceeded(frame_type: int, what: str) -> QuicConnectionError:
    code = QuicErrorCode.CRYPTO_BUFFER_EXCEEDED if frame_type == QuicFrameType.CRYPTO else QuicErrorCode.INTERNAL_ERROR
    return QuicConnectionError(error_code=code, frame_type=frame_type, reason_phrase=what)


def http3() -> Http3Library:
    """Its HTTP/3, which is imported only where it is spoken."""
    from node.wire.aioquic_http3 import HTTP3

    return HTTP3


async def _listen(make: Callable[[], asyncio.DatagramProtocol], bound: socket.socket) -> asyncio.DatagramTransport:
    logging.getLogger("quic").setLevel(logging.ERROR)  # it warns of every connection that ends
    bound.setblocking(False)
    transport, _ = await asyncio.get_running_loop().create_datagram_endpoint(make, sock=bound)
    return transport


def _send(transport: asyncio.DatagramTransport, datagrams: list[tuple[bytes, Any]]) -> None:
    for datagram, address in datagrams:
        transport.sendto(datagram, address)


LIBRARY = QuicLibrary(
    connection=AioquicConnection,
    configuration=partial(configured, AioquicConfiguration, supported_versions=[VERSION_1]),
    read_pair=partial(read_pair, tls),
    events=events_of(events),
    faults=(QuicConnectionError,),
    encode_retry=encode_quic_retry,
    encode_versions=encode_quic_version_negotiation,
    listen=_listen,
    send=_send,
    http3=http3,
)
