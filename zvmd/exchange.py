"""What a client does on a connection, whatever carries its bytes: answers matched by id, streams of events."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Mapping
from typing import Any, TypeVar

import msgspec

from zvmd.errors import SERVER_ERROR, ConnectionFailed, SlowConsumer, ZvmdError, error_from
from zvmd.frames import (
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


class Exchange:
    """The half of a client that is the same over QUIC and over a unix socket. Not thread safe.

    Whoever carries the bytes overrides the methods of the last section, and calls `received` and `_lose`.
    """

    welcome: Welcome

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._buffers: dict[int, FrameBuffer] = {}
        self._waiting: dict[int, asyncio.Future[Any]] = {}
        self._queues: dict[int, EventQueue] = {}
        self._queue_of_request: dict[int, EventQueue] = {}
        self._next_id = 1
        self._out: dict[int, list[bytes]] = {}
        self._flush_scheduled = False
        self._greeting: asyncio.Future[Welcome] = self._loop.create_future()
        self._room: deque[asyncio.Future[None]] = deque()
        self._in_flight_max = 1
        self._lost: ZvmdError | None = None

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
        self.welcome = await self._greeting
        self._in_flight_max = self.welcome.in_flight_max
        return self.welcome

    async def subscribe(
        self,
        kind: str,
        addresses: list[bytes],
        topics: list[list[bytes]],
        cursor: Cursor | None,
        session: int | str | None = None,
    ) -> EventQueue:
        """Start an event stream."""
        stream_id = self._new_stream()
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
                self._send({queue.stream_id: [farewell]}, end=True)
            except ConnectionFailed as error:
                self._lose(error)

    async def events(self, queue: EventQueue) -> AsyncIterator[AnyEvent]:
        """Events of a subscription until it ends."""
        try:
            while True:
                yield await queue.get()
        finally:
            self.unsubscribe(queue)

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
            self._send(out)
        except ConnectionFailed as error:
            self._lose(error)

    def received(self, stream_id: int, data: bytes) -> None:
        """Bytes of the node."""
        buffer = self._buffers.get(stream_id)
        if buffer is None:
            buffer = self._buffers[stream_id] = FrameBuffer(ANSWER_FRAME_MAX_BYTES)
        for body in buffer.feed(data):
            try:
                self._answered(decode_answer(body))
            except msgspec.DecodeError as error:
                self._lose(ConnectionFailed(f"an answer cannot be read: {error}", code="client.protocol"))
        if buffer.oversized_bytes:
            self._lose(ConnectionFailed("an answer is too large", code="client.protocol"))

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
            queue = self._queues.pop(answer.subscription, None)
            if queue is not None:
                queue.end(error_from(answer.code, SERVER_ERROR, answer.message, "", None))
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
        self._close()

    # What carries the bytes

    def _new_stream(self) -> int:
        """The stream for a subscription."""
        return REQUEST_STREAM

    def _send(self, frames: Mapping[int, list[bytes]], end: bool = False) -> None:
        """Send frames by stream; with ``end`` they are the last of a subscription's.

        Raises `ConnectionFailed` if the connection is over.
        """
        raise NotImplementedError

    def _close(self) -> None:
        """End the connection, and let the node know."""
        raise NotImplementedError

    def _release(self) -> None:
        """Give the socket back."""


def ended(reason: str) -> ConnectionFailed:
    """The error of a connection that is over."""
    hint = "is the node running? what was not answered may have happened"
    return ConnectionFailed(reason or "the connection ended", code="client.lost", hint=hint)


def _refused(reason: Failure) -> ConnectionFailed:
    """The error of a connection that the node ends for a reason which elsewhere concerns one request only."""
    return ConnectionFailed(reason.message, code=reason.code, hint=reason.hint, rpc_code=reason.rpc_code)


async def shut(connection: Exchange) -> None:
    """Send what is to be sent, and close connection and socket."""
    connection._flush()
    connection._lose(ConnectionFailed("the client was closed", code="client.closed"))
    connection._release()
