"""The dispatcher on an event loop: reads go to the reader threads, writes and waits run as tasks."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from functools import partial
from typing import Any

from chain.errors import ZvmdError
from node.rpc.backend import Backend
from node.rpc.context import Context
from node.rpc.dispatch import Body, Dispatcher, Request
from node.rpc.held import Held
from node.rpc.limits import RpcLimits
from node.rpc.methods import load_methods
from node.rpc.readers import Readers
from node.rpc.registry import find_method, known_method
from node.rpc.rights import EVERYTHING, Rights
from node.rpc.strict_json import LARGE_BYTES
from node.rpc.work import Client, Work
from node.sessions.service import SessionService
from vm.interruption import checkpoint


class RpcService:
    """Answers requests of all transports. One per node, made on its event loop."""

    def __init__(
        self, backend: Backend, limits: RpcLimits | None = None, sessions: SessionService | None = None
    ) -> None:
        load_methods()
        self.context = Context(backend, limits or RpcLimits(), sessions=sessions)
        self.dispatcher = Dispatcher(self.context)
        self.readers = Readers(self.context.limits)
        self.context.read = self.readers.run
        self.held = Held(self.context.limits.held_max_bytes)
        """Bytes of large bodies and answers, of all transports."""

    @property
    def backend(self) -> Backend:
        """The node behind."""
        return self.context.backend

    async def call(self, name: str, params: list[Any] | dict[str, Any]) -> Any:
        """Result of one method. Raises `ZvmdError`."""
        call = self.dispatcher.prepare(name, params)
        if call.method.is_coroutine:
            return await call.start()
        if call.method.inline:
            return call.run()
        return await self.readers.run(call.run)

    async def answer(
        self, body: bytes, client: Client | None = None, *, rights: Rights = EVERYTHING
    ) -> bytes | None:
        """The answer to a JSON-RPC body of a caller with these rights; None if it held only notifications.

        ``client`` is the connection's.
        """
        with (client or Client()).working(self.context.limits) as work:
            try:
                if len(body) <= LARGE_BYTES:
                    decoded = self.dispatcher.decode(body, rights)
                else:
                    decoded = await self.readers.run(lambda: self.dispatcher.decode(body, rights))
            except ZvmdError as error:
                return self.dispatcher.encode_error(None, error)
            if not decoded.is_batch:
                answer = await self._answer_one(decoded.requests[0])
                return self.dispatcher.join(decoded, [] if answer is None else [answer])
            return await self._answer_batch(decoded, work)

    async def _answer_batch(self, body: Body, work: Work) -> bytes | None:
        """Neighbouring reads run together, so do submissions; everything else keeps its order.

        The answers are counted as they arrive: above the limit what still runs is stopped, and one error is the answer.
        """
        answers: list[asyncio.Future[bytes | None]] = []
        group: list[asyncio.Future[bytes | None]] = []
        group_kind: object = None
        for request in body.requests:
            kind = self._kind(request)
            if group and (kind != group_kind or kind == "alone"):
                await asyncio.wait(group)
                group = []
            group_kind = kind
            if kind == "read":
                group.append(self._start_read(request, work))
            else:
                group.append(asyncio.ensure_future(self._answer_one(request)))
            group[-1].add_done_callback(partial(_count, work))
            answers.append(group[-1])
        found = await asyncio.gather(*answers)
        if work.answer_bytes_left < 0 and work.reason is not None:
            return self.dispatcher.encode_error(None, work.reason)
        return self.dispatcher.join(body, [answer for answer in found if answer is not None])

    @staticmethod
    def _kind(request: Request) -> str:
        """How a request of a batch may overlap with its neighbours: read, submit or alone."""
        method = known_method(request.method)
        if method is None or not method.is_coroutine:
            return "read"
        return "submit" if method.overlaps else "alone"

    def _start_read(self, request: Request, work: Work) -> asyncio.Future[bytes | None]:
        """A future of the encoded answer of a read or a refusal."""
        future: asyncio.Future[bytes | None] = asyncio.get_running_loop().create_future()
        try:
            if request.refusal is not None:
                raise request.refusal
            job = self._encoded(request, self._prepared(request))
            self.readers.submit(job, lambda value: _settle(future, value), work)
        except ZvmdError as error:
            future.set_result(self._refused(request, error))
        return future

    def _prepared(self, request: Request) -> Callable[[], Any]:
        """The read; one with large parameters is prepared on the thread too. Raises what preparing does."""
        if request.is_large:
            return lambda: self.dispatcher.prepare(request.method, request.params, request.rights).run()
        return self.dispatcher.prepare(request.method, request.params, request.rights).run

    def _encoded(self, request: Request, run: Callable[[], Any]) -> Callable[[], bytes | None]:
        """``run`` with its answer encoded on the same thread."""
        dispatcher = self.dispatcher

        def job() -> bytes | None:
            try:
                checkpoint()
                result = run()
            except ZvmdError as error:
                return self._refused(request, error)
            return None if request.is_notification else dispatcher.encode_result(request.id, result, request.method)

        return job

    async def _answer_one(self, request: Request) -> bytes | None:
        try:
            if request.refusal is not None:
                raise request.refusal
            method = find_method(request.method)
            if not method.is_coroutine:
                job = self._encoded(request, self._prepared(request))
                return job() if method.inline else await self.readers.run(job)
            result = await self.dispatcher.prepare(request.method, request.params, request.rights).start()
        except ZvmdError as error:
            return self._refused(request, error)
        return None if request.is_notification else self.dispatcher.encode_result(request.id, result, request.method)

    def _refused(self, request: Request, error: ZvmdError) -> bytes | None:
        return None if request.is_notification else self.dispatcher.encode_error(request.id, error, request.method)

    def bounds(self) -> dict[str, tuple[int, int]]:
        """For ``zvmd_status``: what grows, and how large it may get."""
        own = {"large bodies and answers bytes": self.held.bound(), "waiting reads": self.readers.bound()}
        return own if self.context.sessions is None else own | self.context.sessions.bounds()

    def close(self) -> None:
        """Stop the reader threads."""
        self.readers.close()


def _count(work: Work, future: asyncio.Future[bytes | None]) -> None:
    """An answer of a batch is there."""
    if not future.cancelled() and future.exception() is None:
        work.spend_answer(len(future.result() or b""))


def _settle(future: asyncio.Future[bytes | None], value: Any) -> None:
    if future.done():
        return
    if isinstance(value, BaseException):
        future.set_exception(value)
    else:
        future.set_result(value)
