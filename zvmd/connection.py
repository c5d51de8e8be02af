"""A QUIC connection to a node: requests out, answers matched by id, event streams."""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections import deque
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, TypeVar

import msgspec
from qh3.asyncio._transport import create_optimized_datagram_transport
from qh3.asyncio.protocol import QuicConnectionProtocol
from qh3.quic import events as quic
from qh3.quic.configuration import QuicConfiguration
from qh3.quic.connection import QuicConnection, QuicConnectionError

from zvmd.endpoint import Endpoint
from zvmd.errors import SERVER_ERROR, ConnectionFailed, SlowConsumer, ZvmdError, error_from
from zvmd.frames import (
    ALPN,
    ANSWER_FRAME_MAX_BYTES,
    PROTOCOL_VERSION,
    Answer,
    Cursor,
    Failure,
    Frame,
    FrameBuffer,
    HeadEvent,
    Hello,
    LogEvent,
    SessionEvent,
    Subscribe,
    Subscribed,
    SubscriptionEnded,
    TransactionEvent,
    Unsubscribe,
    Welcome,
    decode_answer,
    encode_frame,
)

AnswerT = TypeVar("AnswerT", bound=Frame)
Event = HeadEvent | LogEvent
AnyEvent = Event | SessionEvent | TransactionEvent

REQUEST_STREAM = 0
SERVER_NAME = "zvmd"
"""A name in every node's certificate, whatever its address."""
SOCKET_BUFFER_BYTES = 4 * 1024 * 1024
PING_SECONDS = 1.0
"""While something is awaited: nothing else would be sent, and only what is sent finds a killed node's port closed."""
SILENCE_SECONDS = 20.0
"""Pings without any answer for so long: another process has the port by now, and knows nothing of this connection."""
EVENTS_QUEUED_MAX = 65_536
"""Events not yet consumed; above, the subscription ends and can be resumed with its cursor."""


class EventQueue:
    """Events of one subscription."""

    def __init__(self) -> None:
        self.number = 0
        self.stream_id = 0
        self._events: deque[AnyEvent] = deque()
        self._error: ZvmdError | None = None
        self._wake = asyncio.Event()

    def put(self, event: AnyEvent) -> None:
        """Add an event."""
        if len(self._events) >= EVENTS_QUEUED_MAX:
            message = f"{EVENTS_QUEUED_MAX} events were not consumed"
            self.end(SlowConsumer(message, hint="subscribe again with the last cursor"))
            return
        self._events.append(event)
        self._wake.set()

    def end(self, error: ZvmdError) -> None:
        """No more events."""
        self._error = self._error or error
        self._wake.set()

    async def get(self) -> AnyEvent:
        """The next event. Raises the error that ended the stream."""
        while not self._events:
            if self._error is not None:
                raise self._error
            self._wake.clear()
            await self._wake.wait()
        return self._events.popleft()


class WireConnection(QuicConnectionProtocol):
    """The asyncio half of a client. Not thread safe."""

    welcome: Welcome

    def __init__(self, quic_connection: QuicConnection) -> None:
        super().__init__(quic_connection)
        self._buffers: dict[int, FrameBuffer] = {}
        self._waiting: dict[int, asyncio.Future[Any]] = {}
        self._queues: dict[int, EventQueue] = {}
        self._queue_of_request: dict[int, EventQueue] = {}
        self._next_id = 1
        self._next_stream = REQUEST_STREAM + 4
        self._out: dict[int, list[bytes]] = {}
        self._flush_scheduled = False
        self._greeting: asyncio.Future[Welcome] = self._loop.create_future()
        self._room: deque[asyncio.Future[None]] = deque()
        self._in_flight_max = 1
        self._lost: ZvmdError | None = None
        self._pings = 0
        self._heard = 0.0
        """When the node's last datagram came, or the first of the pings that ask for one was sent."""

    # Requests

    def next_id(self) -> int:
        """A request id never used on this connection."""
        self._next_id += 1
        return self._next_id

    async def request(
        self, message: Frame, request_id: int, expected: type[AnswerT], stream_id: int = 0
    ) -> AnswerT:
        """Send and wait for the answer. Raises `ZvmdError`."""
        if self._lost is not None:
            raise self._lost
        while len(self._waiting) >= self._in_flight_max:
            room: asyncio.Future[None] = self._loop.create_future()
            self._room.append(room)
            await room
        future: asyncio.Future[Any] = self._loop.create_future()
        self._waiting[request_id] = future
        self._write(stream_id, encode_frame(message))
        try:
            answer = await future
        finally:
            self._waiting.pop(request_id, None)
            while self._room:
                room = self._room.popleft()
                if not room.done():
                    room.set_result(None)
                    break
        assert isinstance(answer, expected), f"{type(answer).__name__} answers {type(message).__name__}"
        return answer

    async def greet(self, token: str, client: str) -> Welcome:
        """Say Hello. Raises `ConnectionFailed`."""
        self._write(REQUEST_STREAM, encode_frame(Hello(PROTOCOL_VERSION, token.encode(), client)))
        self._heard = self._loop.time()
        self._loop.call_later(PING_SECONDS, self._ping_while_waiting)
        self.welcome = await self._greeting
        self._in_flight_max = self.welcome.in_flight_max
        return self.welcome

    def _ping_while_waiting(self) -> None:
        if self._lost is not None:
            return
        now = self._loop.time()
        if not (self._waiting or self._queues) and self._greeting.done():
            self._heard = now
        elif now - self._heard > SILENCE_SECONDS:
            self._lose(_ended(f"no answer for {SILENCE_SECONDS:g} s"))
            return
        else:
            self._pings += 1
            try:
                self._quic.send_ping(self._pings)
                self.transmit()
            except QuicConnectionError as error:
                self._lose(_ended(error.reason_phrase))
                return
        self._loop.call_later(PING_SECONDS, self._ping_while_waiting)

    async def subscribe(
        self,
        kind: str,
        addresses: list[bytes],
        topics: list[list[bytes]],
        cursor: Cursor | None,
        session: int | str | None = None,
    ) -> EventQueue:
        """Start an event stream on a QUIC stream of its own."""
        stream_id, self._next_stream = self._next_stream, self._next_stream + 4
        request_id = self.next_id()
        queue = EventQueue()
        queue.stream_id = stream_id
        self._queue_of_request[request_id] = queue
        message = Subscribe(request_id, kind, addresses, topics, cursor, session)
        try:
            await self.request(message, request_id, Subscribed, stream_id)
        finally:
            self._queue_of_request.pop(request_id, None)
        return queue

    def unsubscribe(self, queue: EventQueue) -> None:
        """End an event stream without waiting."""
        if self._queues.pop(queue.number, None) is not None and self._lost is None:
            farewell = encode_frame(Unsubscribe(self.next_id(), queue.number))
            try:
                self._quic.send_stream_data(queue.stream_id, farewell, end_stream=True)
            except QuicConnectionError as error:
                self._lose(_ended(error.reason_phrase))
            else:
                self._transmit_soon()

    # Bytes

    def _write(self, stream_id: int, frame: bytes) -> None:
        self._out.setdefault(stream_id, []).append(frame)
        if not self._flush_scheduled:
            self._flush_scheduled = True
            self._loop.call_soon(self._flush)

    def _flush(self) -> None:
        self._flush_scheduled = False
        if self._lost is not None:
            return
        out, self._out = self._out, {}
        try:
            for stream_id, frames in out.items():
                self._quic.send_stream_data(stream_id, b"".join(frames))
            self.transmit()
        except QuicConnectionError as error:
            self._lose(_ended(error.reason_phrase))

    def quic_event_received(self, event: quic.QuicEvent) -> None:
        """Called by qh3."""
        if isinstance(event, quic.StreamDataReceived):
            buffer = self._buffers.get(event.stream_id)
            if buffer is None:
                buffer = self._buffers[event.stream_id] = FrameBuffer(ANSWER_FRAME_MAX_BYTES)
            for body in buffer.feed(event.data):
                try:
                    self._answered(decode_answer(body))
                except msgspec.DecodeError as error:
                    self._lose(ConnectionFailed(f"an answer cannot be read: {error}", code="client.protocol"))
            if buffer.oversized_bytes:
                self._lose(ConnectionFailed("an answer is too large", code="client.protocol"))
        elif isinstance(event, quic.ConnectionTerminated):
            self._lose(_ended(event.reason_phrase))

    def _answered(self, answer: Answer) -> None:
        if isinstance(answer, (HeadEvent, LogEvent, SessionEvent, TransactionEvent)):
            queue = self._queues.get(answer.subscription)
            if queue is not None:
                queue.put(answer)
        elif isinstance(answer, Welcome):
            if not self._greeting.done():
                self._greeting.set_result(answer)
        elif isinstance(answer, Failure):
            self._failed(answer)
        elif isinstance(answer, SubscriptionEnded):
            ended = self._queues.pop(answer.subscription, None)
            if ended is not None:
                ended.end(error_from(answer.code, SERVER_ERROR, answer.message, "", None))
        else:
            if isinstance(answer, Subscribed):
                # Events may be in the same packet: the queue must be known before the waiter wakes up.
                opened = self._queue_of_request.get(answer.id)
                if opened is not None:
                    opened.number = answer.subscription
                    self._queues[answer.subscription] = opened
            future = self._waiting.get(answer.id)
            if future is not None and not future.done():
                future.set_result(answer)

    def _failed(self, answer: Failure) -> None:
        error = error_from(answer.code, answer.rpc_code, answer.message, answer.hint, answer.data)
        if answer.id:
            future = self._waiting.get(answer.id)
            if future is not None and not future.done():
                future.set_exception(error)
        else:
            self._lose(error if isinstance(error, ConnectionFailed) else _refused(answer))

    def _lose(self, error: ZvmdError) -> None:
        if self._lost is not None:
            return
        self._lost = error
        futures = [self._greeting, *self._waiting.values(), *self._room]
        for future in futures:
            if not future.done():
                future.set_exception(error)
                future.exception()  # nobody may be waiting: that needs no warning
        for queue in self._queues.values():
            queue.end(error)
        self.close()

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

    async def events(self, queue: EventQueue) -> AsyncIterator[AnyEvent]:
        """Events of a subscription until it ends."""
        try:
            while True:
                yield await queue.get()
        finally:
            self.unsubscribe(queue)


def _ended(reason: str) -> ConnectionFailed:
    """The error of a connection that is over. qh3 tells so by an event or, when the event comes later, by an
    exception from whatever is called before."""
    hint = "is the node running? what was not answered may have happened"
    return ConnectionFailed(reason or "the connection ended", code="client.lost", hint=hint)


def _refused(reason: Failure) -> ConnectionFailed:
    """The error of a connection that the node ends for a reason which elsewhere concerns one request only."""
    return ConnectionFailed(reason.message, code=reason.code, hint=reason.hint, rpc_code=reason.rpc_code)


async def open_connection(endpoint: Endpoint, client: str, timeout_s: float) -> WireConnection:
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


async def shut(connection: WireConnection) -> None:
    """Close connection and socket."""
    connection._flush()
    connection._lose(ConnectionFailed("the client was closed", code="client.closed"))
    transport = connection._transport
    if transport is not None:
        transport.close()
