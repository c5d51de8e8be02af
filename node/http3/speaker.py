"""JSON-RPC over HTTP/3 on one QUIC connection: a request on each stream, answered as over HTTP/1.1."""

from __future__ import annotations

import asyncio
import math
from collections import deque
from collections.abc import Coroutine
from functools import partial
from typing import Any

import structlog

from node.gateway.answers import HttpAnswer, HttpRefusal, refusing
from node.gateway.clock import DateLine
from node.gateway.exchange import NO_CONTENT, SILENCE, admitted, busy_answer, delayed, made, refusal_of, stopping
from node.gateway.http1 import HttpFault, too_large
from node.gateway.limits import HttpLimits
from node.gateway.routes import ALLOW, Plan, PlanKind, Routes
from node.http3.answers import CONTINUE, fields_of
from node.http3.counts import Http3Counts
from node.http3.head import check_trailers, field_bytes, malformed, read_fields
from node.http3.limits import Http3Limits
from node.http3.request import HeldShares, Http3Request
from node.ops.slices import LoopSlice
from node.rpc.errors import NodeBusy
from node.rpc.service import RpcService
from node.wire.errors import HelloTooLate, PeerFault, PlaceNeeded, SlowReader, WireError, WrongToken
from node.wire.http3 import (
    EXCESSIVE_LOAD,
    INTERNAL_ERROR,
    NO_ERROR,
    REQUEST_CANCELLED,
    REQUEST_REJECTED,
    Fields,
    Http3Fault,
    Http3Library,
)
from node.wire.library import StreamGone
from node.wire.peer import WirePeer

_log = structlog.get_logger("http3")

REQUEST_STREAMS = 4
"""Every fourth stream is one of requests (RFC 9000, 2.1)."""
ERRORS = 400
"""Where the statuses of errors begin (RFC 9110, 15)."""
CODES: dict[type[WireError], int] = {
    PeerFault: INTERNAL_ERROR,
    PlaceNeeded: NO_ERROR,
    HelloTooLate: NO_ERROR,
    WrongToken: NO_ERROR,
}
"""Error codes that mean these; of all others, that the peer asks for too much."""


class Http3Speaker:
    """The `node.wire.peer.WireSpeaker` of HTTP/3.

    A connection is greeted with its first request that is not refused. It may lose its place to another while nothing
    is computed for it.
    """

    def __init__(
        self,
        peer: WirePeer,
        library: Http3Library,
        service: RpcService,
        routes: Routes,
        limits: HttpLimits,
        date: DateLine,
        counts: Http3Counts,
        own: Http3Limits,
    ) -> None:
        self._peer = peer
        self._library = library
        self._http3 = library.connection(peer.quic, limits.head_bytes_max)
        self._service = service
        self._routes = routes
        self._limits = limits
        self._own = own
        self._counts = counts
        counts.came()
        self._date = date
        self._body_bytes_max = service.context.limits.body_size_max_bytes
        self._shares = HeldShares(service.held, limits.unsent_share)
        self._loop = asyncio.get_running_loop()
        self._plans: dict[tuple[tuple[bytes, bytes], ...], Plan] = {}
        """Heads of this connection, which are not read again when they come again."""
        self._requests: dict[int, Http3Request] = {}
        """What is under way, by stream."""
        self._working: set[int] = set()
        """Streams for whose answers something is computed: while there are any, the connection keeps its place."""
        self._left: set[int] = set()
        """Streams that are answered or refused, but which the peer has not ended. QUIC limits their number."""
        self._ready: deque[Http3Request] = deque()
        """Complete requests that wait for their turn."""
        self._sending: dict[int, Http3Request] = {}
        """Those whose answer is being sent; each sends a part in its turn."""
        self._turn: asyncio.Handle | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._is_greeted = self._is_leaving = False
        self._next_stream = 0
        """The first stream of requests that the peer has not used."""
        self._idle_deadline = self._loop.time() + limits.request_s
        self._watch(self._idle_deadline)
        peer.transmit_soon()

    # -- for the peer ------------------------------------------------------------------------------

    @property
    def first_datagrams_max(self) -> int:
        """Most datagrams before the first request that is not refused."""
        return self._own.first_datagrams_max

    @property
    def no_error(self) -> int:
        """The error code of a connection that ends in order."""
        return NO_ERROR

    def code_of(self, error: WireError) -> int:
        """The error code of RFC 9114 that means this."""
        return CODES.get(type(error), EXCESSIVE_LOAD)

    def stream_data(self, event: Any) -> None:
        """Bytes of a stream."""
        stream_id, is_end = event.stream_id, event.end_stream
        if stream_id in self._left:
            if is_end:
                self._left.discard(stream_id)
            return
        is_request = stream_id % REQUEST_STREAMS == 0
        if is_request and stream_id not in self._requests and not self._arrive(stream_id, is_end):
            return
        if is_end and is_request:
            self._requests[stream_id].end()
        for found in self._taken(event):
            kind = type(found)
            if kind is self._library.headers_received:
                self._head(found.stream_id, found.headers.fields)
            elif kind is self._library.data_received:
                self._body(found.stream_id, found.data)
        if is_end and is_request and not self._peer.is_gone:
            self._ended(stream_id)

    def stream_given_up(self, event: Any) -> None:
        """The peer has reset a stream, or wants nothing more of it."""
        stream_id, stops = event.stream_id, isinstance(event, self._peer.events.stop_sending)
        if stream_id in self._left:
            if not stops:
                self._left.discard(stream_id)
            return
        self._taken(event)
        if self._peer.is_gone or stream_id % REQUEST_STREAMS:
            return
        request = self._requests.get(stream_id)
        if request is None:
            if not stops and stream_id >= self._next_stream:  # an answered one may still be on its way to the peer
                self._http3.abandon(stream_id, REQUEST_CANCELLED)
            return
        self._peer.client.leave(stream_id)
        if not stops:
            request.end()
        self._abandon(request, REQUEST_CANCELLED)

    def advanced(self) -> None:
        """Datagrams were received or sent: there may be room for more."""
        if self._sending:
            self._send()
        if self._is_leaving and not self._requests and not self._peer.unsent:
            self._peer.close(NO_ERROR, "the node stops")

    def stop(self) -> None:
        """Take no new requests, and close when those under way are answered."""
        self._is_leaving = True
        self._http3.go_away(self._next_stream)
        self._peer.transmit_soon()

    def end(self) -> None:
        """Tell what is under way that the node stops."""
        for request in tuple(self._requests.values()):
            if request.task is not None:
                request.task.cancel()
            elif request.is_answered:
                self._abandon(request, INTERNAL_ERROR)
            else:
                self._give(request, stopping())

    def lost(self) -> None:
        """The connection is over."""
        self._counts.left()
        for handle in (self._turn, self._timer):
            if handle is not None:
                handle.cancel()
        for request in self._requests.values():
            request.drop()
        for found in (self._requests, self._sending, self._ready, self._plans):
            found.clear()

    # -- requests ----------------------------------------------------------------------------------

    def _taken(self, event: Any) -> list[Any]:
        """What an event means; nothing if it ends the connection."""
        try:
            return self._http3.take(event)
        except Http3Fault as fault:
            _log.warning("connection_refused", peer=self._peer.address, code=f"h3.{fault.code:#x}", reason=str(fault))
            self._peer.close(fault.code, str(fault))
            return []

    def _arrive(self, stream_id: int, is_end: bool) -> bool:
        """A stream has begun. Whether its request is taken."""
        if self._is_leaving and stream_id >= self._next_stream:
            self._http3.abandon(stream_id, REQUEST_REJECTED)
            if not is_end:
                self._peer.stop_stream(stream_id, REQUEST_REJECTED)
                self._left.add(stream_id)
            return False
        self._next_stream = max(self._next_stream, stream_id + REQUEST_STREAMS)
        self._counts.asked()
        due = self._loop.time() + self._limits.request_s
        self._requests[stream_id] = Http3Request(stream_id, self._shares, due)
        self._watch(due)
        return True

    def _head(self, stream_id: int, fields: Fields) -> None:
        """A head has arrived, or trailers, which mean nothing here."""
        request = self._requests.get(stream_id)
        if request is None or request.is_answered:
            return
        try:
            if request.plan is not None:
                check_trailers(fields)
                return
            plan, kept_bytes = self._plan(fields)
            plan = admitted(self._peer.stay, plan)
            request.take_plan(plan, kept_bytes)
            if plan.kind is PlanKind.CALL:
                self._await_body(request, plan)
            else:
                self._respond(request, plan)
        except HttpFault as fault:
            self._refuse(request, fault.refusal)
        except NodeBusy as busy:
            self._refuse(request, refusal_of(503, busy))

    def _respond(self, request: Http3Request, plan: Plan) -> None:
        """Give the answer that a plan already has, later if it says so."""
        assert plan.respond is not None, "no WebSocket is opened over HTTP/3"
        answer = plan.respond()
        self._greet(answer.status < ERRORS)
        if plan.delay_s:
            self._allow(request, plan.delay_s + self._limits.request_s)
            self._make(request, delayed(answer, plan.delay_s))
        else:
            self._give(request, answer)

    def _make(self, request: Http3Request, making: Coroutine[Any, Any, HttpAnswer]) -> None:
        """Give the answer when it is made."""
        request.wait_for(self._peer.spawn(self._give_made(request, making)))

    async def _give_made(self, request: Http3Request, making: Coroutine[Any, Any, HttpAnswer]) -> None:
        answer = await making
        request.wait_for(None)
        self._rest(request.stream_id)
        self._peer.guarded(self._give, request, answer)

    def _await_body(self, request: Http3Request, plan: Plan) -> None:
        """Let the body come. Raises `HttpFault`."""
        if plan.head.length is not None and plan.head.length > self._body_bytes_max:
            raise too_large(f"the body exceeds {self._body_bytes_max} bytes")
        self._greet(True)
        if plan.head.expectation:
            self._http3.send_head(request.stream_id, CONTINUE, False)

    def _plan(self, fields: Fields) -> tuple[Plan, int]:
        """What to do with a request, and how many bytes of its head are kept for it alone. Raises `HttpFault`."""
        key = tuple(fields)
        known = self._plans.get(key)
        if known is not None:
            return known, 0
        made = self._routes.plan(read_fields(fields, self._limits), self._peer.address, secure=True)
        size = field_bytes(fields)
        if made.kind is PlanKind.CALL and size <= self._limits.head_remembered_bytes_max:  # a wrong token counts again
            if len(self._plans) >= self._limits.heads_remembered_max:
                self._plans.clear()
            self._plans[key] = made
        return made, size

    def _greet(self, is_accepted: bool) -> None:
        if is_accepted and not self._is_greeted:
            self._is_greeted = True
            self._peer.greeted()
            self._peer.set_busy(False)

    def _body(self, stream_id: int, data: bytes) -> None:
        """A part of a body."""
        request = self._requests.get(stream_id)
        if request is None or request.is_answered or not data:
            return
        assert request.plan is not None, "the library lets no body come before its head"
        if request.plan.kind is not PlanKind.CALL:
            return
        length = request.plan.head.length
        try:
            if request.received_bytes + len(data) > self._body_bytes_max:
                raise too_large(f"the body exceeds {self._body_bytes_max} bytes")
            request.add(data)
            if length is not None and request.received_bytes > length:
                raise malformed("the body is longer than its content-length")
        except HttpFault as fault:
            self._refuse(request, fault.refusal)
        except NodeBusy as busy:
            self._refuse(request, refusal_of(503, busy))

    def _ended(self, stream_id: int) -> None:
        """The peer has sent all of a request, and what it means was looked at."""
        request = self._requests.get(stream_id)
        if request is None:
            self._left.discard(stream_id)
            return
        if request.is_answered:
            return
        if request.plan is None:
            self._drop(request)  # the library has refused it: there was no head
        elif request.plan.kind is not PlanKind.CALL:
            return  # its answer comes later
        elif request.plan.head.length not in (None, request.received_bytes):
            self._refuse(request, malformed("the body is shorter than its content-length").refusal)
        else:
            self._ready.append(request)
            self._answer_soon()

    def _answer_soon(self) -> None:
        if self._turn is None:
            self._turn = self._loop.call_soon(self._peer.guarded, self._answer_some)

    def _answer_some(self) -> None:
        """Answer the requests that are complete, as many as fit into a turn of the loop."""
        self._turn = None
        turn = LoopSlice()
        for _ in range(min(len(self._ready), self._own.answers_per_turn_max)):
            request = self._ready.popleft()
            if not request.is_dropped and not request.is_answered:
                self._answer(request)
            if turn.is_over:
                break
        if self._ready:
            self._answer_soon()

    def _answer(self, request: Http3Request) -> None:
        """Answer a request that is complete, at once or when its answer is made."""
        plan = request.plan
        assert plan is not None, "it has a head"
        self._allow(request, self._limits.answer_s)
        stream_id = request.stream_id
        try:
            begun = self._service.begin(request.body(), self._peer.client, caller=plan.caller, stream_id=stream_id)
            if isinstance(begun, Coroutine):
                self._make(request, made(begun, partial(self._answer_of, request)))
                self._working.add(stream_id)
                self._peer.set_busy(True)
            else:
                self._give(request, self._answer_of(request, begun))
        except NodeBusy as busy:
            self._give(request, busy_answer(busy))

    def _answer_of(self, request: Http3Request, answer: bytes | None) -> HttpAnswer:
        """The answer of a call. Raises `NodeBusy`."""
        if answer is None:
            return NO_CONTENT
        if not request.is_dropped:
            request.hold(len(answer))
        return HttpAnswer(200, answer)

    # -- answers -----------------------------------------------------------------------------------

    def _refuse(self, request: Http3Request, refusal: HttpRefusal) -> None:
        """Refuse a request, which the peer need not complete."""
        _log.warning("request_refused", peer=self._peer.address, code=refusal.code, reason=refusal.message)
        request.release()
        self._give(request, refusing(refusal, ALLOW if refusal.status == 405 else b""))

    def _give(self, request: Http3Request, answer: HttpAnswer) -> None:
        """Send an answer."""
        if request.is_dropped or self._peer.is_gone:
            return
        plan = request.plan
        if plan is not None and plan.headers:
            answer = answer._replace(headers=answer.headers + plan.headers)
        is_bodiless = plan is not None and plan.head.method == "HEAD"
        request.answer_with(b"" if is_bodiless else answer.body)
        try:
            self._http3.send_head(request.stream_id, fields_of(answer, self._date.line()), not request.unsent)
        except StreamGone:
            self._drop(request)
            return
        self._peer.transmit_soon()
        self._allow(request, self._limits.take_answer_s)
        if request.unsent:
            self._sending[request.stream_id] = request
            self._send()
        else:
            self._drop(request)

    def _send(self) -> None:
        """Give the library as much of the answers as it may have; a part of each in turn."""
        while self._sending and self._peer.unsent < self._own.unsent_bytes_max:
            stream_id = next(iter(self._sending))
            request = self._sending.pop(stream_id)
            part = request.next_part(self._own.part_bytes)
            try:
                self._http3.send_body(stream_id, part, not request.unsent)
            except StreamGone:
                self._drop(request)
                continue
            self._peer.transmit_soon()
            if request.unsent:
                self._sending[stream_id] = request
                self._allow(request, self._limits.take_answer_s)
            else:
                self._drop(request)

    def _abandon(self, request: Http3Request, code: int) -> None:
        """End a request without an answer, or in the middle of one."""
        self._http3.abandon(request.stream_id, code)
        self._drop(request, code)
        self._peer.transmit_soon()

    def _drop(self, request: Http3Request, code: int = NO_ERROR) -> None:
        """A request is over. What the peer still sends of it is not read (RFC 9114, 4.1)."""
        stream_id = request.stream_id
        request.drop()
        self._requests.pop(stream_id, None)
        self._sending.pop(stream_id, None)
        self._rest(stream_id)
        if not request.is_complete:
            self._peer.stop_stream(stream_id, code)
            self._left.add(stream_id)
        self._http3.forget(stream_id)
        if not self._requests:
            self._idle_deadline = self._loop.time() + self._limits.keep_alive_s
            self._watch(self._idle_deadline)

    def _rest(self, stream_id: int) -> None:
        """Nothing is computed for a stream any more. Who only sends a request, or takes an answer, may lose its place:
        that costs the peer nothing, and would keep all others out."""
        self._working.discard(stream_id)
        if self._is_greeted and not self._working and not self._peer.is_gone:
            self._peer.set_busy(False)

    # -- time --------------------------------------------------------------------------------------

    def _allow(self, request: Http3Request, seconds: float) -> None:
        """Let a request take so long from now on."""
        request.allow(self._loop.time() + seconds)
        self._watch(request.deadline)

    def _watch(self, due: float) -> None:
        """Look at what is late, at that time or before."""
        if self._timer is not None:
            if self._timer.when() <= due:
                return
            self._timer.cancel()
        self._timer = self._loop.call_at(due, self._peer.guarded, self._look)

    def _look(self) -> None:
        """End what is late."""
        self._timer = None
        now = self._loop.time()
        for request in tuple(self._requests.values()):
            if now >= request.deadline and not self._peer.is_gone:
                self._expired(request)
        if self._peer.is_gone:
            return
        if not self._requests and now >= self._idle_deadline:
            self._leave_idle()
            return
        earliest = min((request.deadline for request in self._requests.values()), default=self._idle_deadline)
        if earliest < math.inf:
            self._watch(earliest)

    def _expired(self, request: Http3Request) -> None:
        if not request.is_complete and not request.is_answered:
            self._refuse(request, HttpRefusal(408, "http.timeout", SILENCE, "send it at once"))
        elif request.is_answered:
            self._peer.refuse(SlowReader(f"an answer was not taken within {self._limits.take_answer_s} s"))
        else:
            self._peer.client.leave(request.stream_id)
            self._abandon(request, INTERNAL_ERROR)

    def _leave_idle(self) -> None:
        if self._is_greeted:
            self._peer.close(NO_ERROR, "no request for a while")
        else:
            self._peer.refuse(HelloTooLate(f"no request within {self._limits.request_s} s"))


def http3_speaker(
    library: Http3Library,
    service: RpcService,
    routes: Routes,
    limits: HttpLimits,
    counts: Http3Counts | None = None,
    own: Http3Limits | None = None,
) -> partial[Http3Speaker]:
    """Makes the speaker of a connection, for `node.wire.server.serve_wire`."""
    return partial(
        Http3Speaker,
        library=library,
        service=service,
        routes=routes,
        limits=limits,
        date=DateLine(),
        counts=counts or Http3Counts(),
        own=own or Http3Limits(),
    )
