"""One QUIC connection of the listener: moves bytes between library and sans-IO state, and ends in one place."""

from __future__ import annotations

import asyncio
from collections import Counter, deque
from collections.abc import Callable, Coroutine
from functools import cache, partial
from typing import Any, Protocol

import structlog

from chain.errors import ZvmdError
from node.doors.doors import Stay
from node.doors.visitor import Verdict
from node.ops.slices import LoopSlice
from node.rpc.caller import Caller
from node.rpc.errors import RateExceeded
from node.rpc.work import ConnectedClient
from node.wire import codec
from node.wire.answers import Answerer
from node.wire.connection import ConnectionState, ServerConnection
from node.wire.errors import HelloTooLong, PeerFault, PlaceNeeded, SlowReader, TooManyConnections, WireError, WrongToken
from node.wire.events import (
    ConnectionRefused,
    Greeted,
    LargeFrameReceived,
    RequestReceived,
    RequestRefused,
    StreamEnded,
    StreamRefused,
)
from node.wire.library import DATAGRAMS_SENT_MAX, Events, LibraryConnection, QuicLibrary, StreamGone
from node.wire.limits import WireLimits
from node.wire.rights import check_rights
from zvmd.frames import Welcome, encode_frame

_log = structlog.get_logger("wire")

DRAIN_POLL_S = 0.005
DATAGRAMS_AT_ONCE = 8
"""Given to the library together."""
PIECE_BYTES = 1024
"""Bytes of a stream that are looked at together: about twenty small requests."""
CLOSING_S = 3.0
"""How long at most an ended connection answers with its close (RFC 9000, 10.2) before its state is freed."""


class Listener(Protocol):
    """What a connection needs from its listener."""

    limits: WireLimits
    answerer: Answerer
    library: QuicLibrary

    def enter(self, address: str, token: bytes) -> Verdict:
        """Who comes in with a token."""

    def stay(self, end: Callable[[], None]) -> Stay:
        """A connection has come; ``end`` closes it at once."""

    def welcome(self) -> Welcome: ...

    def proved(self, peer: WirePeer) -> None:
        """The handshake is finished."""

    def greeted(self, peer: WirePeer) -> None:
        """A valid Hello arrived."""

    def peer_gone(self, peer: WirePeer) -> None:
        """The connection has ended; its place is free."""

    def forget(self, peer: WirePeer) -> None:
        """Hand this connection no more datagrams."""

    def named(self, peer: WirePeer, connection_id: bytes) -> None:
        """Datagrams with this connection ID are the peer's."""

    def unnamed(self, peer: WirePeer, connection_id: bytes) -> None:
        """Datagrams with this connection ID are no longer the peer's."""


class WirePeer:
    """One connection. The answers of one turn of the loop are sent together.

    An exception while handling its datagrams, timers and answers ends this connection only, and every ending goes
    through `_end`, which frees its place.
    """

    def __init__(
        self, quic: LibraryConnection, listener: Listener, transport: asyncio.DatagramTransport, address: str
    ) -> None:
        self.address = address
        self.names: set[bytes] = set()
        """Connection IDs by which the listener knows it."""
        self.subscriptions: dict[int, asyncio.Task[None]] = {}
        self.client = ConnectedClient()
        self._quic = quic
        self._transport = transport
        self._listener = listener
        self._limits = listener.limits
        self._loop = asyncio.get_running_loop()
        self._state = ServerConnection(listener.limits, partial(listener.enter, address), self._loop.time())
        self._stay = listener.stay(self._ended_by_owner)
        self._hello_timer = self._loop.call_at(self._state.hello_deadline, self._guarded, self._hello_expired)
        self._datagrams_before_hello = 0
        self._handlers = _handlers(listener.library.events)
        self._timer: asyncio.TimerHandle | None = None
        self._timer_at: float | None = None
        self._arrived: deque[tuple[bytes, Any]] = deque()
        """Datagrams that wait for their turn, with their senders."""
        self._pieces: deque[tuple[int, bytes, bool]] = deque()
        """Bytes of streams that wait for theirs; with the last of a stream, that it ends."""
        self._working: asyncio.Handle | None = None
        """The next turn, if there is more to do than one allows."""
        self._transmission: asyncio.Handle | None = None
        self._out: dict[int, list[bytes]] = {}
        self._out_scheduled = False
        self._unanswered: Counter[int] = Counter()
        self._half_closed: set[int] = set()
        self._ending: set[int] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._gone = False
        self._closing_timer: asyncio.TimerHandle | None = None
        self._forgotten = False

    @property
    def has_authenticated(self) -> bool:
        """Whether any of its packets could be decrypted."""
        return not self._forgotten and self._quic.has_authenticated

    @property
    def caller(self) -> Caller:
        """Who it is."""
        return self._state.caller

    # -- for the answerer --------------------------------------------------------------------------

    def write(self, stream_id: int, frames: bytes) -> None:
        """Queue frames; those of one loop turn are sent together."""
        if self._gone:
            return
        self._out.setdefault(stream_id, []).append(frames)
        if not self._out_scheduled:
            self._out_scheduled = True
            self._loop.call_soon(self._guarded, self._flush)

    def answered(self, stream_id: int, size_bytes: int) -> None:
        """See `ServerConnection.answered`; a stream the peer has ended is ended after its last answer."""
        self._state.answered(size_bytes)
        self._one_less(stream_id)

    def _one_less(self, stream_id: int) -> None:
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

    # -- the library -------------------------------------------------------------------------------

    def datagrams_received(self, data: list[bytes], addr: Any, turn: LoopSlice | None = None) -> None:
        """Take datagrams of one sender, at once while the ``turn`` of the loop is not over, else in the next one.

        Datagrams that arrive faster than they can be handled are lost, as on a network.
        """
        if self._forgotten:
            return
        room = self._limits.datagrams_waiting_max - len(self._arrived)
        self._arrived += [(item, addr) for item in data[:room]]
        if self._working is not None:
            return
        if turn is not None and turn.is_over:
            self._working = self._loop.call_soon(self._guarded, self._work)
        else:
            self._guarded(self._work, turn)

    def _work(self, turn: LoopSlice | None = None) -> None:
        """Handle what has arrived, as far as this turn allows: bytes of streams, then events, then datagrams."""
        if self._working is not None:
            self._working.cancel()
            self._working = None
        turn = turn or LoopSlice()
        while not self._forgotten:
            if self._pieces:
                self._stream_piece(*self._pieces.popleft())
            elif (event := self._quic.next_event()) is not None:
                handle = self._handlers.get(type(event))
                if handle is not None:
                    handle(self, event)
            elif self._arrived:
                self._take(*self._next_datagrams())
                self._transmit_soon()
            else:
                return
            if turn.is_over and not self._forgotten:
                self._working = self._loop.call_soon(self._guarded, self._work)
                return

    def _next_datagrams(self) -> tuple[list[bytes], Any]:
        """Some datagrams of one sender."""
        data, addr = self._arrived.popleft()
        taken = [data]
        while self._arrived and len(taken) < DATAGRAMS_AT_ONCE and self._arrived[0][1] == addr:
            taken.append(self._arrived.popleft()[0])
        return taken, addr

    def _take(self, data: list[bytes], addr: Any) -> None:
        if self._state.state is not ConnectionState.OPEN and not self._gone:
            self._datagrams_before_hello += len(data)
            if self._datagrams_before_hello > self._limits.hello_datagrams_max:
                self._refuse(1, HelloTooLong(f"{self._datagrams_before_hello} datagrams"))
                return
        self._quic.receive_many_datagrams(data, addr, now=self._loop.time())

    def _transmit_soon(self) -> None:
        if self._transmission is None and not self._forgotten:
            self._transmission = self._loop.call_soon(self._guarded, self._transmit)

    def _transmit(self) -> None:
        """Send what is to be sent now, and set the timer."""
        if self._transmission is not None:
            self._transmission.cancel()
            self._transmission = None
        if self._forgotten:
            return
        if datagrams := self._quic.datagrams_to_send(now=self._loop.time()):
            self._listener.library.send(self._transport, datagrams)
            self._work()
        if len(datagrams) >= DATAGRAMS_SENT_MAX:
            self._transmit_soon()
        if not self._forgotten:
            self._set_timer(self._quic.get_timer())

    def _set_timer(self, due: float | None) -> None:
        if due == self._timer_at:
            return
        if self._timer is not None:
            self._timer.cancel()
        self._timer = None if due is None else self._loop.call_at(due, self._guarded, self._timer_expired)
        self._timer_at = due

    def _timer_expired(self) -> None:
        assert self._timer_at is not None
        now = max(self._timer_at, self._loop.time())
        self._timer = self._timer_at = None
        self._quic.handle_timer(now=now)
        self._work()
        self._transmit()

    def _guarded(self, work: Callable[..., None], *arguments: Any) -> None:
        """Run ``work`` for this connection; an exception ends the connection, not the listener."""
        try:
            work(*arguments)
        except (KeyboardInterrupt, SystemExit):
            raise
        except BaseException as error:  # a panic in a library's Rust is not an Exception
            trace = None if isinstance(error, self._listener.library.faults) else error
            _log.error("connection_failed", peer=self.address, reason=str(error), exc_info=trace)
            self.drop(PeerFault("a bug in zvmd ended a connection"))

    def drop(self, reason: WireError | None = None) -> None:
        """End the connection at once. A reason is sent to the peer if that is still possible."""
        try:
            if reason is not None and not self._gone:
                self._say_goodbye(reason.quic_code, reason.code)
        finally:
            self._finish()

    def leave(self) -> None:
        """End the connection at once because the node stops."""
        try:
            if not self._gone:
                self._say_goodbye(0, "")
        finally:
            self._finish()

    def _say_goodbye(self, code: int, reason: str) -> None:
        try:
            self._quic.close(error_code=code, reason_phrase=reason)
            self._transmit()
        except Exception as error:
            _log.debug("close_not_sent", peer=self.address, reason=str(error))

    def _finish(self) -> None:
        self._end()
        self._listener.forget(self)

    def forgotten(self) -> None:
        """The listener no longer hands it datagrams: it sends none either. Idempotent."""
        if self._forgotten:
            return
        self._forgotten = True
        for handle in (self._timer, self._transmission, self._closing_timer, self._working):
            if handle is not None:
                handle.cancel()
        self._timer = self._transmission = self._closing_timer = self._working = None
        self._arrived.clear()
        self._pieces.clear()
        self._quic.release()

    def give_way(self) -> None:
        """Close, to give the place to a newcomer."""
        self._guarded(self._refuse, 1, PlaceNeeded("no Hello before another peer needed the place"))

    def _ended_by_owner(self) -> None:
        self._guarded(self._refuse, 1, WrongToken("the token was revoked or has expired"))

    def _stream_data(self, event: Any) -> None:
        data: bytes = event.data
        last = max(0, len(data) - 1) // PIECE_BYTES * PIECE_BYTES
        for begin in range(0, last, PIECE_BYTES):
            self._pieces.append((event.stream_id, data[begin : begin + PIECE_BYTES], False))
        self._pieces.append((event.stream_id, data[last:], event.end_stream))

    def _stream_piece(self, stream_id: int, data: bytes, end: bool) -> None:
        for happened in self._state.receive(stream_id, data, end, self._loop.time()):
            self._handle(happened)

    def _stream_given_up(self, event: Any) -> None:
        self._state.stream_reset(event.stream_id)
        self.client.leave(event.stream_id)

    def _handshake_completed(self, _: Any) -> None:
        self._listener.proved(self)

    def _id_issued(self, event: Any) -> None:
        self._listener.named(self, event.connection_id)

    def _id_retired(self, event: Any) -> None:
        self._listener.unnamed(self, event.connection_id)

    def _terminated(self, _: Any) -> None:
        self._finish()

    def _handle(self, event: object) -> None:
        if isinstance(event, RequestReceived) and self._admits(event):
            self._unanswered[event.stream_id] += 1
            self._listener.answerer.start(self, event.stream_id, event.request, event.size_bytes)
        elif isinstance(event, LargeFrameReceived):
            self._unanswered[event.stream_id] += 1
            done = partial(self._guarded, self._decoded, event.stream_id, len(event.body))
            self._listener.answerer.decode(self, event.stream_id, event.body, done)
        elif isinstance(event, Greeted):
            self._hello_timer.cancel()
            if self._stay.use(self.caller) is not None:
                self._state.ended()
                self._refuse(event.stream_id, TooManyConnections("this token has as many connections as it may have"))
                return
            self._listener.greeted(self)
            self.write(event.stream_id, encode_frame(self._listener.welcome()))
        elif isinstance(event, StreamEnded):
            if event.stream_id in self._unanswered:
                self._half_closed.add(event.stream_id)
            else:
                self._end_stream(event.stream_id)
        elif isinstance(event, RequestRefused):
            self.write(event.stream_id, encode_frame(codec.failure_of(event.request_id, event.error)))
        elif isinstance(event, StreamRefused):
            self.write(event.stream_id, encode_frame(codec.failure_of(0, event.error)))
            self._end_stream(event.stream_id)
            self._stop(event.stream_id, event.error)
        elif isinstance(event, ConnectionRefused):
            if event.delay_s:
                self._hello_timer.cancel()
                self._hello_timer = self._loop.call_later(
                    event.delay_s, self._guarded, self._refuse, event.stream_id, event.error
                )
            else:
                self._refuse(event.stream_id, event.error)

    def _decoded(self, stream_id: int, size_bytes: int, request: object) -> None:
        """A large frame is decoded, or cannot be."""
        event = self._state.decoded(stream_id, size_bytes, request)
        if event is not None:
            self._handle(event)
        self._one_less(stream_id)

    def _admits(self, event: RequestReceived) -> bool:
        """Whether the peer may make this request; if not, the refusal is sent here."""
        caller = self._state.caller
        try:
            check_rights(event.request, caller)
            if caller.rate is not None and (wait_s := caller.rate.take(1)):
                raise RateExceeded(f"this token may make {caller.rate.per_second} requests a second", wait_s)
        except ZvmdError as error:
            self._state.answered(event.size_bytes)
            request_id = getattr(event.request, "id", 0)
            self.write(event.stream_id, encode_frame(codec.failure_of(request_id, error)))
            return False
        return True

    # -- the end -----------------------------------------------------------------------------------

    def _refuse(self, stream_id: int, error: WireError) -> None:
        if self._gone:
            return
        _log.warning("connection_refused", peer=self.address, code=error.code, reason=str(error))
        try:
            if stream_id % 4 == 0:
                self.write(stream_id, encode_frame(codec.failure_of(0, error)))
                self._send()
            self._quic.close(error_code=error.quic_code, reason_phrase=error.code)
            self._transmit_soon()
        finally:
            self._end()

    def _hello_expired(self) -> None:
        for event in self._state.expire(self._loop.time()):
            self._handle(event)

    def _stop(self, stream_id: int, error: WireError) -> None:
        try:
            self._quic.stop_stream(stream_id, error.quic_code)
        except StreamGone:
            return  # the peer has ended it already

    def _end(self) -> None:
        """The only place where a connection ends: cancels its work and frees its place."""
        if self._gone:
            return
        self._gone = True
        self.client.leave()
        self._stay.over()
        self._state.ended()
        self._hello_timer.cancel()
        self._out.clear()
        for task in self._tasks:
            task.cancel()
        self._listener.peer_gone(self)
        self._closing_timer = self._loop.call_later(CLOSING_S, self._listener.forget, self)

    def _end_stream(self, stream_id: int) -> None:
        self._ending.add(stream_id)
        self.write(stream_id, b"")

    def _flush(self) -> None:
        self._send()
        if not self._gone and self._quic.get_send_buffer_size() > self._limits.unconfirmed_max_bytes:
            self._refuse(1, SlowReader(f"{self._limits.unconfirmed_max_bytes} bytes are waiting"))

    def _send(self) -> None:
        self._out_scheduled = False
        if self._gone:
            return
        out, self._out = self._out, {}
        for stream_id, frames in out.items():
            data = b"".join(frames)
            end = stream_id in self._ending
            try:
                self._quic.send_stream_data(stream_id, data, end_stream=end)
            except StreamGone:
                self._state.stream_reset(stream_id)  # the peer has reset it; nobody reads the answer
        self._ending.clear()
        self._transmit()


@cache
def _handlers(events: Events) -> dict[type, Callable[[WirePeer, Any], None]]:
    return {
        events.stream_data: WirePeer._stream_data,
        events.stream_reset: WirePeer._stream_given_up,
        events.stop_sending: WirePeer._stream_given_up,
        events.handshake_completed: WirePeer._handshake_completed,
        events.id_issued: WirePeer._id_issued,
        events.id_retired: WirePeer._id_retired,
        events.terminated: WirePeer._terminated,
    }
