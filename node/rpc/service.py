"""The dispatcher on an event loop: reads go to the reader threads, writes and waits run as tasks."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Hashable, Sequence
from contextlib import suppress
from functools import partial
from typing import Any, NamedTuple, TypeVar

from chain.errors import ZvmdError
from node.api.backend import Backend
from node.rpc.batches import ALONE, READ, SUBMIT, BatchParts, ReadyRun, answer_batch, begin_reads
from node.rpc.brief import LONG, BriefReads, OrLong
from node.rpc.caller import NODE, Caller
from node.rpc.context import Context
from node.rpc.cost import CHEAP, PART, Order, ReadPrice, kind_of, price_of, price_of_decoding, price_of_gas
from node.rpc.dispatch import Body, Call, Dispatcher, Request, is_small, run_read
from node.rpc.errors import NodeBusy, RateExceeded
from node.rpc.held import Held
from node.rpc.methods import load_methods
from node.rpc.read_run import Answer
from node.rpc.readers import Readers
from node.rpc.registry import Method, find_method, known_method
from node.rpc.strict_json import LARGE_BYTES
from node.rpc.typed import TypedRequest
from node.rpc.typed import decode as decode_typed
from node.rpc.typed import decode_batch as decode_typed_batch
from node.rpc.work import ConnectedClient, ConnectionMethods, ReaderShare, Shares, Work
from vm.interruption import checkpoint

JOINED_BYTES = 128 * 1024
"""Answers of a batch that are together larger are joined on a reader thread."""
TYPED_BATCH_BYTES = 24 * 1024
"""A batch of usual requests up to this size is decoded on the event loop: in half a millisecond."""
CONTEXTS_KEPT = 512
INLINE = "inline"
"""The kind of all reads that are never long (`BriefReads.attempt`)."""


T = TypeVar("T")
Begun = bytes | Coroutine[Any, Any, bytes | None] | None
"""An answer, None to notifications, or the coroutine that has it."""


class LargeBody(NamedTuple):
    """A large body, decoded on a reader thread."""

    decoded: Body | bytes | None
    """As of `RpcService._decoded`; None for usual requests, which are known by their batch alone."""
    batch: BatchParts | None = None
    prices: Sequence[ReadPrice] = ()
    """What usual requests may cost; others know it themselves."""


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
        self._contexts: dict[int, Context] = {}
        """The contexts of callers, by the identity of the caller, which its context keeps alive."""

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

    async def read(self, job: Callable[[], T]) -> T:
        """Its value, from a reader thread."""
        return await self.readers.run(job)

    async def read_soon(self, job: Callable[[], T], kind: Hashable) -> T:
        """Its value, at once if it is short, else from a reader thread; ``kind`` as for `BriefReads.attempt`."""
        value = self.brief.attempt(job, kind)
        return await self.readers.run(job) if value is LONG else value

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
    ) -> Begun:
        """`answer` if nothing has to be waited for, else the coroutine that has it.

        ``stream_id`` is for clients that may leave a single request (`ConnectedClient.leave`).
        """
        client = client or ConnectedClient()
        client.is_of(caller, self.shares)
        size = sum(map(len, body)) if isinstance(body, list) else len(body)
        is_usual = self.context.limits.short_road and caller.rate is None
        if size > (TYPED_BATCH_BYTES if is_usual else LARGE_BYTES):
            parts = body if isinstance(body, list) else [body]
            return self._answer_large(parts, client.working(self.context.limits, stream_id, methods), caller)
        if isinstance(body, list):
            body = b"".join(body)
        if is_usual and (begun := self._begin_usual(body, client, caller, stream_id)) is not LONG:
            return begun
        if size > LARGE_BYTES:
            return self._answer_large([body], client.working(self.context.limits, stream_id, methods), caller)
        return self._begin_strict(body, client, caller, methods, stream_id)

    def _begin_usual(
        self, body: bytes, client: ConnectedClient, caller: Caller, stream_id: int | None
    ) -> OrLong[Begun]:
        """`begin` for usual requests; `LONG` if this is none."""
        allows = caller.rights.allow
        if body[:1] == b"[":
            typed = decode_typed_batch(body, self.context.limits)
            if typed is None or not all(allows(request.method.name) for request in typed):
                return LONG
            return self._begin_typed_batch(typed, caller, client, stream_id)
        if len(body) > LARGE_BYTES or (one := decode_typed(body)) is None or not allows(one.method.name):
            return LONG
        return self._answer_typed(one, client, caller, stream_id)

    def _begin_strict(
        self,
        body: bytes,
        client: ConnectedClient,
        caller: Caller,
        methods: ConnectionMethods | None,
        stream_id: int | None,
    ) -> Begun:
        """`begin` for a body that is not large, and not usual."""
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
        self._set_prices(decoded)
        order = self._admit(decoded, client)
        return self._answer_small(decoded, client.working(self.context.limits, stream_id, methods, order))

    def _answer_typed(
        self, request: TypedRequest, client: ConnectedClient, caller: Caller, stream_id: int | None
    ) -> Begun:
        """The answer to a usual request, at once if it is short."""
        method, context = request.method, self._context_of(caller)
        job = partial(self._read_typed, request, context)
        if method.inline:
            return job()
        if method.brief and (answer := self.brief.attempt(job, request.kind)) is not LONG:
            return answer
        price = self._price_of_typed(request)
        try:
            order = Order(self.readers.admit(client.share, (price,)), price)
        except NodeBusy as busy:
            busy.answer = self._refused_typed(request, busy)
            raise
        work = client.working(self.context.limits, stream_id, order=order)
        if method.is_coroutine:
            return self._in_work(self._wait_typed(request, context), work)
        return self._answer_elsewhere(request, job, work)

    def _price_of_typed(self, request: TypedRequest) -> ReadPrice:
        """What a usual request may cost."""
        method, kind, limits = request.method, request.kind, self.context.limits
        if method.inline or method.is_coroutine:
            return PART
        return ReadPrice(kind, 0.0) if method.name in CHEAP else price_of_gas(limits, kind, request.arguments[0].gas)

    def _context_of(self, caller: Caller) -> Context:
        """The context for a caller; making one takes as long as decoding a request."""
        seen = self._contexts.get(id(caller))
        if seen is None or seen.limits is not self.context.limits:
            if len(self._contexts) >= CONTEXTS_KEPT:
                self._contexts.clear()
            seen = self._contexts[id(caller)] = self.context.of(caller)
        return seen

    def _read_typed(self, request: TypedRequest, context: Context) -> bytes:
        """The answer to a read."""
        identity, method, arguments, _ = request
        try:
            checkpoint()
            return self.dispatcher.encode_result(identity, run_read(method, context, arguments), method.name)
        except ZvmdError as error:
            return self.dispatcher.encode_error(identity, error, method.name)

    async def _wait_typed(self, request: TypedRequest, context: Context) -> bytes:
        """The answer to a request that waits, such as a submission."""
        identity, method, arguments, _ = request
        try:
            result = await Call(method, context, arguments).start()
        except ZvmdError as error:
            return self.dispatcher.encode_error(identity, error, method.name)
        return self.dispatcher.encode_result(identity, result, method.name)

    async def _answer_elsewhere(self, request: TypedRequest, job: Callable[[], Answer], work: Work) -> bytes | None:
        with work:
            try:
                return await self.readers.run(job, work)
            except ZvmdError as error:
                return self._refused_typed(request, error)

    async def _in_work(self, answering: Coroutine[Any, Any, Answer], work: Work) -> bytes | None:
        with work:
            return await answering

    def _batch_of(self, requests: Sequence[TypedRequest], context: Context) -> BatchParts:
        """Usual requests, as what makes their answers."""
        return BatchParts(
            [_overlap(request.method) for request in requests],
            [INLINE if request.method.inline else request.kind for request in requests],
            lambda number: self._read_typed(requests[number], context),
            lambda number: self._price_of_typed(requests[number]),
            lambda number, error: self._refused_typed(requests[number], error),
            lambda number: self._wait_typed(requests[number], context),
        )

    def _refused_typed(self, request: TypedRequest, error: ZvmdError) -> bytes:
        return self.dispatcher.encode_error(request.id, error, request.method.name)

    def _begin_typed_batch(
        self, requests: Sequence[TypedRequest], caller: Caller, client: ConnectedClient, stream_id: int | None
    ) -> Begun:
        """The answer to usual requests, at once if they are short."""
        batch, limits = self._batch_of(requests, self._context_of(caller)), self.context.limits
        if any(overlap != READ for overlap in batch.overlaps):
            order = self._admit_typed(batch, _prices_of(batch), client.share)
            return self._answer_mixed(batch, client.working(limits, stream_id, order=order))
        work = client.working(limits, stream_id)
        try:
            ready = begin_reads(batch, 0, len(requests), self.brief, self.readers, work, is_admitted=False)
        except NodeBusy as busy:
            busy.answer = self._all_refused_typed(batch, busy)
            raise
        spent = limits.answer_size_max_bytes - work.answer_bytes_left
        if ready.settled is None and work.answer_bytes_left >= 0 and spent <= JOINED_BYTES:
            return _joined([answer for answer in ready.run.answers if answer is not None])
        return self._answer_ready(ready, work)

    def _admit_typed(self, batch: BatchParts, prices: Sequence[ReadPrice], share: ReaderShare) -> Order:
        """As `_admit`."""
        try:
            return Order(self.readers.admit(share, prices), PART)
        except NodeBusy as busy:
            busy.answer = self._all_refused_typed(batch, busy)
            raise

    @staticmethod
    def _all_refused_typed(batch: BatchParts, busy: NodeBusy) -> bytes:
        answers = [batch.refused(number, busy) for number in range(len(batch.kinds))]
        return _joined([answer for answer in answers if answer is not None]) or b""

    async def _answer_ready(self, ready: ReadyRun, work: Work) -> bytes | None:
        if ready.settled is not None:
            await ready.settled
        return await self._join([answer for answer in ready.run.answers if answer is not None], work)

    async def _answer_mixed(self, batch: BatchParts, work: Work) -> bytes | None:
        with work:
            return await self._answer_batch(batch, work)

    async def _answer_large(self, body: list[bytes], work: Work, caller: Caller) -> bytes | None:
        with work:
            context = self._context_of(caller)
            async with work.client.large:  # what waits for its turn is not decoded yet: it would take more memory
                price = price_of_decoding(sum(map(len, body)))
                large = await self.readers.run(
                    lambda: self._decoded_large(b"".join(body), caller, context, work), work, price
                )
                if _are_reads(large):
                    return await self._answer_decoded_large(large, work, caller)
            return await self._answer_decoded_large(large, work, caller)

    async def _answer_decoded_large(self, large: LargeBody, work: Work, caller: Caller) -> bytes | None:
        decoded, batch, prices = large
        if decoded is None:
            assert batch is not None
            work.take(self._admit_typed(batch, prices, work.share))
            return await self._answer_batch(batch, work)
        self._charge(decoded, caller)
        if isinstance(decoded, Body):
            work.take(self._admit(decoded, work.client))
        if batch is not None:
            return await self._answer_batch(batch, work)
        return await self._answer_decoded(decoded, work)

    def _decoded_large(self, body: bytes, caller: Caller, context: Context, work: Work) -> LargeBody:
        """As `_decoded`; usual requests typed. The prices of a thousand requests are too much for the event loop, too.

        ``context`` is the caller's. Any thread.
        """
        limits, allows = self.context.limits, caller.rights.allow
        if limits.short_road and caller.rate is None and body[:1] == b"[":
            typed = decode_typed_batch(body, limits)
            if typed is not None and all(allows(request.method.name) for request in typed):
                batch = self._batch_of(typed, context)
                return LargeBody(None, batch, _prices_of(batch))
        decoded = self._decoded(body, caller)
        if isinstance(decoded, bytes):
            return LargeBody(decoded)
        self._set_prices(decoded)
        return LargeBody(decoded, self._batch_of_any(decoded.requests, work) if decoded.is_batch else None)

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

    def _set_prices(self, body: Body) -> None:
        """Set what each request of a body may cost. Any thread."""
        limits = self.context.limits
        for request in body.requests:
            if request.refusal is None:
                request.price = price_of(limits, request.method, request.params)

    def _admit(self, body: Body, client: ConnectedClient) -> Order:
        """What the requests of a body with prices should cost.

        Raises `NodeBusy` if the client has too much under way for it.
        """
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
        if not decoded.is_batch:
            return await self._answer_one(decoded.requests[0], work)
        return await self._answer_batch(self._batch_of_any(decoded.requests, work), work)

    def _batch_of_any(self, requests: Sequence[Request], work: Work) -> BatchParts:
        """Requests as they were decoded strictly, as what makes their answers."""

        def overlap(request: Request) -> str:
            method = known_method(request.method)
            return ALONE if request.method in work.methods else READ if method is None else _overlap(method)

        def kind(request: Request) -> Hashable | None:
            method = known_method(request.method)
            if request.is_large or method is None:
                return None
            return INLINE if method.inline else kind_of(method.name, request.params) if method.brief else None

        return BatchParts(
            [overlap(request) for request in requests],
            [kind(request) for request in requests],
            lambda number: self._encoded(requests[number])(),
            lambda number: requests[number].price,
            lambda number, error: self._refused(requests[number], error),
            lambda number: self._answer_one(requests[number], work),
        )

    async def _answer_batch(self, batch: BatchParts, work: Work) -> bytes | None:
        """The answers are counted as they arrive: above the limit one error is the answer."""
        return await self._join(await answer_batch(batch, self.brief, self.readers, work), work)

    async def _join(self, answers: list[bytes], work: Work) -> bytes | None:
        if work.answer_bytes_left < 0 and work.reason is not None:
            return self.dispatcher.encode_error(None, work.reason)
        is_small = sum(map(len, answers)) <= JOINED_BYTES
        return _joined(answers) if is_small else await self.readers.run(partial(_joined, answers), work)

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


def _are_reads(large: LargeBody) -> bool:
    """Whether nothing of it is a write, which may wait for a block or for another request of its client."""
    if large.batch is not None:
        return all(overlap == READ for overlap in large.batch.overlaps)
    names = [request.method for request in large.decoded.requests] if isinstance(large.decoded, Body) else []
    return not any(method.is_coroutine for method in map(known_method, names) if method is not None)


def _overlap(method: Method) -> str:
    """How a request of a batch may overlap with its neighbours."""
    if not method.is_coroutine:
        return READ
    return SUBMIT if method.overlaps else ALONE


def _prices_of(batch: BatchParts) -> list[ReadPrice]:
    """What each request of a batch may cost."""
    return list(map(batch.price, range(len(batch.kinds))))


def _joined(answers: list[bytes]) -> bytes | None:
    """The answer to a batch; None if it had only notifications."""
    return b"[" + b",".join(answers) + b"]" if answers else None
