"""One TCP connection: its timer, its flow control, its end. What is spoken on it is a `Speaker`'s."""

from __future__ import annotations

import asyncio
import math
import socket
import ssl
from collections import deque
from collections.abc import Callable
from typing import Protocol, cast

from node.gateway.answers import CLOSE, HttpRefusal, head_of, refusing
from node.gateway.clock import DateLine
from node.gateway.connections import ConnectionTable, Place
from node.gateway.limits import HttpLimits
from node.gateway.tls import HANDSHAKE, HandshakeTurns, TlsFault, TlsLayer
from node.ops.slices import LoopSlice
from node.rpc.held import SMALL_BYTES

PLAIN_HTTP = HttpRefusal(400, "http.tls", "this port speaks TLS", "use https:// or wss://")
UNPROVED_S = 86_400.0
"""A connection that has been of no use yet counts as idle for so much longer: it makes room first."""
CREDIT_SHARE = 10.0
"""A connection counts as used later than it was, by so many times the time from its first use to its last: a burst of
connections that are used once each takes no place from one in use that happens to pause."""
CREDIT_MAX_S = 10.0
"""The most of that: who pauses for longer makes room for new ones."""


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


class Security:
    """The TLS of a listener's connections."""

    def __init__(self, context: ssl.SSLContext, turns: HandshakeTurns, date: DateLine) -> None:
        self.context = context
        """What handshakes use that begin from now on."""
        self.turns = turns
        self.date = date
        self.completed = 0
        """Handshakes; so are the next two."""
        self.failed = 0
        """Broken ones, and those without a certificate where one is required."""
        self.plain = 0
        """Clients that spoke HTTP without TLS."""

    def use(self, context: ssl.SSLContext) -> None:
        """Secure new connections with this. Safe to call on any thread."""
        self.context = context

    def count(self, *, completed: int = 0, failed: int = 0, plain: int = 0) -> None:
        """Add to the counts."""
        self.completed += completed
        self.failed += failed
        self.plain += plain


class ClientLink(asyncio.Protocol):
    """A connection of the listener, under a deadline from beginning to end."""

    def __init__(
        self,
        table: ConnectionTable,
        limits: HttpLimits,
        speaker: Callable[[ClientLink], Speaker],
        security: Security | None = None,
    ) -> None:
        self._table = table
        self._limits = limits
        self._make_speaker = speaker
        self._security = security
        self._tls: TlsLayer | None = None
        self._loop = asyncio.get_running_loop()
        self._behind_since = math.inf
        self._is_full = False
        """Whether the transport has as much as it takes."""
        self._turn: asyncio.Handle | None = None
        """The next turn of the loop in which more is sent."""
        self._deadline = math.inf
        self._is_reading = True
        self._discarded = 0
        self._is_gone = False
        self._arrived = b""
        """What arrived of TLS and waits for its turn. Nothing is received meanwhile."""
        self._shaken_bytes = 0
        """Bytes of the handshake so far."""
        self._unsealed: deque[memoryview] = deque()
        """What waits to be sent, and over TLS to be encrypted, until the peer has taken what was sent before."""
        self._is_shaking = security is not None
        """Whether the TLS handshake is under way."""
        self._has_parted = False
        """Whether nothing more can be sent."""
        self._farewell: Callable[[], None] | None = None
        """What is done when everything is sent, if that is not yet."""
        self._first_use = math.inf
        self.standing = 0.0
        """When it was last used, on the loop's clock, and its credit; infinity while work is under way, less than any
        time if it is to be refused."""
        self.is_open = False
        """Whether something may be written."""
        self.is_surplus = False
        """Whether it is one more than are served."""
        self.address: str | None = None
        """The peer's IP address."""
        self.certificate: bytes | None = None
        """The verified certificate that the peer has shown over TLS, DER."""

    @property
    def is_behind(self) -> bool:
        """Whether the peer has to take what was written before more is."""
        return self._is_full or bool(self._unsealed)

    @property
    def is_secure(self) -> bool:
        """Whether the connection is encrypted."""
        return self._security is not None

    @property
    def peer_socket(self) -> socket.socket:
        """The socket of the connection, as far as its loop shows it."""
        found: socket.socket = self._transport.get_extra_info("socket")
        return found

    # -- for the speaker ----------------------------------------------------------------------------

    def write(self, head: bytes, body: bytes = b"") -> None:
        """Send. What is not open any more loses nothing by it."""
        if not self.is_open:
            return
        is_small = len(head) + len(body) <= SMALL_BYTES
        if is_small and self._tls is None and not self._unsealed:
            self._transport.write(head + body)
            return
        parts = (head + body,) if is_small else (head, body)
        self._unsealed += map(memoryview, parts)
        if self._turn is None:
            self._send_on()

    def allow(self, seconds: float) -> None:
        """Call `Speaker.expired` if so much time passes, give or take `HttpLimits.look_every_s`."""
        self._deadline = self._loop.time() + seconds

    def used(self) -> None:
        """It has had an answer that was no refusal."""
        self._first_use = min(self._first_use, self._loop.time())

    def set_busy(self, busy: bool) -> None:
        """Whether there is work under way, during which the connection keeps its place."""
        now = self._loop.time()
        is_proved = now >= self._first_use
        credit_s = min(CREDIT_SHARE * (now - self._first_use), CREDIT_MAX_S) if is_proved else -UNPROVED_S
        self.standing = math.inf if busy else now + credit_s

    def forfeit(self) -> None:
        """It is to be refused, and makes room before any other: who sends wrong tokens is not to keep out those of whom
        nothing was read yet."""
        self.standing = -math.inf

    def read(self, wanted: bool) -> None:
        """Go on or pause with receiving."""
        if wanted != self._is_reading and self.is_open:
            self._is_reading = wanted
            if not wanted:
                self._transport.pause_reading()
            elif self._arrived:
                self._loop.call_soon(self._step)
            else:
                self._transport.resume_reading()

    def hand_over(self, speaker: Speaker) -> None:
        """Something else is spoken from now on."""
        self._speaker = speaker

    def finish(self) -> None:
        """Close behind what was written. The peer has some time to hang up first: it would lose an answer otherwise."""
        if not self.is_open:
            return
        self.read(True)
        self.is_open = False
        self.set_busy(False)
        self.allow(self._limits.take_answer_s if self.is_behind else self._limits.linger_s)
        self._end_with(self._write_eof)

    def close(self) -> None:
        """Close behind what was written."""
        self.is_open = False
        self.allow(self._limits.linger_s)
        self._end_with(self._transport.close)

    def abort(self) -> None:
        """Close at once, and discard what waits to be sent."""
        self.is_open = False
        self._unsealed.clear()
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
            self._end_with(self._transport.close)

    def end(self) -> None:
        """Tell what is under way that the node stops, and close."""
        if self.is_open:
            self._speaker.end()
        else:
            self._end_with(self._transport.close)

    # -- for the transport --------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """A peer has connected."""
        self._transport = cast("asyncio.Transport", transport)
        peer = transport.get_extra_info("peername")
        self.address = peer[0] if peer else None
        self.set_busy(False)
        self._speaker = self._make_speaker(self)
        place = self._table.enter(self)
        if place is Place.NONE:
            self._transport.abort()
            return
        self.is_surplus = place is Place.SURPLUS
        if self._security is None:
            self._open()
        else:
            self.allow(self._limits.tls_handshake_s)

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - asyncio's signature
        """It is over."""
        self.is_open = False
        self._is_full = False
        self._is_gone = True
        self._unsealed.clear()
        self._farewell = None
        self._table.leave(self)
        self._speaker.lost()
        del self._speaker  # it has the link, and a cycle would wait for the garbage collector

    def data_received(self, data: bytes) -> None:
        """Bytes of the peer."""
        if self.is_open and self._security is None:
            self._speaker.received(data)
        elif self.is_open or self._is_shaking:
            waits = bool(self._arrived)
            self._arrived += data
            if not waits:
                self._take_turn()
        else:
            self._discarded += len(data)
            if self._discarded > self._limits.linger_bytes_max:
                self.abort()

    def eof_received(self) -> bool:
        """The peer sends no more. Whether the connection stays, for answers."""
        if not self.is_open:
            return False
        if self._tls is None or not self._tls.has_ended:
            self._speaker.ended()
        return True

    def pause_writing(self) -> None:
        """The peer does not take what was written as fast as it is made."""
        self._is_full = True
        self._behind_since = min(self._behind_since, self._loop.time())

    def resume_writing(self) -> None:
        """It has taken everything that was sent."""
        self._is_full = False
        if self._turn is None:
            self._next_turn()

    def _next_turn(self) -> None:
        """Send what waits, and say so when that is all."""
        self._turn = None
        self._send_on()
        if self.is_behind:
            return
        self._behind_since = math.inf
        if self._tls is not None and self._is_reading and not self._arrived:
            self._transport.resume_reading()
        if self.is_open:
            self._speaker.drained()
        elif self._farewell is not None:
            self._end_with(self._farewell)

    def _open(self) -> None:
        self.is_open = True
        self._transport.set_write_buffer_limits(high=SMALL_BYTES, low=0)
        self.allow(self._limits.request_s)

    def _end_with(self, farewell: Callable[[], None]) -> None:
        """End the connection so when everything is sent."""
        self._is_shaking = False
        self._farewell = farewell if self._unsealed else None
        if self._farewell is not None or self._is_gone or self._transport.is_closing():
            return
        if self._tls is not None and not self._has_parted:
            self._transport.write(self._tls.end())
        self._has_parted = True
        farewell()

    # -- TLS ----------------------------------------------------------------------------------------

    def _take_turn(self) -> None:
        """Go on with what has arrived: at once, or for a handshake when others of this turn have had theirs."""
        if self._is_shaking:
            assert self._security is not None
            self._transport.pause_reading()
            self._security.turns.take(self._step)
        else:
            self._step()

    def _step(self) -> None:
        """Take some records of what has arrived."""
        if self._is_gone or self._transport.is_closing():
            return
        data, self._arrived = self._arrived, b""
        if data and (self.is_open or self._is_shaking):
            assert self._security is not None
            if self._tls is None and data[0] == HANDSHAKE:
                self._tls = TlsLayer(self._security.context)
            if self._tls is None:
                self._refuse_plain(data)
            else:
                self._unseal(self._tls, data)
        if self._arrived and self._is_reading:
            self._transport.pause_reading()
            self._loop.call_soon(self._take_turn)
        elif not self._arrived and self._is_reading and not self.is_behind:
            self._transport.resume_reading()

    def _unseal(self, tls: TlsLayer, data: bytes) -> None:
        """Give the speaker what some records in ``data`` carry, once the handshake is complete."""
        limits = self._limits
        try:
            plain, rest = tls.receive(data, limits.tls_records_per_turn)
        except TlsFault:
            self._give_up(tls)
            return
        if own := tls.sent():
            self._transport.write(own)
            if self.is_behind:  # the peer makes TLS answer, and does not take the answers
                self._transport.pause_reading()
        self._shaken_bytes += 0 if self.is_open else len(data) - len(rest)
        if self._shaken_bytes > limits.tls_handshake_bytes_max or tls.silent_records > limits.tls_silent_records_max:
            self._give_up(tls)
            return
        self._arrived = rest
        if self._is_shaking and tls.is_established:
            assert self._security is not None
            self._is_shaking = False
            self._security.count(completed=1)
            self.certificate = tls.certificate
            self._open()
        if plain and self.is_open:
            self._speaker.received(plain)
        if tls.has_ended and self.is_open:
            self._speaker.ended()

    def _give_up(self, tls: TlsLayer) -> None:
        """Send the alert, and close: the peer would not see it if its own bytes were still unread."""
        assert self._security is not None
        if self._is_shaking:
            self._security.count(failed=1)
        self._unsealed.clear()
        self.is_open = False
        self._transport.write(tls.sent())
        self._part()

    def _refuse_plain(self, data: bytes) -> None:
        """Answer a client that spoke HTTP without TLS. Others would not understand it."""
        assert self._security is not None
        if not data[:1].isupper():  # no HTTP method
            self._security.count(failed=1)
            self.abort()
            return
        self._security.count(plain=1)
        answer = refusing(PLAIN_HTTP, closes=True)
        self._transport.write(head_of(answer, self._security.date.line(), CLOSE) + answer.body)
        self._part()

    def _part(self) -> None:
        """Send nothing more, and let the peer hang up."""
        self._is_shaking = False
        self._has_parted = True
        self.set_busy(False)
        self.allow(self._limits.linger_s)
        self._write_eof()

    def _write_eof(self) -> None:
        try:
            self._transport.write_eof()
        except OSError:  # the peer has reset the connection, and asyncio's transport has not noticed yet
            self._transport.abort()

    def _send_on(self) -> None:
        """Send what waits, in pieces, as long as the transport takes them and this turn of the loop allows."""
        turn = LoopSlice()
        while self._unsealed and not self._is_full and self._turn is None:
            part = self._unsealed.popleft()
            if len(part) > SMALL_BYTES:
                self._unsealed.appendleft(part[SMALL_BYTES:])
            piece = part[:SMALL_BYTES]
            self._transport.write(piece if self._tls is None else self._tls.seal(piece))
            if self._unsealed and turn.is_over:
                self._turn = self._loop.call_soon(self._next_turn)
        if self._unsealed:
            self._behind_since = min(self._behind_since, self._loop.time())
