"""The dispatcher on an event loop: reads go to the reader threads, writes and waits run as tasks."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from contextlib import suppress
from functools import partial
from typing import Any

from chain.errors import ZvmdError
from node.api.backend import Backend
from node.ops.slices import LoopSlice
from node.rpc.batches import BatchAnswers
from node.rpc.brief import LONG, BriefReads
from node.rpc.caller import NODE, Caller
from node.rpc.context import Context
from node.rpc.cost import CHEAP, PART, Order, ReadPrice, kind_of, price_of, price_of_gas
from node.rpc.dispatch import Body, Call, Dispatcher, Request, is_small
from node.rpc.errors import NodeBusy, RateExceeded
from node.rpc.held import Held
from node.rpc.methods import load_methods
from node.rpc.readers import Readers
from node.rpc.registry import find_method, known_method
from node.rpc.strict_json import LARGE_BYTES
from node.rpc.typed import TypedRequest
from node.rpc.typed import decode as decode_typed
from node.rpc.work import ConnectedClient, ConnectionMethods, Shares, Work
from vm.interruption import checkpoint

JOINED_BYTES = 128 * 1024
"""Answers of a batch that are together larger are joined on a reader thread."""


class RpcService:
    """Answers requests of all transports. One per node, made on its event loop."""

    def __init__(self, context: Context, readers: Readers, brief: BriefReads, held: Held) -> None:
        """``readers`` are the threads behind ``context.read``; `close` stops them, and that of ``brief``."""
        load_methods()
        self.context = context
        self.dispatcher = Dispatcher(context)
        self.readers = readers
        self.shares = Shares()
        """Shares of the reader threads, by caller."""
        self.brief = brief
        """Short reads on the event loop, instead of on the reader threads."""
        self.held = held
        """Bytes of large bodies and answers, of all transports."""

    @property
    def backend(self) -> Backend:
        """The node behind."""
        return self.context.backend

    @property
    def reads_begun(self) -> int:
        """Reads since the start, on threads and on the event loop; to be compared, not counted."""
        return self.readers.begun + self.brief.done

    async def call(self, name: str, params: list[Any] | dict[str, Any]) -> Any:
        """Result of one method. Raises `ZvmdError`."""
        call = self.dispatcher.prepare(name, params)
        if call.method.is_coroutine:
            return await call.start()
        if call.method.inline:
            return call.run()
        return await self.readers.run(call.run)

    async def answer(
        self,
        body: bytes | list[bytes],
        client: ConnectedClient | None = None,
        *,
        caller: Caller = NODE,
        methods: ConnectionMethods | None = None,
    ) -> bytes | None:
        """The answer to a JSON-RPC body, or its parts, of a caller; None if it held only notifications.

        ``client`` is the connection's; ``methods`` are those that only this connection has. Raises `NodeBusy`.
        """
        answer = self.begin(body, client, caller=caller, methods=methods)
        return await answer if isinstance(answer, Coroutine) else answer

    def begin(
        self,
        body: bytes | list[bytes],
        client: ConnectedClient | None = None,
        *,
        caller: Caller = NODE,
        methods: ConnectionMethods | None = None,
        stream_id: int | None = None,
    ) -> bytes | Coroutine[Any, Any, bytes | None] | None:
        """`answer` if nothing has to be waited for, else the coroutine that has it.

        ``stream_id`` is for clients that may leave a single request (`ConnectedClient.leave`).
        """
        client = client or ConnectedClient()
        client.is_of(caller, self.shares)
        size = sum(map(len, body)) if isinstance(body, list) else len(body)
        if size > LARGE_BYTES:
            parts = body if isinstance(body, list) else [body]
            return self._answer_large(parts, client.working(self.context.limits, stream_id, methods), caller)
        if isinstance(body, list):
            body = b"".join(body)
        if self.context.limits.short_road and caller.rate is None:
            typed = decode_typed(body)
            if typed is not None and caller.rights.allow(typed.method.name):
                return self._answer_typed(typed, client, caller, stream_id)
        decoded = self._decoded(body, caller)
        self._charge(decoded, caller)
        if isinstance(decoded, bytes):
            return decoded
        if not decoded.is_batch and (method := known_method(decoded.requests[0].method)) is not None:
            request, name = decoded.requests[0], method.name
            if method.inline:
                return self._encoded(request)()
            if method.brief:
                answer = self.brief.attempt(self._encoded(request), kind_of(name, request.params))
                if answer is not LONG:
                    return answer
        order = self._admit(decoded, client)
        return self._answer_small(decoded, client.working(self.context.limits, stream_id, methods, order))

    def _answer_typed(
        self, request: TypedRequest, client: ConnectedClient, caller: Caller, stream_id: int | None
    ) -> bytes | Coroutine[Any, Any, bytes | None] | None:
        """The answer to a read, at once if it is short."""
        name, dispatcher = request.method.name, self.dispatcher
        call = Call(request.method, self.context.of(caller), request.arguments)

        def job() -> bytes:
            try:
                checkpoint()
                return dispatcher.encode_result(request.id, call.run(), name)
            except ZvmdError as error:
                return dispatcher.encode_error(request.id, error, name)

        if request.method.brief and (answer := self.brief.attempt(job, request.kind)) is not LONG:
            return answer
        limits, kind = self.context.limits, request.kind
        price = ReadPrice(kind, 0.0) if name in CHEAP else price_of_gas(limits, kind, call.arguments[0].gas)
        try:
            order = Order(self.readers.admit(client.share, (price,)), price)
        except NodeBusy as busy:
            busy.answer = dispatcher.encode_error(request.id, busy, name)
            raise
        return self._answer_elsewhere(request, job, client.working(limits, stream_id, order=order))

    async def _answer_elsewhere(self, request: TypedRequest, job: Callable[[], bytes], work: Work) -> bytes | None:
        with work:
            try:
                return await self.readers.run(job, work)
            except ZvmdError as error:
                return self.dispatcher.encode_error(request.id, error, request.method.name)

    async def _answer_large(self, body: list[bytes], work: Work, caller: Caller) -> bytes | None:
        with work:
            decoded = await self.readers.run(lambda: self._decoded(b"".join(body), caller), work)
            self._charge(decoded, caller)
            if isinstance(decoded, Body):
                work.take(self._admit(decoded, work.client))
            return await self._answer_decoded(decoded, work)

    async def _answer_small(self, decoded: Body, work: Work) -> bytes | None:
        with work:
            return await self._answer_decoded(decoded, work)

    def _decoded(self, body: bytes, caller: Caller) -> Body | bytes:
        """The requests of a body, or the answer to one that cannot be used."""
        try:
            return self.dispatcher.decode(body, caller)
        except ZvmdError as error:
            return self.dispatcher.encode_error(None, error)

    def _charge(self, decoded: Body | bytes, caller: Caller) -> None:
        """Count the requests of a body against the caller's rate. Raises `RateExceeded`."""
        if caller.rate is None:
            return
        requests = decoded.requests if isinstance(decoded, Body) else []
        wait_s = caller.rate.take(max(1, len(requests)))
        if wait_s:
            refusal = RateExceeded(f"this token may make {caller.rate.per_second} requests a second", wait_s)
            refusal.answer = self._all_refused(decoded, refusal)
            raise refusal

    def _admit(self, body: Body, client: ConnectedClient) -> Order:
        """What the requests of a body should cost. Raises `NodeBusy` if the client has too much under way for it."""
        limits = self.context.limits
        for request in body.requests:
            if request.refusal is None:
                request.price = price_of(limits, request.method, request.params)
        prices = [request.price for request in body.requests]
        try:
            return Order(self.readers.admit(client.share, prices), PART if body.is_batch else prices[0])
        except NodeBusy as busy:
            busy.answer = self._all_refused(body, busy)
            raise

    def _all_refused(self, body: Body | bytes, refusal: ZvmdError) -> bytes:
        """The answer to a body whose requests are all refused for the same reason."""
        requests = body.requests if isinstance(body, Body) else []
        answers = [answer for request in requests if (answer := self._refused(request, refusal)) is not None]
        joined = self.dispatcher.join(body, answers) if isinstance(body, Body) else None
        return joined or self.dispatcher.encode_error(None, refusal)

    async def _answer_decoded(self, decoded: Body | bytes, work: Work) -> bytes | None:
        if isinstance(decoded, bytes):
            return decoded
        if decoded.is_batch:
            return await self._answer_batch(decoded, work)
        return await self._answer_one(decoded.requests[0], work)

    async def _answer_batch(self, body: Body, work: Work) -> bytes | None:
        """Neighbouring reads run together, so do submissions; everything else keeps its order.

        The answers are counted as they arrive: above the limit what still runs is stopped, and one error is the answer.
        """
        batch = BatchAnswers(len(body.requests), work)
        kind_before, turn = "", LoopSlice()
        try:
            for number, request in enumerate(body.requests):
                kind = "alone" if request.method in work.methods else self._kind(request)
                if kind != kind_before or kind == "alone":
                    await batch.settled()
                kind_before = kind
                if work.answer_bytes_left < 0:
                    break
                if kind == "read":
                    self._start_read(request, work, batch, number)
                else:
                    batch.run(number, self._answer_one(request, work))
                await turn.rest()
            answers = await batch.settled()
        finally:
            batch.cancel()
        if work.answer_bytes_left < 0 and work.reason is not None:
            return self.dispatcher.encode_error(None, work.reason)
        join = partial(self.dispatcher.join, body, answers)
        return join() if sum(map(len, answers)) <= JOINED_BYTES else await self.readers.run(join, work)

    @staticmethod
    def _kind(request: Request) -> str:
        """How a request of a batch may overlap with its neighbours: read, submit or alone."""
        method = known_method(request.method)
        if method is None or not method.is_coroutine:
            return "read"
        return "submit" if method.overlaps else "alone"

    def _start_read(self, request: Request, work: Work, batch: BatchAnswers, number: int) -> None:
        """Have a reader make the answer of a read or a refusal."""
        done = partial(batch.put, number)
        batch.expect()
        try:
            self.readers.submit(self._encoded(request), done, work, request.price)
        except ZvmdError as error:
            done(self._refused(request, error))

    def _encoded(self, request: Request) -> Callable[[], bytes | None]:
        """A read, from its parameters to its encoded answer; what is not large is prepared now."""
        dispatcher = self.dispatcher
        try:
            if request.refusal is not None:
                raise request.refusal
            prepared = None if request.is_large else dispatcher.prepare(request.method, request.params, request.caller)
        except ZvmdError as error:
            return partial(self._refused, request, error)

        def job() -> bytes | None:
            try:
                call = prepared or dispatcher.prepare(request.method, request.params, request.caller)
                checkpoint()
                result = call.run()
            except ZvmdError as error:
                return self._refused(request, error)
            return None if request.is_notification else dispatcher.encode_result(request.id, result, request.method)

        return job

    async def _answer_one(self, request: Request, work: Work) -> bytes | None:
        try:
            if request.refusal is not None:
                raise request.refusal
            if (of_connection := work.methods.get(request.method)) is not None:
                result = of_connection(request.params)
            elif find_method(request.method).is_coroutine:
                prepare = partial(self.dispatcher.prepare, request.method, request.params, request.caller)
                call = await self.readers.run(prepare, work) if request.is_large else prepare()
                result = await call.start()
            else:
                return await self.readers.run(self._encoded(request), work)
        except ZvmdError as error:
            return self._refused(request, error)
        return None if request.is_notification else await self._encoded_result(request, result, work)

    async def _encoded_result(self, request: Request, result: Any, work: Work) -> bytes:
        """A result that is not small is encoded on a reader thread."""
        encode = partial(self.dispatcher.encode_result, request.id, result, request.method)
        if not is_small(result):
            with suppress(NodeBusy):  # the work may be done already, so the answer must be sent
                return await self.readers.run(encode, Work(self.context.limits, work.client))
        return encode()

    def _refused(self, request: Request, error: ZvmdError) -> bytes | None:
        return None if request.is_notification else self.dispatcher.encode_error(request.id, error, request.method)

    def close(self) -> None:
        """Stop the threads."""
        self.brief.close()
        self.readers.close()
