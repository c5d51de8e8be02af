"""One TCP connection: its timer, its flow control, its end. What is spoken on it is a `Speaker`'s."""

from __future__ import annotations

import asyncio
import math
import ssl
import types
from collections import deque
from collections.abc import Awaitable, Callable, Coroutine, Generator
from typing import Any, Protocol, TypeVar, cast

from node.gateway.connections import ConnectionTable, Place
from node.gateway.limits import HttpLimits
from node.rpc.held import SMALL_BYTES

T = TypeVar("T")

WRITTEN_BYTES_MAX = 128 * 1024
"""The most that is written of a large answer in one turn of the event loop."""

UNPROVED_S = 86_400.0
"""A connection that has been of no use yet counts as idle for so much longer: it makes room first."""


class Speaker(Protocol):
    """What is spoken on a connection. The link calls, on the event loop."""

    def received(self, data: bytes) -> None:
        """Bytes of the peer."""

    def drained(self) -> None:
        """The peer has taken all that was written."""

    def ended(self) -> None:
        """The peer sends no more; it may still wait for answers."""

    def expired(self) -> None:
        """The time given with `ClientLink.allow` is up."""

    def make_room(self) -> None:
        """Close; the place is needed."""

    def stop(self) -> None:
        """The node stops: close when what is under way is answered."""

    def end(self) -> None:
        """Tell what is under way that the node has stopped, and close."""

    def lost(self) -> None:
        """The connection is gone."""


class ClientLink(asyncio.Protocol):
    """A connection of the listener, under a deadline from beginning to end."""

    def __init__(
        self,
        table: ConnectionTable,
        limits: HttpLimits,
        speaker: Callable[[ClientLink], Speaker],
        context: ssl.SSLContext | None = None,
    ) -> None:
        self._table = table
        self._limits = limits
        self._make_speaker = speaker
        self._context = context
        self._loop = asyncio.get_running_loop()
        self._behind_since = math.inf
        self._unwritten: deque[memoryview] = deque()
        """What the transport does not have yet of a large answer, and what comes behind it."""
        self._writing: asyncio.Handle | None = None
        """The next turn in which some of it is written."""
        self._is_paused = False
        """Whether the transport has as much as it takes."""
        self._at_end: Callable[[], None] | None = None
        """Ends the connection once everything is written."""
        self._deadline = math.inf
        self._is_reading = True
        self._discarded = 0
        self._securing: asyncio.Task[None] | None = None
        self._early = b""
        """What arrived with the end of the TLS handshake, before the transport for it was known."""
        self.idle_since = 0.0
        """When it last did something that counts, on the loop's clock; infinity while it has work under way."""
        self.is_open = False
        """Whether something may be written."""
        self.is_behind = False
        """Whether the peer has to take what was written before more is."""
        self.is_surplus = False
        """Whether it is one more than are served."""
        self.address: str | None = None
        """The peer's IP address."""

    # -- for the speaker ----------------------------------------------------------------------------

    def write(self, head: bytes, body: bytes = b"") -> None:
        """Send. What is not open any more loses nothing by it."""
        if not self.is_open:
            return
        if self._unwritten:
            self._unwritten += (memoryview(head), memoryview(body))
        elif len(body) <= SMALL_BYTES:
            self._transport.write(head + body)
        else:
            self._transport.write(head)
            self._unwritten.append(memoryview(body))
            self._write_on()

    def allow(self, seconds: float) -> None:
        """Call `Speaker.expired` if so much time passes, give or take `HttpLimits.look_every_s`."""
        self._deadline = self._loop.time() + seconds

    def set_busy(self, busy: bool) -> None:
        """Whether there is work under way, during which the connection keeps its place."""
        self.idle_since = math.inf if busy else self._loop.time()

    def read(self, wanted: bool) -> None:
        """Go on or pause with receiving."""
        if wanted != self._is_reading and self.is_open:
            self._is_reading = wanted
            if wanted:
                self._transport.resume_reading()
            else:
                self._transport.pause_reading()

    def hand_over(self, speaker: Speaker) -> None:
        """Something else is spoken from now on."""
        self._speaker = speaker

    def finish(self, more_comes: bool = False) -> None:
        """Close behind what was written. The peer has some time to hang up first: it would lose an answer otherwise.

        ``more_comes``: it may be sending still. TLS cannot end one direction alone, so it is then closed by the peer.
        """
        if not self.is_open:
            return
        self.read(True)
        self.is_open = False
        self.set_busy(False)
        self.allow(self._limits.take_answer_s if self.is_behind else self._limits.linger_s)
        if self._transport.can_write_eof():
            self._when_written(self._transport.write_eof)
        elif not more_comes:
            self._when_written(self._transport.close)

    def close(self) -> None:
        """Close behind what was written."""
        self.is_open = False
        self.allow(self._limits.linger_s)
        self._when_written(self._transport.close)

    def abort(self) -> None:
        """Close at once, and discard what waits to be sent."""
        self.is_open = False
        self._unwritten.clear()
        self._transport.abort()

    # -- for the table ------------------------------------------------------------------------------

    def look(self, now: float) -> None:
        """Act if the time is up."""
        if now - self._behind_since > self._limits.take_answer_s:
            self.abort()
        elif now > self._deadline:
            if self.is_open:
                self._speaker.expired()
            else:
                self.abort()

    def make_room(self) -> None:
        """Close; another connection needs the place."""
        if self.is_open:
            self._speaker.make_room()
        else:
            self.abort()

    def stop(self) -> None:
        """Close when what is under way is answered."""
        if self.is_open:
            self._speaker.stop()
        else:
            self._transport.close()

    def end(self) -> None:
        """Tell what is under way that the node stops, and close."""
        if self.is_open:
            self._speaker.end()
        else:
            self._transport.close()

    # -- for the transport --------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """A peer has connected."""
        self._transport = cast("asyncio.Transport", transport)
        peer = transport.get_extra_info("peername")
        self.address = peer[0] if peer else None
        self.idle_since = self._loop.time() - UNPROVED_S
        self._speaker = self._make_speaker(self)
        place = self._table.enter(self)
        if place is Place.NONE:
            self._transport.abort()
            return
        self.is_surplus = place is Place.SURPLUS
        if self._context is None:
            self._open()
        else:
            self.allow(self._limits.tls_handshake_s)
            self._secure(self._context)

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - asyncio's signature
        """It is over."""
        self.is_open = self.is_behind = False
        self._unwritten.clear()
        self._table.leave(self)
        self._speaker.lost()
        del self._speaker  # it has the link, and a cycle would wait for the garbage collector

    def data_received(self, data: bytes) -> None:
        """Bytes of the peer."""
        if self.is_open:
            self._speaker.received(data)
            return
        if self._securing is not None and not self._securing.done():
            self._early += data
        self._discarded += len(data)
        if self._discarded > self._limits.linger_bytes_max:
            self.abort()

    def eof_received(self) -> bool:
        """The peer sends no more. Whether the connection stays, for answers; over TLS it cannot."""
        if not self.is_open or self._context is not None:
            return False
        self._speaker.ended()
        return True

    def pause_writing(self) -> None:
        """The peer does not take what was written as fast as it is made."""
        self._is_paused = True
        self._fall_behind()

    def resume_writing(self) -> None:
        """It has taken everything that the transport had."""
        self._is_paused = False
        if self._unwritten:
            self._write_on()
        else:
            self._catch_up()

    def _write_on(self) -> None:
        """Give the transport the next piece: the system copies it, and holds the event loop meanwhile."""
        self._writing = None
        if not self._unwritten:
            return
        piece = self._unwritten.popleft()
        if len(piece) > WRITTEN_BYTES_MAX:
            self._unwritten.appendleft(piece[WRITTEN_BYTES_MAX:])
        self._transport.write(piece[:WRITTEN_BYTES_MAX])
        if self._unwritten:
            self._fall_behind()
            if not self._is_paused and self._writing is None:
                self._writing = self._loop.call_soon(self._write_on)
            return
        if self._at_end is not None:
            self._at_end()
        if not self._is_paused and self.is_behind:
            self._catch_up()

    def _when_written(self, end: Callable[[], None]) -> None:
        if self._unwritten:
            self._at_end = end
        else:
            end()

    def _fall_behind(self) -> None:
        if not self.is_behind:
            self.is_behind = True
            self._behind_since = self._loop.time()

    def _catch_up(self) -> None:
        self.is_behind = False
        self._behind_since = math.inf
        if self.is_open:
            self._speaker.drained()

    def _open(self) -> None:
        self.is_open = True
        self._transport.set_write_buffer_limits(high=SMALL_BYTES, low=0)
        self.allow(self._limits.request_s)

    def _secure(self, context: ssl.SSLContext) -> None:
        """Begin the TLS handshake, of a connection that counts as one since it was accepted."""
        handshake = self._loop.start_tls(
            self._transport, self, context, server_side=True, ssl_handshake_timeout=self._limits.tls_handshake_s
        )
        waiting = handshake.send(None)  # at once, before something arrives that is for TLS
        self._securing = self._loop.create_task(self._secured(_resumed(handshake, waiting)))

    async def _secured(self, handshake: Awaitable[asyncio.Transport | None]) -> None:
        try:
            transport = await handshake
        except (OSError, TimeoutError):  # of which ssl.SSLError is one
            transport = None
        if transport is None or transport.is_closing():
            self._table.leave(self)
            self._transport.abort()
            return
        self._transport = transport
        self._open()
        if self._early:
            self._speaker.received(self._early)
            self._early = b""


@types.coroutine
def _resumed(begun: Coroutine[Any, Any, T], waiting: Any) -> Generator[Any, Any, T]:
    """The rest of a coroutine whose first step was made, and which waits for ``waiting``."""
    try:
        while True:
            waiting = begun.send((yield waiting))
    except StopIteration as done:
        result: T = done.value
        return result
    finally:
        begun.close()
