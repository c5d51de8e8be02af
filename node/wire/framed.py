"""What is spoken on a QUIC connection with ALPN `zvmd/1`: frames in, answers out (docs/formats/wire.md)."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Coroutine
from functools import partial
from typing import Any, Protocol

from chain.errors import ZvmdError
from node.doors.visitor import Verdict
from node.rpc.caller import Caller
from node.rpc.held import Held
from node.rpc.work import ConnectedClient
from node.wire import codec
from node.wire.answers import Answerer
from node.wire.connection import ServerConnection
from node.wire.errors import SlowReader, TooManyConnections, WireError
from node.wire.events import (
    ConnectionRefused,
    Greeted,
    LargeFrameReceived,
    RequestReceived,
    RequestRefused,
    StreamEnded,
    StreamRefused,
)
from node.wire.library import StreamGone
from node.wire.limits import WireLimits
from node.wire.peer import WirePeer
from node.wire.rights import admit
from node.wire.unread import Unread
from zvmd.frames import Welcome, encode_frame

DRAIN_POLL_S = 0.005


class Greeter(Protocol):
    """What the protocol needs from the listener."""

    limits: WireLimits
    answerer: Answerer

    @property
    def held(self) -> Held:
        """The budget of large answers."""

    def enter(self, address: str, token: bytes) -> Verdict:
        """Who comes in with a token."""

    def welcome(self) -> Welcome: ...


class FramedSpeaker:
    """The `node.wire.peer.WireSpeaker` of `zvmd/1`. The frames of one turn of the loop are sent together."""

    def __init__(self, peer: WirePeer, listener: Greeter) -> None:
        self.subscriptions: dict[int, asyncio.Task[None]] = {}
        self._peer = peer
        self._listener = listener
        self._limits = limits = listener.limits
        self._loop = asyncio.get_running_loop()
        self._state = ServerConnection(limits, partial(listener.enter, peer.address), peer.begun_at)
        self._hello_timer = self._loop.call_at(self._state.hello_deadline, peer.guarded, self._hello_expired)
        self._out: dict[int, list[bytes]] = {}
        self._out_scheduled = False
        self._unanswered: Counter[int] = Counter()
        self._half_closed: set[int] = set()
        self._ending: set[int] = set()
        refuse = partial(peer.guarded, peer.refuse)
        self._unread = Unread(listener.held, limits.take_answer_s, lambda: peer.unsent, refuse)

    # -- for the peer ------------------------------------------------------------------------------

    @property
    def first_datagrams_max(self) -> int:
        """Most datagrams before Hello."""
        return self._limits.hello_datagrams_max

    @property
    def no_error(self) -> int:
        """The application error code of a connection that ends in order."""
        return 0

    def stream_data(self, event: Any) -> None:
        """Bytes of a stream."""
        for happened in self._state.receive(event.stream_id, event.data, event.end_stream, self._loop.time()):
            self._handle(happened)

    def stream_given_up(self, event: Any) -> None:
        """The peer has reset a stream, or wants nothing more of it."""
        self._state.stream_reset(event.stream_id)
        self.client.leave(event.stream_id)

    def advanced(self) -> None:
        """Datagrams were received or sent: the peer may have taken some of its answers."""
        self._unread.less()

    def stop(self) -> None:
        """The node stops."""
        self._peer.leave()

    def end(self) -> None:
        """The node has stopped."""
        self._peer.leave()

    def code_of(self, error: WireError) -> int:
        """The application error code that means this error."""
        return error.quic_code

    def lost(self) -> None:
        """The connection is over."""
        self._state.ended()
        self._hello_timer.cancel()
        self._out.clear()
        self._unread.end()

    # -- for the answerer --------------------------------------------------------------------------

    @property
    def client(self) -> ConnectedClient:
        """The client whose requests these are."""
        return self._peer.client

    @property
    def caller(self) -> Caller:
        """Who it is."""
        return self._state.caller

    def write(self, stream_id: int, frames: bytes) -> None:
        """Queue frames; those of one loop turn are sent together."""
        if self._peer.is_gone:
            return
        self._out.setdefault(stream_id, []).append(frames)
        if not self._out_scheduled:
            self._out_scheduled = True
            self._loop.call_soon(self._peer.guarded, self._flush)

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
        return self._peer.spawn(work)

    async def drained(self) -> None:
        """Return when little is waiting to be sent."""
        while not self._peer.is_gone and self._peer.unsent > self._limits.unconfirmed_pause_bytes:
            await asyncio.sleep(DRAIN_POLL_S)

    # -- what happens ------------------------------------------------------------------------------

    def _handle(self, event: object) -> None:
        if isinstance(event, RequestReceived) and self._admits(event):
            self._unanswered[event.stream_id] += 1
            self._listener.answerer.start(self, event.stream_id, event.request, event.size_bytes)
        elif isinstance(event, LargeFrameReceived):
            self._unanswered[event.stream_id] += 1
            done = partial(self._peer.guarded, self._decoded, event.stream_id, len(event.body))
            self._listener.answerer.decode(self, event.stream_id, event.body, done)
        elif isinstance(event, Greeted):
            self._hello_timer.cancel()
            if self._peer.stay.use(self.caller) is not None:
                self._state.ended()
                self._refuse(event.stream_id, TooManyConnections("this token has as many connections as it may have"))
                return
            self._peer.greeted()
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
            self._peer.stop_stream(event.stream_id, event.error.quic_code)
        elif isinstance(event, ConnectionRefused):
            if event.delay_s:
                self._hello_timer.cancel()
                self._hello_timer = self._loop.call_later(
                    event.delay_s, self._peer.guarded, self._refuse, event.stream_id, event.error
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
        try:
            admit(event.request, self._state.caller)
        except ZvmdError as error:
            self._state.answered(event.size_bytes)
            request_id = getattr(event.request, "id", 0)
            self.write(event.stream_id, encode_frame(codec.failure_of(request_id, error)))
            return False
        return True

    def _hello_expired(self) -> None:
        now = max(self._loop.time(), self._state.hello_deadline)  # uvloop's timers may be a millisecond early
        for event in self._state.expire(now):
            self._handle(event)

    def _refuse(self, stream_id: int, error: WireError) -> None:
        """End the connection; the peer reads why on the stream that it used, if that is bidirectional."""
        if stream_id % 4 == 0 and not self._peer.is_gone:
            self.write(stream_id, encode_frame(codec.failure_of(0, error)))
            self._send()
        self._peer.refuse(error)

    def _end_stream(self, stream_id: int) -> None:
        self._ending.add(stream_id)
        self.write(stream_id, b"")

    def _flush(self) -> None:
        written = sum(len(part) for parts in self._out.values() for part in parts)
        self._send()
        if self._peer.is_gone:
            return
        try:
            if self._peer.unsent > self._limits.unconfirmed_max_bytes:
                raise SlowReader(f"{self._limits.unconfirmed_max_bytes} bytes are waiting")
            self._unread.more(written)
        except SlowReader as slow:
            self._peer.refuse(slow)

    def _send(self) -> None:
        self._out_scheduled = False
        if self._peer.is_gone:
            return
        out, self._out = self._out, {}
        for stream_id, frames in out.items():
            try:
                self._peer.quic.send_stream_data(stream_id, b"".join(frames), end_stream=stream_id in self._ending)
            except StreamGone:
                self._state.stream_reset(stream_id)  # the peer has reset it; nobody reads the answer
        self._ending.clear()
        self._peer.transmit()
