"""The QUIC listener: qh3 around `ServerConnection`, with caps on connections, handshakes and answers."""

from __future__ import annotations

import asyncio
import ipaddress
import logging
import socket
from collections import Counter
from collections.abc import Callable, Coroutine
from typing import Any

import structlog
from qh3.asyncio._transport import create_optimized_datagram_transport
from qh3.asyncio.protocol import QuicConnectionProtocol
from qh3.asyncio.server import QuicServer
from qh3.quic import events as quic
from qh3.quic.configuration import QuicConfiguration
from qh3.quic.connection import QuicConnection, QuicConnectionError
from qh3.quic.retry import QuicRetryTokenHandler

from chain.errors import ZvmdError
from node.auth.tls import TlsFiles
from node.rpc.service import RpcService
from node.rpc.work import Client
from node.wire import codec
from node.wire.answers import Answerer
from node.wire.connection import ServerConnection, State
from node.wire.errors import PeerFault, SlowReader, WireError, WrongToken
from node.wire.events import ConnectionRefused, Greeted, Refused, RequestReceived, StreamEnded, StreamRefused
from node.wire.guests import check_guest
from node.wire.limits import WireLimits
from zvmd.frames import ALPN, PROTOCOL_VERSION, Welcome, encode_frame

_log = structlog.get_logger("wire")

CONNECTION_ID_BYTES = 8
DRAIN_POLL_S = 0.005
SOCKET_BUFFER_BYTES = 4 * 1024 * 1024


class WirePeer(QuicConnectionProtocol):
    """One connection: moves bytes between qh3 and the sans-IO state, and collects answers per loop turn."""

    def __init__(self, connection: QuicConnection, listener: WireListener, address: str) -> None:
        super().__init__(connection)
        self.address = address
        self.subscriptions: dict[int, asyncio.Task[None]] = {}
        self._listener = listener
        self._limits = listener.limits
        self._state = ServerConnection(listener.limits, listener.is_token, self._loop.time(), listener.is_guest)
        self._hello_timer = self._loop.call_at(self._state.hello_deadline, self._hello_expired)
        self._out: dict[int, list[bytes]] = {}
        self._out_scheduled = False
        self._unanswered: Counter[int] = Counter()
        self._half_closed: set[int] = set()
        self._ending: set[int] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._gone = False
        self.client = Client()

    # -- for the answerer --------------------------------------------------------------------------

    def write(self, stream_id: int, frames: bytes) -> None:
        """Queue frames; all of one loop turn leave together."""
        if self._gone:
            return
        self._out.setdefault(stream_id, []).append(frames)
        if not self._out_scheduled:
            self._out_scheduled = True
            self._loop.call_soon(self._flush)

    def answered(self, stream_id: int, size_bytes: int) -> None:
        """See `ServerConnection.answered`; a stream the peer has ended is ended after its last answer."""
        self._state.answered(size_bytes)
        self._unanswered[stream_id] -= 1
        if not self._unanswered[stream_id]:
            del self._unanswered[stream_id]
            if stream_id in self._half_closed:
                self._half_closed.remove(stream_id)
                self._end_stream(stream_id)

    def spawn(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """Run a task that is cancelled when the connection ends."""
        task = self._loop.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    async def drained(self) -> None:
        """Return when little is waiting to be sent."""
        while not self._gone and self._quic.get_send_buffer_size() > self._limits.unconfirmed_pause_bytes:
            await asyncio.sleep(DRAIN_POLL_S)

    # -- from qh3 ----------------------------------------------------------------------------------

    def datagram_received(self, data: bytes | str, addr: Any) -> None:
        assert isinstance(data, bytes)
        self._quic.receive_datagram(data, addr, now=self._loop.time())
        self._process_events()
        self._transmit_soon()

    def datagrams_received(self, data: list[bytes], addr: Any) -> None:
        self._quic.receive_many_datagrams(data, addr, now=self._loop.time())
        self._process_events()
        self._transmit_soon()

    def quic_event_received(self, event: quic.QuicEvent) -> None:
        """Called by qh3. A bug costs this connection, not the listener."""
        try:
            self._receive(event)
        except Exception as error:
            _log.error("connection_failed", peer=self.address, exc_info=error)
            self._refuse(1, PeerFault("a bug met on this connection"))

    def _receive(self, event: quic.QuicEvent) -> None:
        if isinstance(event, quic.StreamDataReceived):
            now = self._loop.time()
            for happened in self._state.receive(event.stream_id, event.data, event.end_stream, now):
                self._handle(happened)
        elif isinstance(event, quic.StreamReset | quic.StopSendingReceived):
            self._state.stream_reset(event.stream_id)
            self.client.leave(event.stream_id)
        elif isinstance(event, quic.HandshakeCompleted):
            self._listener.handshake_done(self)
        elif isinstance(event, quic.ConnectionTerminated):
            self._end()

    def _handle(self, event: object) -> None:
        if isinstance(event, RequestReceived) and self._admits(event):
            self._unanswered[event.stream_id] += 1
            self._listener.answerer.start(self, event.stream_id, event.request, event.size_bytes)
        elif isinstance(event, Greeted):
            self._hello_timer.cancel()
            self.write(event.stream_id, encode_frame(self._listener.welcome()))
        elif isinstance(event, StreamEnded):
            if event.stream_id in self._unanswered:
                self._half_closed.add(event.stream_id)
            else:
                self._end_stream(event.stream_id)
        elif isinstance(event, Refused):
            self.write(event.stream_id, encode_frame(codec.failure_of(event.request_id, event.error)))
        elif isinstance(event, StreamRefused):
            self.write(event.stream_id, encode_frame(codec.failure_of(0, event.error)))
            self._end_stream(event.stream_id)
            self._stop(event.stream_id, event.error)
        elif isinstance(event, ConnectionRefused):
            self._refuse(event.stream_id, event.error)

    def _admits(self, event: RequestReceived) -> bool:
        """Whether the peer may ask this; if not, it is answered here."""
        if self._state.guest is None:
            return True
        try:
            check_guest(event.request, self._state.guest)
        except WireError as error:
            self._state.answered(event.size_bytes)
            request_id = getattr(event.request, "id", 0)
            self.write(event.stream_id, encode_frame(codec.failure_of(request_id, error)))
            return False
        return True

    # -- the end -----------------------------------------------------------------------------------

    def _refuse(self, stream_id: int, error: WireError) -> None:
        if isinstance(error, WrongToken):
            self._listener.hello_failed(self.address)
        _log.warning("connection_refused", peer=self.address, code=error.code, reason=str(error))
        if stream_id % 4 == 0:
            self.write(stream_id, encode_frame(codec.failure_of(0, error)))
            self._flush()
            self.transmit()
        self._quic.close(error_code=error.quic_code, reason_phrase=error.code)
        self._transmit_soon()
        self._end()

    def _hello_expired(self) -> None:
        for event in self._state.expire(self._loop.time()):
            self._handle(event)

    def _stop(self, stream_id: int, error: WireError) -> None:
        try:
            self._quic.stop_stream(stream_id, error.quic_code)
        except (QuicConnectionError, ValueError, AssertionError):
            return  # the peer has ended it already

    def _end(self) -> None:
        if self._gone:
            return
        self._gone = True
        self.client.leave()
        self._state.state = State.CLOSED
        self._hello_timer.cancel()
        self._out.clear()
        for task in self._tasks:
            task.cancel()
        self._listener.peer_gone(self)

    def _end_stream(self, stream_id: int) -> None:
        self._ending.add(stream_id)
        self.write(stream_id, b"")

    def _flush(self) -> None:
        self._out_scheduled = False
        if self._gone:
            return
        out, self._out = self._out, {}
        for stream_id, frames in out.items():
            try:
                self._quic.send_stream_data(stream_id, b"".join(frames), end_stream=stream_id in self._ending)
            except (QuicConnectionError, ValueError, AssertionError, KeyError):
                self._state.stream_reset(stream_id)  # the peer has reset it; nobody reads the answer
        self._ending.clear()
        if self._transmit_task is not None:
            self._transmit_task.cancel()
        self.transmit()
        if self._quic.get_send_buffer_size() > self._limits.unconfirmed_max_bytes:
            self._refuse(1, SlowReader(f"{self._limits.unconfirmed_max_bytes} bytes are waiting"))

    def error_received(self, exc: Exception) -> None:
        """ICMP errors of a UDP socket: loss recovery deals with them."""


class WireListener(QuicServer):
    """All connections of a UDP socket."""

    def __init__(
        self,
        service: RpcService,
        limits: WireLimits,
        is_token: Callable[[bytes], bool],
        tls: TlsFiles,
        retry: bool,
    ) -> None:
        super().__init__(configuration=_configuration(limits, tls), create_protocol=self._make_peer)
        self.limits = limits
        self.is_token = is_token
        self.answerer = Answerer(service, limits.subscriptions_max, limits.receipt_wait_max_s)
        self._service = service
        self._peers: set[WirePeer] = set()
        self._half_open: set[WirePeer] = set()
        self._per_address: Counter[str] = Counter()
        self._hello_failures: dict[str, list[float]] = {}
        self._retry_always = retry
        self._retry_tokens = QuicRetryTokenHandler()
        self._from = ""

    @property
    def connections(self) -> int:
        """Open connections, greeted or not."""
        return len(self._peers)

    def welcome(self) -> Welcome:
        """Answer to a good Hello."""
        backend = self._service.backend
        limits = self.limits
        return Welcome(
            PROTOCOL_VERSION,
            backend.config.chain_id,
            backend.client_version,
            limits.request_frame_max_bytes,
            limits.in_flight_max,
        )

    def is_guest(self, token: bytes) -> bool:
        """Whether it is a share token of a session that still counts."""
        sessions = self._service.context.sessions
        try:
            return sessions is not None and sessions.live.enter(token.decode("ascii")).share > 0
        except (ZvmdError, UnicodeDecodeError):
            return False

    def use_certificate(self, tls: TlsFiles) -> None:
        """New connections get this certificate."""
        self._configuration = _configuration(self.limits, tls)

    def hello_failed(self, address: str) -> None:
        """Count a wrong token."""
        times = self._hello_failures.setdefault(address, [])
        times.append(self._loop.time())
        del times[: -self.limits.hello_failures_per_s]
        if len(self._hello_failures) > 4096:
            self._hello_failures.clear()

    def handshake_done(self, peer: WirePeer) -> None:
        """A peer proved its address."""
        self._half_open.discard(peer)

    def peer_gone(self, peer: WirePeer) -> None:
        """A connection ended."""
        if peer in self._peers:
            self._peers.remove(peer)
            self._half_open.discard(peer)
            self._per_address[peer.address] -= 1
            if not self._per_address[peer.address]:
                del self._per_address[peer.address]

    def datagrams_received(self, data: list[bytes], addr: Any) -> None:
        """A burst of one sender: short-header packets of one connection are taken together."""
        first = data[0]
        if not first[0] & 0x80:
            name = first[1 : 1 + CONNECTION_ID_BYTES]
            peer = self._protocols.get(name)
            if peer is not None and all(
                not item[0] & 0x80 and item[1 : 1 + CONNECTION_ID_BYTES] == name for item in data
            ):
                peer.datagrams_received(data, addr)
                return
        for item in data:
            self.datagram_received(item, addr)

    def datagram_received(self, data: bytes | str, addr: Any) -> None:
        assert isinstance(data, bytes)
        if not data:
            return
        if data[0] & 0x80 and len(data) > 6 and data[6 : 6 + data[5]] not in self._protocols:
            self._from = addr[0]
            if not self._admits(self._from):
                return
            busy = len(self._half_open) >= self.limits.half_open_before_retry
            self._retry = self._retry_tokens if busy or self._retry_always else None  # type: ignore[assignment]
        super().datagram_received(data, addr)

    def error_received(self, exc: Exception) -> None:
        """ICMP errors of the socket are no news: peers that are gone time out."""

    def close(self) -> None:
        """Close every connection and the socket."""
        for peer in list(self._peers):
            peer.close()
            peer._end()
        super().close()  # type: ignore[no-untyped-call]

    def _admits(self, address: str) -> bool:
        failures = self._hello_failures.get(address, [])
        if len(failures) >= self.limits.hello_failures_per_s and self._loop.time() - failures[-1] < 1.0:
            return False
        return (
            len(self._peers) < self.limits.connections_max
            and self._per_address[address] < self.limits.connections_per_address_max
        )

    def _make_peer(self, connection: QuicConnection, stream_handler: object = None) -> WirePeer:  # noqa: ARG002
        peer = WirePeer(connection, self, self._from)
        self._peers.add(peer)
        self._half_open.add(peer)
        self._per_address[self._from] += 1
        return peer

    def _connection_terminated(self, protocol: QuicConnectionProtocol) -> None:
        super()._connection_terminated(protocol)
        if isinstance(protocol, WirePeer):
            self.peer_gone(protocol)


def _configuration(limits: WireLimits, tls: TlsFiles) -> QuicConfiguration:
    configuration = QuicConfiguration(
        is_client=False,
        alpn_protocols=[ALPN],
        connection_id_length=CONNECTION_ID_BYTES,
        idle_timeout=limits.idle_timeout_s,
        max_data=limits.connection_buffer_max_bytes,
        max_stream_data=limits.request_frame_max_bytes * 2,
    )
    configuration.load_cert_chain(str(tls.certificate), str(tls.key))
    return configuration


def open_socket(host: str, port: int) -> socket.socket:
    """A bound UDP socket."""
    family = socket.AF_INET6 if ipaddress.ip_address(host).version == 6 else socket.AF_INET
    opened = socket.socket(family, socket.SOCK_DGRAM)
    try:
        for option in (socket.SO_RCVBUF, socket.SO_SNDBUF):
            opened.setsockopt(socket.SOL_SOCKET, option, SOCKET_BUFFER_BYTES)
        opened.bind((host, port))
    except BaseException:
        opened.close()
        raise
    return opened


async def serve_wire(
    service: RpcService,
    bound: socket.socket,
    tls: TlsFiles,
    is_token: Callable[[bytes], bool],
    limits: WireLimits | None = None,
) -> WireListener:
    """Listen on a bound UDP socket (`open_socket`, or one passed in by the service manager)."""
    retry = not ipaddress.ip_address(bound.getsockname()[0]).is_loopback
    logging.getLogger("quic").setLevel(logging.ERROR)  # qh3 warns of every connection that ends
    _, listener = await create_optimized_datagram_transport(
        asyncio.get_running_loop(),
        lambda: WireListener(service, limits or WireLimits(), is_token, tls, retry),
        bound,
    )
    assert isinstance(listener, WireListener)
    return listener
