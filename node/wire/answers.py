"""Answers the wire protocol's messages: reads become jobs for the reader threads, writes and waits become tasks.

The same dispatcher and backend serve JSON-RPC; this file only maps requests to answers.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine, Hashable
from contextlib import aclosing
from functools import partial
from typing import Any, Protocol, TypeVar

from chain.blocks import Header
from chain.errors import ZvmdError
from node.api.errors import InvalidParams, LimitExceeded
from node.rpc.brief import LONG
from node.rpc.caller import Caller
from node.rpc.cost import NOTHING_KNOWN, Order, ReadPrice, kind_of, price_of, price_of_gas
from node.rpc.dispatch import Call, internal_error
from node.rpc.limits import RpcLimits
from node.rpc.methods.eth_blocks import leave_if_long
from node.rpc.methods.eth_logs import check_span, sealed_ref
from node.rpc.methods.eth_state import call_checked
from node.rpc.registry import find_method
from node.rpc.service import RpcService
from node.rpc.streams import head_stream, log_stream
from node.rpc.strict_json import LARGE_BYTES
from node.rpc.work import ConnectedClient, Work
from node.wire import codec
from node.wire.calls import ManyCalls
from node.wire.errors import TooManySubscriptions
from node.wire.limits import WireLimits
from storage.blocks.logs import FoundLog, LogQuery
from vm.interruption import checkpoint
from zvmd.frames import (
    PROTOCOL_VERSION,
    CallContract,
    CallMany,
    CallMethod,
    CallOutcome,
    DeployContract,
    Frame,
    GetLogs,
    GetReceipt,
    HeadEvent,
    LogEvent,
    LogsFound,
    ReceiptFound,
    Request,
    Result,
    SendTransaction,
    Sent,
    SessionEvent,
    Subscribe,
    Subscribed,
    SubscriptionEnded,
    TransactionEvent,
    Unsubscribe,
    Welcome,
    decode_request,
    encode_frame,
)

PAGE_LOGS_MAX = 10_000
"""Most logs in one page."""
FRAMES_AT_ONCE = 16
"""Events of a page that are encoded on the event loop."""
Item = TypeVar("Item")


def welcome_of(service: RpcService, limits: WireLimits) -> Welcome:
    """The answer to a valid Hello."""
    backend = service.backend
    return Welcome(
        PROTOCOL_VERSION,
        backend.config.chain_id,
        backend.client_version,
        limits.request_frame_max_bytes,
        limits.in_flight_max,
        service.context.limits.batch_size_max,
    )


class Peer(Protocol):
    """The connection that answers go to."""

    def write(self, stream_id: int, frames: bytes) -> None:
        """Send soon; dropped if the stream or connection is gone."""

    def answered(self, stream_id: int, size_bytes: int) -> None:
        """A request of that size is finished; its answer is written in the same turn of the loop."""

    def spawn(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """Run a task that ends with the connection."""

    async def drained(self) -> None:
        """Return when the peer has received most of what it was sent."""

    @property
    def caller(self) -> Caller:
        """Who it is."""

    @property
    def client(self) -> ConnectedClient:
        """The client whose requests these are; it is ended with the connection."""

    @property
    def subscriptions(self) -> dict[int, asyncio.Task[None]]:
        """Event streams of the connection by number."""


class Answerer:
    """Answers the requests of all peers."""

    def __init__(self, service: RpcService, subscriptions_max: int, receipt_wait_max_s: float) -> None:
        self._service = service
        self._context = service.context
        self._subscriptions_max = subscriptions_max
        self._receipt_wait_max_s = receipt_wait_max_s
        self._next_subscription = 1
        self._reads: dict[type[Frame], Callable[[Any], Frame]] = {
            CallContract: self._call_contract,
            GetLogs: self._get_logs,
        }
        self._tasks: dict[type[Frame], Callable[[Any], Coroutine[Any, Any, Frame]]] = {
            SendTransaction: self._send_transaction,
            DeployContract: self._deploy_contract,
            GetReceipt: self._get_receipt,
        }

    def start(self, peer: Peer, stream_id: int, request: Request, size_bytes: int) -> None:
        """Start answering a request."""
        peer.client.is_of(peer.caller, self._service.shares)
        kind = type(request)
        read = self._reads.get(kind)
        if read is not None:
            price = _price_of(self._context.limits, request)
            self._submit(peer, stream_id, request, size_bytes, lambda: read(request), price, _kind_of(request))
        elif isinstance(request, CallMethod):
            self._call_method(peer, stream_id, request, size_bytes)
        elif isinstance(request, CallMany):
            self._call_many(peer, stream_id, request, size_bytes)
        elif isinstance(request, GetReceipt) and not request.wait_ms:
            find = partial(self._receipt, request.id, request.hash)
            price = _price_of(self._context.limits, request)
            self._submit(peer, stream_id, request, size_bytes, find, price, _kind_of(request))
        elif isinstance(request, Subscribe):
            self._subscribe(peer, stream_id, request, size_bytes)
        elif isinstance(request, Unsubscribe):
            task = peer.subscriptions.pop(request.subscription, None)
            if task is not None:
                task.cancel()
            peer.write(stream_id, encode_frame(Result(request.id, task is not None)))
            peer.answered(stream_id, size_bytes)
        else:
            waiting = self._tasks[kind]
            peer.spawn(self._run_task(peer, stream_id, request, size_bytes, lambda: waiting(request)))

    def decode(self, peer: Peer, stream_id: int, body: bytes, done: Callable[[Any], None]) -> None:
        """Decode a large frame on a reader thread; ``done`` gets the request, or an exception."""
        peer.client.is_of(peer.caller, self._service.shares)
        try:
            self._service.readers.submit(
                partial(decode_request, body), done, Work(self._context.limits, peer.client, stream_id)
            )
        except ZvmdError as error:
            done(error)

    # -- the ways to run ---------------------------------------------------------------------------

    def _submit(
        self,
        peer: Peer,
        stream_id: int,
        request: Any,
        size_bytes: int,
        read: Callable[[], Frame],
        price: ReadPrice,
        kind: Hashable | None = None,
    ) -> None:
        """Answer a read; ``kind`` names reads that are usually short (`node.rpc.brief`)."""
        request_id = request.id

        def job() -> bytes:
            try:
                checkpoint()
                return encode_frame(read())
            except ZvmdError as error:
                return encode_frame(codec.failure_of(request_id, error))
            except RecursionError:
                deep = LimitExceeded("the answer is nested too deeply for a frame; ask over HTTP, or for flat calls")
                return encode_frame(codec.failure_of(request_id, deep))
            except Exception as error:
                return encode_frame(codec.failure_of(request_id, internal_error(type(request).__name__, error)))

        def answer(frames: bytes) -> None:
            peer.answered(stream_id, size_bytes)
            peer.write(stream_id, frames)

        def done(frames: bytes) -> None:
            peer.client.end(work)
            answer(frames)

        if kind is not None and (frames := self._service.brief.attempt(job, kind)) is not LONG:
            answer(frames)
            return
        try:
            work = Work(self._context.limits, peer.client, stream_id, order=self._admit(peer, price))
        except ZvmdError as error:
            answer(encode_frame(codec.failure_of(request_id, error)))
            return
        peer.client.begin(work)
        try:
            self._service.readers.submit(job, done, work)
        except ZvmdError as error:
            done(encode_frame(codec.failure_of(request_id, error)))

    def _admit(self, peer: Peer, price: ReadPrice) -> Order:
        """Raises `NodeBusy` if the client has too much under way for it."""
        return Order(self._service.readers.admit(peer.client.share, (price,)), price)

    async def _run_task(
        self,
        peer: Peer,
        stream_id: int,
        request: Any,
        size_bytes: int,
        begin: Callable[[], Coroutine[Any, Any, Frame]],
        order: Order = NOTHING_KNOWN,
    ) -> None:
        answer: Frame
        try:
            with peer.client.working(self._context.limits, stream_id, order=order):
                answer = await begin()
        except ZvmdError as error:
            answer = codec.failure_of(request.id, error)
        except Exception as error:
            answer = codec.failure_of(request.id, internal_error(type(request).__name__, error))
        finally:
            peer.answered(stream_id, size_bytes)
        peer.write(stream_id, encode_frame(answer))

    # -- requests ----------------------------------------------------------------------------------

    def _call_method(self, peer: Peer, stream_id: int, request: CallMethod, size_bytes: int) -> None:
        try:
            if not isinstance(request.params, (list, dict)):
                raise InvalidParams("params is an array or a map")
            prepare = partial(self._service.dispatcher.prepare, request.method, request.params, peer.caller)
            if size_bytes > LARGE_BYTES:
                self._call_large(peer, stream_id, request, size_bytes, prepare)
                return
            call = prepare()
            price = price_of(self._context.limits, request.method, request.params)
            if call.method.is_coroutine:
                order, begin = self._admit(peer, price), partial(_result, request.id, call)
                peer.spawn(self._run_task(peer, stream_id, request, size_bytes, begin, order))
                return
            if not call.method.inline:
                kind = kind_of(request.method, request.params) if call.method.brief else None
                self._submit(peer, stream_id, request, size_bytes, lambda: Result(request.id, call.run()), price, kind)
                return
            answer: Frame = Result(request.id, call.run())
        except ZvmdError as error:
            answer = codec.failure_of(request.id, error)
        peer.answered(stream_id, size_bytes)
        peer.write(stream_id, encode_frame(answer))

    def _call_large(
        self, peer: Peer, stream_id: int, request: CallMethod, size_bytes: int, prepare: Callable[[], Call]
    ) -> None:
        """Parse large parameters on a reader thread."""
        price = price_of(self._context.limits, request.method, request.params)

        async def begin() -> Frame:
            call = await self._service.readers.run(prepare)
            return await _result(request.id, call)

        if find_method(request.method).is_coroutine:
            order = self._admit(peer, price)
            peer.spawn(self._run_task(peer, stream_id, request, size_bytes, begin, order))
        else:
            self._submit(peer, stream_id, request, size_bytes, lambda: Result(request.id, prepare().run()), price)

    def _call_many(self, peer: Peer, stream_id: int, request: CallMany, size_bytes: int) -> None:
        work = Work(self._context.limits, peer.client, stream_id)

        def done(frame: bytes) -> None:
            peer.client.end(work)
            peer.answered(stream_id, size_bytes)
            peer.write(stream_id, frame)

        peer.client.begin(work)
        ManyCalls(self._service, self._context.of(peer.caller), request, work, done).start()

    def _call_contract(self, request: CallContract) -> Frame:
        context = self._context
        at = context.need_block(codec.block_of(request.block))
        result = call_checked(context, codec.call_of(request), at)
        return CallOutcome(request.id, result.output, result.gas_used)

    async def _send_transaction(self, request: SendTransaction) -> Frame:
        sent = await self._context.backend.submit(request.raw, "mined" if request.mined else "durable")
        return Sent(request.id, sent.hash, sent.lsn, sent.block_number)

    async def _deploy_contract(self, request: DeployContract) -> Frame:
        backend = self._context.backend
        sent = await backend.send_from(codec.creation_of(request), "mined")
        found = await self._service.read_soon(lambda: self._receipt(request.id, sent.hash), GetReceipt)
        contract = found.receipt.contract if found.receipt is not None and found.receipt.status else None
        return Sent(request.id, sent.hash, sent.lsn, sent.block_number, contract)

    async def _get_receipt(self, request: GetReceipt) -> Frame:
        wanted = codec.hash_of(request.hash)
        backend = self._context.backend
        try:
            async with asyncio.timeout(min(request.wait_ms / 1000, self._receipt_wait_max_s)):
                while True:
                    # The head is read before the look-up: a block sealed between them ends the wait at once.
                    following = backend.head().number + 1
                    found = await self._service.read_soon(lambda: self._receipt(request.id, wanted), GetReceipt)
                    if found.receipt is not None:
                        return found
                    await backend.wait_for_block(following)
        except TimeoutError:
            return ReceiptFound(request.id, None)

    def _receipt(self, request_id: int, transaction_hash: bytes) -> ReceiptFound:
        backend = self._context.backend
        location = backend.transaction_location(codec.hash_of(transaction_hash))
        if location is None:
            return ReceiptFound(request_id, None)
        number, index = location
        block, receipts, senders = backend.block(number), backend.receipts(number), backend.senders(number)
        assert block is not None, "an indexed transaction has a block"
        assert receipts is not None, "a block has receipts"
        assert senders is not None, "a block has senders"
        leave_if_long(receipts)
        return ReceiptFound(request_id, codec.receipt_body(block, receipts, senders[index], index))

    def _get_logs(self, request: GetLogs) -> Frame:
        context = self._context
        head = context.backend.head().number
        limit = min(request.limit, context.limits.log_results_max, PAGE_LOGS_MAX)
        query = LogQuery(
            context.need_sealed(sealed_ref(codec.block_of(request.from_block))),
            min(context.need_sealed(codec.block_of(request.to_block)), head),
            frozenset(codec.address_of(item) for item in request.addresses),
            codec.topics_of(request.topics),
            codec.cursor_of(request.after),
            limit + 1,
        )
        check_span(context, query)
        entries = context.backend.logs(query)
        page = entries[:limit]
        more = len(entries) > limit and bool(page)
        cursor = (page[-1].block_number, page[-1].log_index) if more else None
        return LogsFound(request.id, [codec.log_body(entry) for entry in page], cursor)

    # -- event streams -----------------------------------------------------------------------------

    def _subscribe(self, peer: Peer, stream_id: int, request: Subscribe, size_bytes: int) -> None:
        try:
            if len(peer.subscriptions) >= self._subscriptions_max:
                raise TooManySubscriptions(f"the limit is {self._subscriptions_max}")
            number = self._next_subscription
            pages = self._pages(request, number)
        except ZvmdError as error:
            peer.write(stream_id, encode_frame(codec.failure_of(request.id, error)))
            peer.answered(stream_id, size_bytes)
            return
        self._next_subscription += 1
        peer.write(stream_id, encode_frame(Subscribed(request.id, number)))
        peer.subscriptions[number] = peer.spawn(self._stream(peer, stream_id, size_bytes, number, pages))

    def _pages(self, request: Subscribe, number: int) -> AsyncIterator[bytes]:
        backend, service = self._context.backend, self._service
        if request.kind == "session":
            return self._session_pages(request, number)
        cursor = codec.cursor_of(request.cursor)
        if request.kind == "heads":
            return self._head_pages(number, head_stream(backend, service, cursor))
        if request.kind == "transactions":
            if cursor is not None:
                raise InvalidParams("a subscription of kind 'transactions' has no cursor")
            return self._transaction_pages(number)
        if request.kind != "logs":
            raise InvalidParams(f"kind is 'heads', 'logs', 'transactions' or 'session', not {request.kind[:60]!r}")
        addresses = frozenset(codec.address_of(item) for item in request.addresses)
        logs = log_stream(backend, service, addresses, codec.topics_of(request.topics), cursor)
        return self._log_pages(number, logs)

    def _session_pages(self, request: Subscribe, number: int) -> AsyncIterator[bytes]:
        if request.session is None:
            raise InvalidParams("a subscription of kind 'session' names the session")
        cursor = None if request.cursor is None else request.cursor[0]
        events = self._context.need_sessions().watch(request.session, cursor)

        async def pages() -> AsyncIterator[bytes]:
            async with aclosing(events):
                async for page in events:
                    yield b"".join(encode_frame(SessionEvent(number, (event["cursor"], 0), event)) for event in page)

        return pages()

    async def _head_pages(self, number: int, headers: AsyncIterator[list[Header]]) -> AsyncIterator[bytes]:
        backend = self._context.backend

        def frame(header: Header) -> bytes:
            block = backend.block(header.number)
            body = codec.head_body(header, len(block.transactions) if block is not None else 0)
            return encode_frame(HeadEvent(number, (header.number, 2**62), body))

        async for page in headers:
            yield await self._joined(page, frame)

    async def _transaction_pages(self, number: int) -> AsyncIterator[bytes]:
        async with aclosing(self._context.backend.arrivals()) as arrivals:  # type: ignore[type-var]
            async for page in arrivals:
                yield await self._joined(
                    page, lambda item: encode_frame(TransactionEvent(number, codec.transaction_body(item)))
                )

    async def _log_pages(self, number: int, logs: AsyncIterator[list[FoundLog]]) -> AsyncIterator[bytes]:
        def frame(entry: FoundLog) -> bytes:
            return encode_frame(LogEvent(number, (entry.block_number, entry.log_index), codec.log_body(entry)))

        async for page in logs:
            yield await self._joined(page, frame)

    async def _joined(self, page: list[Item], frame: Callable[[Item], bytes]) -> bytes:
        """The frames of a page's items, those of a long page made on a reader thread."""
        if len(page) <= FRAMES_AT_ONCE:
            return b"".join([frame(item) for item in page])
        return await self._service.readers.run(lambda: b"".join([frame(item) for item in page]))

    async def _stream(
        self, peer: Peer, stream_id: int, size_bytes: int, number: int, pages: AsyncIterator[bytes]
    ) -> None:
        try:
            async with aclosing(pages):  # type: ignore[type-var]
                async for page in pages:
                    peer.write(stream_id, page)
                    await peer.drained()
        except ZvmdError as error:
            peer.write(stream_id, encode_frame(SubscriptionEnded(number, error.code, str(error))))
        except Exception as error:
            internal = internal_error("subscription", error)
            peer.write(stream_id, encode_frame(SubscriptionEnded(number, internal.code, str(internal))))
        finally:
            peer.subscriptions.pop(number, None)
            peer.answered(stream_id, size_bytes)


async def _result(request_id: int, call: Call) -> Frame:
    return Result(request_id, await call.start())


def _price_of(limits: RpcLimits, request: Any) -> ReadPrice:
    """The price of a read that has a frame of its own."""
    kind: Hashable = _kind_of(request) or type(request).__name__
    if isinstance(request, CallContract):
        return price_of_gas(limits, kind, request.gas)
    return ReadPrice(kind, 0.0 if isinstance(request, GetReceipt) else limits.call_max_s)


def _kind_of(request: Any) -> Hashable | None:
    """The kind of a request that is usually short (`BriefReads.attempt`); None for others."""
    if isinstance(request, CallContract):
        return CallContract, request.to
    return GetReceipt if isinstance(request, GetReceipt) else None
