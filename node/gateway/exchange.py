"""HTTP on one connection: requests in, answers out, one after the other and in order."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Coroutine
from enum import Enum, auto
from typing import Any

import structlog

from chain.errors import ZvmdError
from node.api.errors import NodeStopping
from node.gateway.answers import CLOSE, CONTINUE, JSON, KEEP_ALIVE, NO_WORD, HttpAnswer, HttpRefusal, head_of, refusing
from node.gateway.clock import DateLine
from node.gateway.http1 import HttpFault, RequestParser, malformed, too_large
from node.gateway.limits import HttpLimits
from node.gateway.link import ClientLink
from node.gateway.routes import ALLOW, Plan, PlanKind, Routes
from node.gateway.websocket import open_websocket
from node.ops.slices import LoopSlice
from node.rpc.errors import InternalError, NodeBusy
from node.rpc.held import SMALL_BYTES
from node.rpc.service import RpcService
from node.rpc.work import ConnectedClient

_log = structlog.get_logger("http")

FULL = HttpRefusal(503, "http.connections", "all connections are in use", "raise [limits] http_connections")
NO_CONTENT = HttpAnswer(204, b"", b"")
SILENCE = "the request did not arrive completely in time"


class Phase(Enum):
    """What a connection waits for. Each has its time, see `HttpExchange._mark`."""

    FRESH = auto()
    """Its first request."""
    RECEIVING = auto()
    """The rest of a request."""
    ANSWERING = auto()
    """An answer that is being made, or that the peer has not taken: the link has a time for that."""
    IDLE = auto()
    """Another request."""


class HttpExchange:
    """The `Speaker` of a connection until it becomes a WebSocket."""

    def __init__(
        self,
        link: ClientLink,
        service: RpcService,
        routes: Routes,
        limits: HttpLimits,
        date: DateLine,
        elsewhere: bytes = b"",
    ) -> None:
        """``elsewhere`` is a line of all answers that says where else the node is (`alternative`), or nothing."""
        self._link = link
        self._service = service
        self._limits = limits
        self._date = date
        self._elsewhere = elsewhere
        self._body_bytes_max = service.context.limits.body_size_max_bytes
        self._parser = RequestParser(
            limits,
            self._body_bytes_max,
            lambda head: routes.plan(head, link.address, link.is_secure, link.certificate),
        )
        self._client = ConnectedClient()
        self._stay = routes.doors.stay(link.close)
        self._routes = routes
        self._holding = service.held.holding()
        self._phase = Phase.FRESH
        self._plan: Plan | None = None
        """The request that is being received or answered."""
        self._parts: list[bytes] = []
        self._size = 0
        """Bytes of its body so far."""
        self._task: asyncio.Task[None] | None = None
        """Makes its answer."""
        self._turn: asyncio.Handle | None = None
        """The next turn, if there is more to do than this one allows."""
        self._is_last = False
        """Whether the connection ends with the answers to what has been received."""
        self._has_ended = False
        """Whether the peer sends no more."""

    # -- for the link -------------------------------------------------------------------------------

    def received(self, data: bytes) -> None:
        """Bytes of the peer."""
        self._parser.receive(data)
        self._advance()

    def drained(self) -> None:
        """The peer has taken its answer."""
        if self._task is None:
            self._holding.release()
            self._advance()

    def ended(self) -> None:
        """The peer sends no more: it waits for its answers, or has gone, which looks the same."""
        self._is_last = self._has_ended = True
        if self._task is not None:
            self._link.allow(self._limits.half_closed_s)
        self._mark(answered=False)

    def expired(self) -> None:
        """The peer has been silent for too long, or its answer took too long."""
        if self._phase is Phase.RECEIVING:
            self._refuse(HttpRefusal(408, "http.timeout", SILENCE, "send it at once"))
        elif self._phase is Phase.ANSWERING:
            self._link.abort()
        else:
            self._link.close()

    def make_room(self) -> None:
        """Close; the place is needed."""
        self._link.close()

    def stop(self) -> None:
        """Close when what is under way is answered, but not after a refusal that only waits."""
        self._is_last = True
        if self._task is not None and self._waits_to_refuse:
            self._task.cancel()
        self._mark(answered=False)

    def end(self) -> None:
        """Tell what is under way that the node stops, and close."""
        if self._task is not None:
            self._task.cancel()
        else:
            self._give(_stopping())

    def lost(self) -> None:
        """The connection is gone: nobody waits for what is under way."""
        self._client.leave()
        self._stay.over()
        if self._turn is not None:
            self._turn.cancel()
        if self._task is None:
            self._holding.release()

    # -- requests -----------------------------------------------------------------------------------

    def _advance(self, answered: int = 0) -> None:
        """Do all that can be done now with what was received; ``answered`` requests had their answers just now."""
        turn = LoopSlice()
        try:
            while self._link.is_open and not self._is_blocked:
                if answered >= self._limits.requests_per_turn_max or (answered and turn.is_over):
                    self._turn = asyncio.get_running_loop().call_soon(self._next_turn)
                elif self._plan is None:
                    self._plan = self._parser.next_head()
                    if self._plan is None:
                        break
                    if self._plan.kind is PlanKind.WEBSOCKET and not self._link.is_surplus:
                        self._upgrade(self._plan)
                        return
                    self._begin(self._plan)
                elif self._receive_body(self._plan):
                    answered += 1
                    self._answer(self._plan)
                else:
                    break
        except HttpFault as fault:
            refused = fault.refusal
            _log.warning("request_refused", peer=self._link.address, code=refused.code, reason=refused.message)
            self._refuse(refused)
        self._mark(answered > 0)

    @property
    def _is_blocked(self) -> bool:
        """Whether what was received has to wait: for an answer, for the peer to take one, or for others' turns."""
        return self._task is not None or self._turn is not None or self._link.is_behind

    def _next_turn(self) -> None:
        self._turn = None
        self._advance()

    def _mark(self, answered: bool) -> None:
        """Set the time for what is waited for, and whether more is received meanwhile."""
        link, limits, before = self._link, self._limits, self._phase
        if not link.is_open:
            return
        if self._task is not None or link.is_behind:
            self._phase, seconds = Phase.ANSWERING, limits.answer_s
        elif self._plan is not None or self._parser.has_begun:
            self._phase, seconds = Phase.RECEIVING, limits.request_s
        elif answered or before is not Phase.FRESH:
            self._phase, seconds = Phase.IDLE, limits.keep_alive_s
        else:
            seconds = limits.request_s
        if answered:
            link.set_busy(self._task is not None and not self._waits_to_refuse)
        if answered or before not in (self._phase, Phase.FRESH):
            link.allow(seconds)
        is_blocked = self._is_blocked
        link.read(not is_blocked or self._parser.buffered < limits.pipelined_bytes_max)
        if self._is_last and not is_blocked:
            self._end_input()

    @property
    def _waits_to_refuse(self) -> bool:
        """Whether all that is under way is a refusal that is sent later: nothing that keeps a place from others."""
        return self._plan is not None and self._plan.delay_s > 0

    def _end_input(self) -> None:
        """Close, unless a request is still arriving; one that the peer cannot complete any more is refused."""
        if self._phase is not Phase.RECEIVING:
            self._stay.over()
            self._link.finish()
        elif self._has_ended:
            self._refuse(malformed("the request ended too early").refusal)

    def _begin(self, plan: Plan) -> None:
        """A head has arrived: answer what need not wait for a body, or may not."""
        head = plan.head
        if self._link.is_surplus:
            self._give(refusing(FULL, closes=True))
        elif plan.kind is PlanKind.CALL:
            if head.length is not None and head.length > self._body_bytes_max:
                raise too_large(f"the body exceeds {self._body_bytes_max} bytes")
            if head.expectation:
                self._link.write(CONTINUE)
        elif head.expectation or head.length is None or head.length > self._limits.discarded_body_bytes_max:
            self._respond(plan, closes=True)

    def _receive_body(self, plan: Plan) -> bool:
        """Take what there is of the body; whether it is whole. Raises `HttpFault`."""
        part = self._parser.next_body()
        if part and plan.kind is PlanKind.CALL:
            self._parts.append(part)
            self._size += len(part)
            if self._size > SMALL_BYTES:
                try:
                    self._holding.hold(self._size)
                except NodeBusy as busy:
                    raise HttpFault(_busy(busy)) from None
        return self._parser.is_complete

    def _answer(self, plan: Plan) -> None:
        """Answer a request that is complete, at once or when its answer is made."""
        if plan.respond is not None:
            self._respond(plan)
            return
        body, self._parts, self._size = self._parts, [], 0
        if (refused := self._stay.use(plan.caller)) is not None:
            self._give(refusing(HttpRefusal(*refused)))
            return
        try:
            begun = self._service.begin(body, self._client, caller=plan.caller)
            if isinstance(begun, Coroutine):
                self._task = asyncio.get_running_loop().create_task(self._wait(begun))
            else:
                self._give(self._answer_of(begun))
        except NodeBusy as busy:
            self._give(busy_answer(busy))

    def _respond(self, plan: Plan, closes: bool = False) -> None:
        """Give the answer that a plan already has, later if it says so."""
        assert plan.respond is not None
        answer = plan.respond()
        answer = answer._replace(closes=closes or answer.closes)
        if plan.delay_s:
            self._task = asyncio.get_running_loop().create_task(self._give_later(answer, plan.delay_s))
        else:
            self._give(answer)

    async def _give_later(self, answer: HttpAnswer, seconds: float) -> None:
        try:
            await asyncio.sleep(seconds)
        except asyncio.CancelledError:
            answer = _stopping()
        self._task = None
        self._give(answer)
        self._advance(answered=1)

    async def _wait(self, begun: Coroutine[Any, Any, bytes | None]) -> None:
        try:
            answer = self._answer_of(await begun)
        except NodeBusy as busy:
            answer = busy_answer(busy)
        except asyncio.CancelledError:
            answer = _stopping()
        except Exception as error:
            _log.error("request_failed", exc_info=error)
            answer = refusing(refusal_of(500, InternalError(type(error).__name__)))
        self._task = None
        self._give(answer)
        self._advance(answered=1)

    def _answer_of(self, answer: bytes | None) -> HttpAnswer:
        """The answer of a call. Raises `NodeBusy`."""
        if answer is None:
            return NO_CONTENT
        if len(answer) > SMALL_BYTES:
            self._holding.hold(len(answer))
        return HttpAnswer(200, answer)

    def _give(self, answer: HttpAnswer) -> None:
        """Send the answer to the request that is under way, and close if it was the last."""
        plan, self._plan = self._plan, None
        if plan is not None and plan.headers:
            answer = answer._replace(headers=answer.headers + plan.headers)
        stays = not answer.closes and plan is not None and plan.head.keeps_alive
        stays = stays and not (self._is_last and not self._parser.has_begun)
        word = (NO_WORD if plan is None or plan.head.minor else KEEP_ALIVE) if stays else CLOSE
        is_bodiless = plan is not None and plan.head.method == "HEAD"
        if answer.status < 400:
            self._link.used()
        head = head_of(answer, self._date.line() + self._elsewhere, word)
        self._link.write(head, b"" if is_bodiless else answer.body)
        if not stays:
            self._stay.over()
            self._link.finish()
        if not self._link.is_behind:
            self._holding.release()

    def _refuse(self, refusal: HttpRefusal) -> None:
        """Refuse the request that is under way or could not be read, and close."""
        self._parts, self._size = [], 0
        self._give(refusing(refusal, ALLOW if refusal.status == 405 else b"", closes=True))

    def _upgrade(self, plan: Plan) -> None:
        """Become a WebSocket, or say why not."""
        self._stay.over()
        opened = open_websocket(self._link, self._service, self._routes.doors, plan, self._limits)
        if isinstance(opened, HttpRefusal):
            self._give(refusing(opened, closes=True))
            return
        self._plan = None
        self._link.hand_over(opened)
        if rest := self._parser.rest():
            opened.received(rest)


def _stopping() -> HttpAnswer:
    return refusing(refusal_of(503, NodeStopping("the node stopped before this was answered")), closes=True)


def _busy(busy: NodeBusy) -> HttpRefusal:
    return refusal_of(503, busy)


def busy_answer(busy: NodeBusy) -> HttpAnswer:
    """The answer to a request that the node does not work on, for now or for this client."""
    later = b"retry-after: %d\r\n" % math.ceil(busy.retry_after_s)
    return HttpAnswer(429, busy.answer, JSON + later) if busy.answer else refusing(_busy(busy), later)


def refusal_of(status: int, error: ZvmdError) -> HttpRefusal:
    """The refusal of a request for which there was this error."""
    return HttpRefusal(status, error.code, str(error), error.hint)
