"""A connection to a node over QUIC."""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from qh3.asyncio._transport import create_optimized_datagram_transport
from qh3.asyncio.protocol import QuicConnectionProtocol
from qh3.quic import events as quic
from qh3.quic.configuration import QuicConfiguration
from qh3.quic.connection import QuicConnection, QuicConnectionError

from zvmd.endpoint import QuicEndpoint
from zvmd.errors import ConnectionFailed
from zvmd.exchange import REQUEST_STREAM, Exchange, ended, shut
from zvmd.frames import ALPN, ANSWER_FRAME_MAX_BYTES, Welcome

SERVER_NAME = "zvmd"
"""A name in every node's certificate, whatever its address."""
SOCKET_BUFFER_BYTES = 4 * 1024 * 1024
PING_SECONDS = 1.0
"""While something is awaited: nothing else would be sent, and only what is sent finds a killed node's port closed."""
SILENCE_SECONDS = 20.0
"""Pings without any answer for so long: another process has the port by now, and knows nothing of this connection."""


class WireConnection(Exchange, QuicConnectionProtocol):
    """The asyncio half of a client. Not thread safe."""

    def __init__(self, quic_connection: QuicConnection) -> None:
        QuicConnectionProtocol.__init__(self, quic_connection)
        Exchange.__init__(self)
        self._next_stream = REQUEST_STREAM + 4
        self._pings = 0
        self._heard = 0.0
        """When the node's last datagram came, or the first of the pings that ask for one was sent."""

    async def greet(self, token: str, client: str) -> Welcome:
        """Say Hello. Raises `ConnectionFailed`."""
        self._heard = self._loop.time()
        self._loop.call_later(PING_SECONDS, self._ping_while_waiting)
        return await super().greet(token, client)

    def _ping_while_waiting(self) -> None:
        if self._lost is not None:
            return
        now = self._loop.time()
        if not (self._waiting or self._queues) and self._greeting.done():
            self._heard = now
        elif now - self._heard > SILENCE_SECONDS:
            self._lose(ended(f"no answer for {SILENCE_SECONDS:g} s"))
            return
        else:
            self._pings += 1
            try:
                self._quic.send_ping(self._pings)
                self.transmit()
            except QuicConnectionError as error:
                self._lose(ended(error.reason_phrase))
                return
        self._loop.call_later(PING_SECONDS, self._ping_while_waiting)

    def _new_stream(self) -> int:
        """Each subscription has one of its own."""
        stream_id, self._next_stream = self._next_stream, self._next_stream + 4
        return stream_id

    def _send(self, frames: Mapping[int, list[bytes]], end: bool = False) -> None:
        try:
            for stream_id, parts in frames.items():
                self._quic.send_stream_data(stream_id, b"".join(parts), end_stream=end)
            self.transmit()
        except QuicConnectionError as error:  # qh3 also tells by an event, which may come later
            raise ended(error.reason_phrase) from None

    def _close(self) -> None:
        self.close()

    def _release(self) -> None:
        if self._transport is not None:
            self._transport.close()

    def quic_event_received(self, event: quic.QuicEvent) -> None:
        """Called by qh3."""
        if isinstance(event, quic.StreamDataReceived):
            self.received(event.stream_id, event.data)
        elif isinstance(event, quic.ConnectionTerminated):
            self._lose(ended(event.reason_phrase))

    def datagrams_received(self, data: list[bytes], addr: Any) -> None:
        """A burst: one acknowledgement for all, with what we have to send."""
        self._heard = self._loop.time()
        self._quic.receive_many_datagrams(data, addr, now=self._heard)
        self._process_events()
        self._transmit_soon()

    def error_received(self, exc: Exception) -> None:
        """The node's port is closed (ICMP)."""
        if isinstance(exc, ConnectionRefusedError):
            self._lose(
                ConnectionFailed("nothing listens there", code="client.refused", hint="is the node running?")
            )


async def open_connection(endpoint: QuicEndpoint, client: str, timeout_s: float) -> WireConnection:
    """Connect, check the certificate, authenticate. Raises `ConnectionFailed`."""
    loop = asyncio.get_running_loop()
    configuration = QuicConfiguration(
        is_client=True, alpn_protocols=[ALPN], server_name=SERVER_NAME, idle_timeout=60.0
    )
    configuration.max_data = configuration.max_stream_data = 2 * ANSWER_FRAME_MAX_BYTES
    _check_certificate(endpoint.certificate)
    configuration.load_verify_locations(cafile=str(endpoint.certificate))
    infos = await loop.getaddrinfo(endpoint.host, endpoint.port, type=socket.SOCK_DGRAM)
    family, _, _, _, address = infos[0]
    opened = socket.socket(family, socket.SOCK_DGRAM)
    for option in (socket.SO_RCVBUF, socket.SO_SNDBUF):
        opened.setsockopt(socket.SOL_SOCKET, option, SOCKET_BUFFER_BYTES)
    opened.connect(address)  # so that a closed port is reported at once (ICMP)
    _, protocol = await create_optimized_datagram_transport(
        loop, lambda: WireConnection(QuicConnection(configuration=configuration)), opened
    )
    assert isinstance(protocol, WireConnection)
    try:
        async with asyncio.timeout(timeout_s):
            protocol.connect(address)
            await protocol.wait_connected()
            await protocol.greet(endpoint.token, client)
    except (TimeoutError, ConnectionError) as error:
        lost = protocol._lost
        await shut(protocol)
        if lost is not None and lost.code != "client.lost":
            raise lost from None
        detail = lost.message if lost is not None else f"no answer within {timeout_s:g} s"
        hint = "is the node running, and is the certificate its own?"
        message = f"{endpoint.host}:{endpoint.port}: {detail}"
        raise ConnectionFailed(message, code="client.connect", hint=hint) from error
    except BaseException:
        await shut(protocol)
        raise
    return protocol


def _check_certificate(path: Path) -> None:
    """Refuse a file that holds no certificate: qh3 reads it in the middle of the handshake, which would only time out.

    Raises `ConnectionFailed`.
    """
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(cafile=path)
    except OSError as error:
        hint = "restart the node, which recreates it, or copy the node's tls/authority.pem again"
        message = f"{path} does not hold a certificate: {error.strerror or error}"
        raise ConnectionFailed(message, code="client.certificate", hint=hint) from None
