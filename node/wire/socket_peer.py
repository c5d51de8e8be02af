"""The frames of ``zvmd/1`` on a unix socket: one connection is one stream, and who connects is asked of the kernel."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable, Coroutine
from functools import partial
from typing import Any, cast

import structlog

from chain.errors import ZvmdError
from node.auth.unix_sockets import BACKLOG, SocketFile, is_gone, user_of
from node.doors.doors import Doors, Stay
from node.doors.visitor import Verdict, Visitor, Way
from node.ops.slices import LoopSlice
from node.rpc.caller import Caller
from node.rpc.errors import IpcUserRefused
from node.rpc.held import Held
from node.rpc.service import RpcService
from node.rpc.work import ConnectedClient
from node.wire import codec
from node.wire.admission import Places
from node.wire.answers import Answerer, welcome_of
from node.wire.connection import ServerConnection
from node.wire.errors import PeerFault, PlaceNeeded, SlowReader, TooManyConnections, WrongToken
from node.wire.events import (
    ConnectionRefused,
    Greeted,
    LargeFrameReceived,
    RequestReceived,
    RequestRefused,
    StreamEnded,
    StreamRefused,
    WireEvent,
)
from node.wire.limits import WireLimits
from node.wire.rights import admit
from node.wire.unread import Unread
from zvmd.frames import Welcome, encode_frame

_log = structlog.get_logger("wire")

STREAM = 0
"""The number of the only stream."""
PIECE_BYTES = 1024
"""Received bytes are looked at in such pieces, between which others may have their turn on the event loop."""
WAITING_BYTES = 16 * 1024
"""No more is received while so much has not been looked at."""


class SocketPeer(asyncio.Protocol):
    """One connection. Every ending goes through `connection_lost`, which frees its place."""

    def __init__(self, listener: SocketListener) -> None:
        self.address = ""
        """The user, as far as `Places` need to know."""
        self.subscriptions: dict[int, asyncio.Task[None]] = {}
        self.client = ConnectedClient()
        self._listener = listener
        self._limits = listener.limits
        self._loop = asyncio.get_running_loop()
        self._refusal: ZvmdError | None = None
        """Why it is not served. Answered once the peer has sent something: one that writes later may not read it."""
        self._received = bytearray()
        """What has not been looked at."""
        self._turn: asyncio.Handle | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._stay = listener.stay(self._ended_by_owner)
        self._in_flight_bytes = 0
        self._has_ended = False
        """Whether the peer sends no more."""
        self._is_open = False
        self._is_reading = True
        self._drained = asyncio.Event()
        self._drained.set()

    @property
    def caller(self) -> Caller:
        """Who it is."""
        return self._state.caller

    # -- for the answerer ---------------------------------------------------------------------------

    def write(self, stream_id: int, frames: bytes) -> None:  # noqa: ARG002 - there is one stream
        """Send soon; the loop sends what is written in one of its turns together."""
        if not self._is_open:
            return
        self._transport.write(frames)
        waiting = self._transport.get_write_buffer_size()
        try:
            if waiting > self._limits.unconfirmed_max_bytes:
                raise SlowReader(f"{waiting} bytes are waiting")
            self._unread.more(len(frames))
        except SlowReader as slow:
            self._too_slow(slow)

    def answered(self, stream_id: int, size_bytes: int) -> None:  # noqa: ARG002 - there is one stream
        """A request of that size is finished."""
        self._state.answered(size_bytes)
        self._in_flight_bytes -= size_bytes
        self._go_on()

    def _go_on(self) -> None:
        """There is one request less, or less of one: see what that allows."""
        if self._has_ended or self._is_blocked or self._received:
            self._soon()
        else:
            self._mark()

    def spawn(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """Run a task that is cancelled when the connection ends."""
        task = self._loop.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    async def drained(self) -> None:
        """Return when little is waiting to be sent."""
        await self._drained.wait()

    # -- from the socket ----------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """A peer has connected."""
        self._transport = cast("asyncio.Transport", transport)
        self._transport.set_write_buffer_limits(high=self._limits.unconfirmed_pause_bytes)
        self._socket: socket.socket = transport.get_extra_info("socket")
        self._unread = Unread(
            self._listener.held, self._limits.take_answer_s, self._transport.get_write_buffer_size, self._too_slow
        )
        self._is_open = True
        enter = partial(self._listener.enter, self._listener.user_of_peer(self._socket))
        self.address = f"user {enter.args[0]}"
        self._state = ServerConnection(self._limits, enter, self._loop.time())
        self._hello_timer = self._loop.call_at(self._state.hello_deadline, self._hello_expired)
        if (refusal := enter(b"").refusal) is not None:
            self._refusal = IpcUserRefused(refusal.message)
        elif not self._listener.take(self):
            self._refusal = PlaceNeeded("all connections are in use; [limits] ipc_connections is their number")

    def data_received(self, data: bytes) -> None:
        """Bytes of the peer."""
        if self._refusal is not None:
            self._refuse(self._refusal)
        elif self._is_open:
            self._received += data
            self._advance()

    def eof_received(self) -> bool:
        """The peer sends no more. The connection stays while there are answers to send, if the peer takes them."""
        self._has_ended = True
        if not self._is_open or is_gone(self._socket):
            return False
        for task in self.subscriptions.values():
            task.cancel()
        self._advance()
        return self._is_open

    def pause_writing(self) -> None:
        """The peer does not take what was written as fast as it is made."""
        self._drained.clear()
        self._mark()

    def resume_writing(self) -> None:
        """It has taken most of it."""
        self._drained.set()
        self._unread.less()
        if self._is_open:
            self._advance()

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - asyncio's signature
        """It is over."""
        self._is_open = False
        self._stay.over()
        self._unread.end()
        del self._unread  # it has this, and a cycle would wait for the garbage collector
        self._listener.gone(self)
        self.client.leave()
        self._state.ended()
        self._hello_timer.cancel()
        if self._turn is not None:
            self._turn.cancel()
        for task in tuple(self._tasks):
            task.cancel()
        self._drained.set()

    def give_way(self) -> None:
        """Close, to give the place to a newcomer."""
        self._refuse(PlaceNeeded("no Hello before another peer needed the place"))

    def _ended_by_owner(self) -> None:
        self._refuse(WrongToken("the token was revoked or has expired"))

    def _too_slow(self, error: SlowReader) -> None:
        _log.warning("connection_refused", peer=self.address, code=error.code, reason=str(error))
        self.drop()

    def drop(self) -> None:
        """Close at once, and discard what waits to be sent."""
        self._is_open = False
        self._transport.abort()

    def leave(self) -> None:
        """Close behind what was written: the node stops."""
        self._is_open = False
        self._transport.close()

    # -- frames -------------------------------------------------------------------------------------

    @property
    def _is_blocked(self) -> bool:
        """Whether the peer has to wait for answers, or to take them, before more is looked at."""
        limits = self._limits
        return (
            self._state.in_flight * 2 >= limits.in_flight_max
            or self._in_flight_bytes * 2 >= limits.connection_buffer_max_bytes
            or not self._drained.is_set()
        )

    def _soon(self) -> None:
        if self._turn is None and self._is_open:
            self._turn = self._loop.call_soon(self._next_turn)

    def _next_turn(self) -> None:
        self._turn = None
        self._advance()

    def _advance(self) -> None:
        """Look at what was received, as far as this turn and the limits allow."""
        if self._is_open and self._turn is None:
            self._guarded(self._look)
            self._mark()

    def _look(self) -> None:
        turn = LoopSlice()
        while self._is_open and not self._is_blocked and (self._received or self._has_ended):
            part = bytes(self._received[:PIECE_BYTES])
            del self._received[: len(part)]
            is_end = self._has_ended and not self._received
            for event in self._state.receive(STREAM, part, is_end, self._loop.time()):
                self._handle(event)
            if not self._received:
                break
            if turn.is_over:
                self._soon()
                break
        if self._has_ended and not self._received and not self._state.in_flight:
            self.leave()

    def _guarded(self, work: Callable[..., None], *arguments: Any) -> None:
        """Run ``work`` for this connection; an exception ends the connection, not the listener."""
        try:
            work(*arguments)
        except Exception as error:
            _log.error("connection_failed", peer=self.address, reason=str(error), exc_info=error)
            self._refuse(PeerFault("a bug in zvmd ended a connection"))

    def _mark(self) -> None:
        """Whether more is received meanwhile."""
        wanted = not self._is_blocked and len(self._received) < WAITING_BYTES
        if self._is_open and not self._has_ended and wanted != self._is_reading:
            self._is_reading = wanted
            if wanted:
                self._transport.resume_reading()
            else:
                self._transport.pause_reading()

    def _handle(self, event: WireEvent) -> None:
        if isinstance(event, RequestReceived):
            self._in_flight_bytes += event.size_bytes
            if self._admits(event):
                self._listener.answerer.start(self, STREAM, event.request, event.size_bytes)
        elif isinstance(event, LargeFrameReceived):
            self._in_flight_bytes += len(event.body)
            done = partial(self._guarded, self._decoded, len(event.body))
            self._listener.answerer.decode(self, STREAM, event.body, done)
        elif isinstance(event, Greeted):
            self._hello_timer.cancel()
            if self._stay.use(self.caller) is not None:
                self._state.ended()
                self._refuse(TooManyConnections("this token has as many connections as it may have"))
                return
            self._listener.greeted(self)
            self.write(STREAM, encode_frame(self._listener.welcome()))
        elif isinstance(event, RequestRefused):
            self.write(STREAM, encode_frame(codec.failure_of(event.request_id, event.error)))
        elif isinstance(event, ConnectionRefused) and event.delay_s:
            self._hello_timer.cancel()
            self._hello_timer = self._loop.call_later(event.delay_s, self._refuse, event.error)
        elif isinstance(event, StreamRefused | ConnectionRefused):
            self._refuse(event.error)
        else:
            assert isinstance(event, StreamEnded), event

    def _decoded(self, size_bytes: int, request: object) -> None:
        """A large frame is decoded, or cannot be."""
        self._in_flight_bytes -= size_bytes  # counted again as the request's
        event = self._state.decoded(STREAM, size_bytes, request)
        if event is not None:
            self._handle(event)
        self._go_on()

    def _admits(self, event: RequestReceived) -> bool:
        """Whether the peer may make this request; if not, the refusal is sent here."""
        try:
            admit(event.request, self._state.caller)
        except ZvmdError as error:
            self.write(STREAM, encode_frame(codec.failure_of(getattr(event.request, "id", 0), error)))
            self.answered(STREAM, event.size_bytes)
            return False
        return True

    def _refuse(self, error: ZvmdError) -> None:
        """Say why, and close."""
        if self._is_open:
            _log.warning("connection_refused", peer=self.address, code=error.code, reason=str(error))
            self.write(STREAM, encode_frame(codec.failure_of(0, error)))
            self.leave()

    def _hello_expired(self) -> None:
        now = max(self._loop.time(), self._state.hello_deadline)  # uvloop's timers may be a millisecond early
        for event in self._state.expire(now):
            self._handle(event)


class SocketListener:
    """All connections of a unix socket that speaks frames."""

    def __init__(
        self,
        service: RpcService,
        limits: WireLimits,
        file: SocketFile,
        doors: Doors,
        user_of_peer: Callable[[socket.socket], int],
    ) -> None:
        self.limits = limits
        self.file = file
        self.user_of_peer = user_of_peer
        self.answerer = Answerer(service, limits.subscriptions_max, limits.receipt_wait_max_s)
        self._service = service
        self._doors = doors
        self._places: Places[SocketPeer] = Places(limits)
        self._server: asyncio.Server | None = None

    @property
    def connections(self) -> int:
        """Open connections, greeted or not."""
        return len(self._places)

    def enter(self, user: int, token: bytes) -> Verdict:
        """Who comes in as a user, and with the token of its Hello if there is one."""
        tokens = (token.decode("latin-1"),) if token else ()
        return self._doors.judge(Visitor(way=Way.SOCKET, uid=user, tokens=tokens))

    @property
    def held(self) -> Held:
        """The budget of large answers."""
        return self._service.held

    def stay(self, end: Callable[[], None]) -> Stay:
        """A connection has come; ``end`` closes it."""
        return self._doors.stay(end)

    def welcome(self) -> Welcome:
        """The answer to a valid Hello."""
        return welcome_of(self._service, self.limits)

    def take(self, peer: SocketPeer) -> bool:
        """Give a newcomer a place, perhaps that of one which has not said Hello; whether there was one."""
        if not self._places.has_room(peer.address):
            return False
        leaving = self._places.to_leave(peer.address)
        if leaving is not None:
            leaving.give_way()
            self._places.release(leaving)
        self._places.take(peer)
        return True

    def greeted(self, peer: SocketPeer) -> None:
        """A valid Hello arrived."""
        self._places.greeted(peer)

    def gone(self, peer: SocketPeer) -> None:
        """The connection has ended; its place is free."""
        self._places.release(peer)

    async def listen(self, file: SocketFile) -> None:
        """Accept connections at this file, and no more at the one before; those that there are stay."""
        before, loop = self._server, asyncio.get_running_loop()
        self._server = await loop.create_unix_server(lambda: SocketPeer(self), sock=file.bound, backlog=BACKLOG)
        self.file = file
        if before is not None:
            before.close()

    def close(self) -> None:
        """Accept no more, close every connection, and remove the socket's file."""
        self.file.remove()
        if self._server is not None:
            self._server.close()
        for peer in self._places:
            peer.leave()


async def serve_socket(
    service: RpcService,
    file: SocketFile,
    limits: WireLimits,
    doors: Doors,
    user_of_peer: Callable[[socket.socket], int] = user_of,
) -> SocketListener:
    """Listen on a bound unix socket; ``user_of_peer`` is whose process has connected."""
    listener = SocketListener(service, limits, file, doors, user_of_peer)
    await listener.listen(file)
    return listener
