"""One QUIC connection of the listener: moves bytes between library and speaker, and ends in one place.

What is spoken on it is a `WireSpeaker`'s, which the handshake chooses (ALPN, RFC 7301).
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Coroutine
from concurrent.futures import Future
from dataclasses import replace
from functools import cache
from typing import Any, Protocol

import structlog

from node.doors.doors import Stay
from node.ops.slices import LoopSlice
from node.rpc.work import ConnectedClient
from node.wire.errors import HelloTooLate, HelloTooLong, PeerFault, PlaceNeeded, WireError, WrongToken
from node.wire.handshakes import Handshakes
from node.wire.library import DATAGRAMS_SENT_MAX, Events, LibraryConnection, QuicLibrary, StreamGone
from node.wire.limits import WireLimits

_log = structlog.get_logger("wire")

DATAGRAMS_AT_ONCE = 8
"""Given to the library together."""
PIECE_BYTES = 1024
"""Bytes of a stream that are looked at together: about twenty small requests."""
CLOSING_S = 3.0
"""How long at most an ended connection answers with its close (RFC 9000, 10.2) before its state is freed."""


class WireSpeaker(Protocol):
    """What is spoken on a connection. The peer calls, on the event loop; an exception ends the connection."""

    @property
    def first_datagrams_max(self) -> int:
        """Most datagrams of a peer before `WirePeer.greeted`."""

    @property
    def no_error(self) -> int:
        """The application error code of a connection that ends in order."""

    def stream_data(self, event: Any) -> None:
        """Bytes of a stream: an event of the library's type ``Events.stream_data``."""

    def stream_given_up(self, event: Any) -> None:
        """The peer has reset a stream, or wants nothing more of it."""

    def advanced(self) -> None:
        """Datagrams were received or sent: there may be room for more."""

    def stop(self) -> None:
        """The node stops: close when what is under way is answered."""

    def end(self) -> None:
        """Tell what is under way that the node has stopped, and close."""

    def code_of(self, error: WireError) -> int:
        """The application error code that means this error."""

    def lost(self) -> None:
        """The connection is over."""


class Listener(Protocol):
    """What a connection needs from its listener."""

    limits: WireLimits
    library: QuicLibrary
    handshakes: Handshakes

    def speaker(self, peer: WirePeer, alpn: str | None) -> WireSpeaker:
        """What is spoken, by the name in ALPN; None: of a client that offers no protocol."""

    def stay(self, end: Callable[[], None]) -> Stay:
        """A connection has come; ``end`` closes it at once."""

    def authenticated(self, peer: WirePeer) -> None:
        """Its first packet could be decrypted: it may have a place."""

    def proved(self, peer: WirePeer) -> None:
        """The handshake is finished."""

    def greeted(self, peer: WirePeer) -> None:
        """It is a client of this node: see `WirePeer.greeted`."""

    def busy(self, peer: WirePeer, is_busy: bool) -> None:
        """Whether it keeps its place when another needs one."""

    def peer_gone(self, peer: WirePeer) -> None:
        """The connection has ended; its place is free."""

    def forget(self, peer: WirePeer) -> None:
        """Hand this connection no more datagrams."""

    def named(self, peer: WirePeer, connection_id: bytes) -> None:
        """Datagrams with this connection ID are the peer's."""

    def unnamed(self, peer: WirePeer, connection_id: bytes) -> None:
        """Datagrams with this connection ID are no longer the peer's."""


class WirePeer:
    """One connection. What is written in one turn of the loop is sent together.

    An exception while handling its datagrams, timers and answers ends this connection only, and every ending goes
    through `_end`, which frees its place.

    Until the handshake is finished, what arrives is given to the library on the thread of `Handshakes`. While it is
    there (`_is_away`), nothing here calls the library: datagrams wait, and so does the end.
    """

    def __init__(
        self, quic: LibraryConnection, listener: Listener, transport: asyncio.DatagramTransport, address: str
    ) -> None:
        self.address = address
        self.names: set[bytes] = set()
        """Connection IDs by which the listener knows it."""
        self.client = ConnectedClient()
        self.quic = quic
        self.is_gone = False
        """Whether it has ended: nothing more is read or written."""
        self._transport = transport
        self._listener = listener
        self._limits = listener.limits
        self._loop = asyncio.get_running_loop()
        self.begun_at = self._loop.time()
        self._speaker: WireSpeaker | None = None
        """Not known before the handshake is finished."""
        self._handshake_timer = self._loop.call_later(
            self._limits.hello_within_s, self.guarded, self.refuse, HelloTooLate("the handshake took too long")
        )
        self._is_greeted = self._is_authenticated = False
        self._is_away = False
        """Whether the library is at work on the thread of handshakes."""
        self._parting: tuple[int, str] | None = None
        """How to close when it has come back."""
        self.stay = listener.stay(self._ended_by_owner)
        """Whose tokens its requests came with."""
        self._datagrams_before_hello = 0
        self._handlers = _handlers(listener.library.events)
        self._timer: asyncio.TimerHandle | None = None
        self._timer_at: float | None = None
        self._arrived: deque[tuple[bytes, Any]] = deque()
        """Datagrams that wait for their turn, with their senders."""
        self._pieces: deque[Any] = deque()
        """Events of bytes of streams that wait for theirs."""
        self._working: asyncio.Handle | None = None
        """The next turn, if there is more to do than one allows."""
        self._transmission: asyncio.Handle | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._closing_timer: asyncio.TimerHandle | None = None
        self._forgotten = False

    # -- for the speaker ---------------------------------------------------------------------------

    @property
    def events(self) -> Events:
        """Types of the library's events."""
        return self._listener.library.events

    @property
    def unsent(self) -> int:
        """Bytes of all streams that wait to be sent."""
        return self.quic.get_send_buffer_size()

    def greeted(self) -> None:
        """The peer has shown that it is a client of this node: it keeps its place."""
        self._is_greeted = True
        self._listener.greeted(self)

    def set_busy(self, is_busy: bool) -> None:
        """Whether it has work under way; an idle connection may lose its place to a new one. For greeted peers."""
        self._listener.busy(self, is_busy)

    def spawn(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """Run a task that is cancelled when the connection ends."""
        task = self._loop.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    def stop_stream(self, stream_id: int, code: int) -> None:
        """Ask the peer to send no more on a stream."""
        try:
            self.quic.stop_stream(stream_id, code)
        except StreamGone:
            return  # the peer has ended it already

    def transmit_soon(self) -> None:
        """Send what is to be sent at the end of this turn of the loop."""
        if self._transmission is None and not self._forgotten:
            self._transmission = self._loop.call_soon(self.guarded, self.transmit)

    def transmit(self) -> None:
        """Send what is to be sent now, and set the timer."""
        if self._transmission is not None:
            self._transmission.cancel()
            self._transmission = None
        if self._forgotten or self._is_away:
            return
        if datagrams := self.quic.datagrams_to_send(now=self._loop.time()):
            self._listener.library.send(self._transport, datagrams)
            self._work()
        if len(datagrams) >= DATAGRAMS_SENT_MAX:
            self.transmit_soon()
        if not self._forgotten and not self._is_away:
            self._set_timer(self.quic.get_timer())

    def refuse(self, error: WireError) -> None:
        """End the connection because of what the peer did."""
        if self.is_gone:
            return
        _log.warning("connection_refused", peer=self.address, code=error.code, reason=str(error))
        self.close(self._code_of(error), error.code)

    def close(self, code: int, reason: str) -> None:
        """End the connection, with an application error code that says why."""
        if self.is_gone:
            return
        try:
            if self._is_away:
                self._parting = code, reason
            else:
                self.quic.close(error_code=code, reason_phrase=reason)
                self.transmit_soon()
        finally:
            self._end()

    def guarded(self, work: Callable[..., None], *arguments: Any) -> None:
        """Run ``work`` for this connection; an exception ends the connection, not the listener."""
        try:
            work(*arguments)
        except (KeyboardInterrupt, SystemExit):
            raise
        except BaseException as error:  # a panic in a library's Rust is not an Exception
            trace = None if isinstance(error, self._listener.library.faults) else error
            _log.error("connection_failed", peer=self.address, reason=str(error), exc_info=trace)
            self.drop(PeerFault("a bug in zvmd ended a connection"))

    # -- for the listener --------------------------------------------------------------------------

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
            self._working = self._loop.call_soon(self.guarded, self._work)
        else:
            self.guarded(self._work, turn)

    def drop(self, reason: WireError | None = None) -> None:
        """End the connection at once. A reason is sent to the peer if that is still possible."""
        try:
            if reason is not None and not self.is_gone:
                self._say_goodbye(self._code_of(reason), reason.code)
        finally:
            self._finish()

    def stop(self) -> None:
        """The node stops: close when what is under way is answered."""
        if self._speaker is None:
            self.leave()
        elif not self.is_gone:
            self.guarded(self._speaker.stop)

    def end(self) -> None:
        """Tell what is under way that the node has stopped, and close."""
        if self._speaker is None:
            self.leave()
        elif not self.is_gone:
            self.guarded(self._speaker.end)

    def leave(self) -> None:
        """End the connection at once because the node stops."""
        try:
            if not self.is_gone:
                self._say_goodbye(0 if self._speaker is None else self._speaker.no_error, "")
        finally:
            self._finish()

    def give_way(self) -> None:
        """Close, to give the place to a newcomer."""
        self.guarded(self.refuse, PlaceNeeded("another peer needed the place of one without work"))

    def _ended_by_owner(self) -> None:
        self.guarded(self.refuse, WrongToken("the token was revoked or has expired"))

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
        self._speaker = None  # it refers to its peer: only the collector would find the two
        if not self._is_away:
            self.quic.release()

    # -- the handshake -----------------------------------------------------------------------------

    def _begin_step(self, data: list[bytes], addr: Any) -> None:
        """Have the library take these datagrams on the thread of handshakes."""
        self._is_away = True
        self._set_timer(None)
        quic, now = self.quic, self._loop.time()

        def step() -> list[tuple[bytes, Any]]:
            if self.is_gone:
                return []
            quic.receive_many_datagrams(data, addr, now=now)
            return quic.datagrams_to_send(now=now)

        self._listener.handshakes.take(step, self._step_is_done)

    def _step_is_done(self, outcome: Future[list[tuple[bytes, Any]]]) -> None:
        self._is_away = False
        if self._forgotten:
            self.quic.release()
        else:
            self.guarded(self._come_back, outcome)

    def _come_back(self, outcome: Future[list[tuple[bytes, Any]]]) -> None:
        """Send what the step has made, and go on with what has happened meanwhile. Raises what it raised."""
        if datagrams := outcome.result():
            self._listener.library.send(self._transport, datagrams)
        if not self._is_authenticated:
            if not self.quic.has_authenticated:
                self.drop()
                return
            self._is_authenticated = True
            if not self.is_gone:
                self._listener.authenticated(self)
        if self._forgotten:
            return
        if self._parting is not None:
            code, reason = self._parting
            self.quic.close(error_code=code, reason_phrase=reason)
        self._work()
        self.transmit_soon()

    # -- the library -------------------------------------------------------------------------------

    def _work(self, turn: LoopSlice | None = None) -> None:
        """Handle what has arrived, as far as this turn allows."""
        if self._working is not None:
            self._working.cancel()
            self._working = None
        turn = turn or LoopSlice()
        while not self._forgotten and self._take_next():
            if turn.is_over and not self._forgotten:
                self._working = self._working or self._loop.call_soon(self.guarded, self._work)
                break
        if self._speaker is not None and not self.is_gone:
            self._speaker.advanced()

    def _take_next(self) -> bool:
        """Handle bytes of a stream, else an event, else datagrams; whether there was one of them."""
        if self._is_away:
            return False
        if self._pieces:
            self._stream_piece(self._pieces.popleft())
        elif (event := self.quic.next_event()) is not None:
            handle = self._handlers.get(type(event))
            if handle is not None:
                handle(self, event)
        elif self._arrived:
            self._take(*self._next_datagrams())
            self.transmit_soon()
        else:
            return False
        return True

    def _next_datagrams(self) -> tuple[list[bytes], Any]:
        """Some datagrams of one sender."""
        data, addr = self._arrived.popleft()
        taken = [data]
        while self._arrived and len(taken) < DATAGRAMS_AT_ONCE and self._arrived[0][1] == addr:
            taken.append(self._arrived.popleft()[0])
        return taken, addr

    def _take(self, data: list[bytes], addr: Any) -> None:
        if not self._is_greeted and not self.is_gone:
            self._datagrams_before_hello += len(data)
            speaker = self._speaker
            most = self._limits.hello_datagrams_max if speaker is None else speaker.first_datagrams_max
            if self._datagrams_before_hello > most:
                self.refuse(HelloTooLong(f"{self._datagrams_before_hello} datagrams"))
                return
        if self._speaker is None:
            self._begin_step(data, addr)
        else:
            self.quic.receive_many_datagrams(data, addr, now=self._loop.time())

    def _set_timer(self, due: float | None) -> None:
        if due == self._timer_at:
            return
        if self._timer is not None:
            self._timer.cancel()
        self._timer = None if due is None else self._loop.call_at(due, self.guarded, self._timer_expired)
        self._timer_at = due

    def _timer_expired(self) -> None:
        assert self._timer_at is not None
        now = max(self._timer_at, self._loop.time())
        self._timer = self._timer_at = None
        self.quic.handle_timer(now=now)
        self._work()
        self.transmit()

    def _handshake_completed(self, event: Any) -> None:
        self._handshake_timer.cancel()
        if not self.is_gone:
            self._listener.proved(self)
            self._speaker = self._listener.speaker(self, event.alpn_protocol)

    def _stream_data(self, event: Any) -> None:
        data: bytes = event.data
        if len(data) <= PIECE_BYTES:
            self._pieces.append(event)
            return
        for begin in range(0, len(data), PIECE_BYTES):
            end = begin + PIECE_BYTES
            is_last = event.end_stream and end >= len(data)
            self._pieces.append(replace(event, data=data[begin:end], end_stream=is_last))

    def _stream_piece(self, event: Any) -> None:
        if self._speaker is not None and not self.is_gone:
            self._speaker.stream_data(event)

    def _stream_given_up(self, event: Any) -> None:
        if self._speaker is not None and not self.is_gone:
            self._speaker.stream_given_up(event)

    def _id_issued(self, event: Any) -> None:
        self._listener.named(self, event.connection_id)

    def _id_retired(self, event: Any) -> None:
        self._listener.unnamed(self, event.connection_id)

    def _terminated(self, _: Any) -> None:
        self._finish()

    # -- the end -----------------------------------------------------------------------------------

    def _code_of(self, error: WireError) -> int:
        return error.quic_code if self._speaker is None else self._speaker.code_of(error)

    def _say_goodbye(self, code: int, reason: str) -> None:
        if self._is_away:
            return
        try:
            self.quic.close(error_code=code, reason_phrase=reason)
            self.transmit()
        except Exception as error:
            _log.debug("close_not_sent", peer=self.address, reason=str(error))

    def _finish(self) -> None:
        self._end()
        self._listener.forget(self)

    def _end(self) -> None:
        """The only place where a connection ends: cancels its work and frees its place."""
        if self.is_gone:
            return
        self.is_gone = True
        self.client.leave()
        self.stay.over()
        self._handshake_timer.cancel()
        for task in self._tasks:
            task.cancel()
        self._listener.peer_gone(self)
        self._closing_timer = self._loop.call_later(CLOSING_S, self._listener.forget, self)
        if self._speaker is not None:
            self._speaker.lost()


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
