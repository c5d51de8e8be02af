"""WebSocket on one connection (RFC 6455): the handshake, frames in, messages out. The framing is `websockets`'.

Compression is not offered: it takes longer than a message's way over a local network, on the event loop, and lets a
few bytes become megabytes. Everything a peer may send is counted: whole messages by how many are unanswered, control
frames and small fragments by an allowance, bytes of an unfinished message by the budget of large bodies.
"""

from __future__ import annotations

import logging
from collections import deque

from websockets.frames import CloseCode, Frame, Opcode
from websockets.http11 import Request
from websockets.protocol import State
from websockets.server import ServerProtocol

from node.doors.doors import Doors
from node.gateway.answers import HttpRefusal
from node.gateway.limits import HttpLimits
from node.gateway.link import ClientLink
from node.gateway.message_line import MessageLine
from node.gateway.routes import Plan
from node.ops.slices import LoopSlice
from node.rpc.caller import Caller
from node.rpc.errors import NodeBusy
from node.rpc.held import SMALL_BYTES
from node.rpc.service import RpcService

HANDSHAKE_HINT = "send the handshake of RFC 6455: a GET with Sec-WebSocket-Version: 13 and a Sec-WebSocket-Key"
DATA = (Opcode.TEXT, Opcode.BINARY, Opcode.CONT)
COPIED_BYTES_MAX = 8 * 1024
"""Larger messages are not copied behind the head of their frame."""
_log = logging.getLogger("websockets.server")


def text_frame_head(size: int) -> bytes:
    """The head of a text frame that is a whole message of so many bytes (RFC 6455, 5.2).

    >>> text_frame_head(200).hex(), text_frame_head(70_000).hex()
    ('817e00c8', '817f0000000000011170')
    """
    if size < 126:
        return bytes((0x81, size))
    return b"\x81\x7e" + size.to_bytes(2, "big") if size < 2**16 else b"\x81\x7f" + size.to_bytes(8, "big")


def open_websocket(
    link: ClientLink, service: RpcService, doors: Doors, plan: Plan, limits: HttpLimits
) -> WebSocketLine | HttpRefusal:
    """Answer the handshake that was planned; why not, if it is none, or its token has too many connections."""
    size_max = service.context.limits.body_size_max_bytes
    protocol = ServerProtocol(max_size=size_max, logger=_log)
    protocol.receive_data(plan.head.without_query())
    request = next(iter(protocol.events_received()), None)
    response = protocol.accept(request) if isinstance(request, Request) else None
    if response is None or response.status_code != 101:
        message = str(protocol.handshake_exc) or "this is not a handshake"
        return HttpRefusal(400, "http.websocket", f"no WebSocket: {message:.200}", HANDSHAKE_HINT)
    line = WebSocketLine(link, service, protocol, doors, plan.caller, limits)
    if (refused := line.stay.use(plan.caller)) is not None:
        line.lost()
        return HttpRefusal(*refused)
    protocol.send_response(response)
    link.write(b"".join(protocol.data_to_send()))
    return line


class FrameAllowance:
    """How many frames that carry little a peer may send: some at once, then so many a second."""

    def __init__(self, burst: int, per_second: float, now: float) -> None:
        self._burst = burst
        self._per_second = per_second
        self._left = float(burst)
        self._at = now

    def take(self, count: int, now: float) -> bool:
        """Whether so many more are allowed."""
        self._left = min(self._burst, self._left + (now - self._at) * self._per_second) - count
        self._at = now
        return self._left >= 0


class WebSocketLine(MessageLine):
    """The `Speaker` of a connection that became a WebSocket, and the `Channel` of its requests."""

    def __init__(
        self,
        link: ClientLink,
        service: RpcService,
        protocol: ServerProtocol,
        doors: Doors,
        caller: Caller,
        limits: HttpLimits,
    ) -> None:
        super().__init__(link, service, limits, caller)
        self.stay = doors.stay(self._ended_by_owner)
        self._protocol = protocol
        self._received = bytearray()
        """What has not been looked at."""
        self._frames: deque[Frame] = deque()
        """Frames found in it that wait for their turn."""
        self._parts: list[bytes] = []
        self._size = 0
        """Bytes of the unfinished message."""
        self._is_ponging = False
        """Whether a ping was sent and the peer has said nothing since."""
        self._allowance = FrameAllowance(limits.overhead_frames_burst, limits.overhead_frames_per_s, self._loop.time())
        link.allow(limits.ping_every_s)

    # -- for the link -------------------------------------------------------------------------------

    def received(self, data: bytes) -> None:
        """Bytes of the peer."""
        if self._is_ponging:
            self._is_ponging = False
            self._touch()
        self._received += data
        self._advance()

    def ended(self) -> None:
        """The peer sends no more: it has gone, as a WebSocket ends with a frame that says so."""
        self._link.close()

    def expired(self) -> None:
        """A message takes too long, or the peer is silent: ask whether it is there, once."""
        if self._is_partial:
            self._close(CloseCode.POLICY_VIOLATION, "the message did not arrive completely in time")
        elif self._is_ponging:
            self._close(CloseCode.INTERNAL_ERROR, "no answer to a ping")
        else:
            self._is_ponging = True
            self._protocol.send_ping(b"zvmd")
            self._flush()
            self._link.allow(self._limits.ping_every_s)

    def _ended_by_owner(self) -> None:
        """The token it came in with is not valid any more."""
        self._close(CloseCode.POLICY_VIOLATION, "the token was revoked or has expired")
        self._link.close()

    def make_room(self) -> None:
        """Close; the place is needed."""
        self._close(CloseCode.TRY_AGAIN_LATER, "all connections are in use")

    def stop(self) -> None:
        """The node stops."""
        self._close(CloseCode.SERVICE_RESTART, "the node stops")

    def lost(self) -> None:
        """The connection is gone."""
        self.stay.over()
        self._protocol.parser.close()
        super().lost()

    # -- for the requests ---------------------------------------------------------------------------

    def _send(self, message: bytes) -> None:
        if self._link.is_open and self._protocol.state is State.OPEN:
            if len(message) <= COPIED_BYTES_MAX:
                self._protocol.send_text(message)
                self._flush()
            else:
                self._write(text_frame_head(len(message)), message)
            self._link.used()
            self._touch()

    # -- frames -------------------------------------------------------------------------------------

    def _advance(self) -> None:
        """Look at what was received, as far as this turn and the limits allow."""
        frames = size = 0
        limits, turn = self._limits, LoopSlice()
        while (self._received or self._frames) and self._link.is_open and not self._is_blocked:
            is_full = frames >= limits.frames_per_turn_max or size >= limits.message_bytes_per_turn_max
            if is_full or turn.is_over:
                self._turn = self._loop.call_soon(self._next_turn)
                break
            if self._frames:
                frame = self._frames.popleft()
                frames += 1
                size += len(frame.data)
                self._take(frame)
            else:
                self._read_frames()
            if self._protocol.state is not State.OPEN and not self._frames:
                self.stay.over()
                self._link.finish()
        self._mark()

    def _read_frames(self) -> None:
        """Find the frames in the next slice of what was received."""
        part = bytes(self._received[: self._limits.slice_bytes])
        del self._received[: self._limits.slice_bytes]
        self._protocol.receive_data(part)
        for event in self._protocol.events_received():
            assert isinstance(event, Frame)
            self._frames.append(event)
        self._flush()

    @property
    def _is_blocked(self) -> bool:
        """Whether what was received has to wait, for others' turns if for nothing else."""
        return self._turn is not None or self._is_waiting

    def _take(self, frame: Frame) -> None:
        """A frame has arrived."""
        is_small = len(frame.data) < self._limits.fragment_bytes_min
        is_whole = frame.fin and frame.opcode is not Opcode.CONT
        overhead = frame.opcode not in DATA or (is_small and not is_whole)
        if overhead and not self._allowance.take(1, self._loop.time()):
            self._close(CloseCode.POLICY_VIOLATION, "too many control frames or small fragments")
        if frame.opcode not in DATA:
            return
        self._parts.append(bytes(frame.data))
        self._size += len(frame.data)
        if frame.fin and self._link.is_open:
            body, self._parts, self._size = b"".join(self._parts), [], 0
            self._holding.release()
            self._requests.receive(body)
            self._touch()

    def _mark(self) -> None:
        """Set the time for what is waited for, and whether more is received meanwhile."""
        if not self._link.is_open:
            return
        waiting = len(self._protocol.reader.buffer)
        try:
            self._holding.hold(self._size + waiting)
        except NodeBusy as busy:
            self._close(CloseCode.TRY_AGAIN_LATER, str(busy)[:100])
            return
        is_waiting = self._is_waiting
        is_partial = not is_waiting and (bool(self._parts) or waiting > 0)
        if is_waiting:
            self._link.allow(self._limits.answer_s)
        elif is_partial != self._is_partial or not is_partial:
            self._link.allow(self._limits.request_s if is_partial else self._limits.ping_every_s)
        self._is_partial = is_partial
        is_blocked = is_waiting or self._turn is not None
        self._link.read(not is_blocked or len(self._received) < SMALL_BYTES)

    def _close(self, code: CloseCode, reason: str) -> None:
        """Say why, and close."""
        if self._link.is_open and self._protocol.state is State.OPEN:
            self._protocol.send_close(code, reason)
            self._flush()
        self.stay.over()
        self._link.finish()

    def _flush(self) -> None:
        """Send what the protocol has to say."""
        if said := b"".join(self._protocol.data_to_send()):
            self._write(said)
