"""JSON-RPC over a connection that stays, with ``eth_subscribe``: new heads, logs, receipts, pending transactions."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Callable, Coroutine
from contextlib import aclosing
from contextvars import ContextVar
from functools import partial
from typing import Any, Protocol

import msgspec

from chain.errors import ZvmdError
from node.api.errors import InvalidParams, LimitExceeded
from node.gateway.kinds import Notification, Pages, pages_of, plain
from node.ops.slices import LoopSlice
from node.rpc.caller import Caller
from node.rpc.dispatch import is_small
from node.rpc.errors import NodeBusy, error_object
from node.rpc.held import SMALL_BYTES, Holding, Together
from node.rpc.methods.sessions import watch_params
from node.rpc.service import RpcService
from node.rpc.work import ConnectedClient, ConnectionMethods, current_work

Begun = bytes | Coroutine[Any, Any, bytes | None]
"""An answer, or what makes it."""

WATCH, UNWATCH = "zvmd_session_watch", "zvmd_session_unwatch"
_sent: ContextVar[asyncio.Event] = ContextVar("_sent")
"""Set once the answer to the message that a coroutine answers was sent: nothing of its subscriptions comes before."""


class Channel(Protocol):
    """Where the messages of a session go."""

    def send_at_once(self, message: bytes) -> bool:
        """Send if the peer has taken everything before it; whether it did."""

    async def send(self, message: bytes) -> None:
        """Send when the peer has taken everything before it, and return when it has taken this, or is gone."""


class RpcConnection:
    """The requests and subscriptions of one connection."""

    def __init__(
        self, service: RpcService, channel: Channel, caller: Caller, unsent_bytes_max: int, on_room: Callable[[], None]
    ) -> None:
        """``on_room`` is called whenever there is one unanswered message less."""
        self._service = service
        self._channel = channel
        self._caller = caller
        self._unsent_bytes_max = unsent_bytes_max
        self._on_room = on_room
        self._subscriptions: dict[str, asyncio.Task[None]] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._unsent = 0
        """Bytes of answers that wait to be sent."""
        self._unanswered_bytes = 0
        self._together = Together(service.held)
        self._client = ConnectedClient()
        self.methods: ConnectionMethods = {
            "eth_subscribe": self._subscribe,
            "eth_unsubscribe": partial(self._unsubscribe, "eth_unsubscribe"),
            WATCH: self._watch,
            UNWATCH: partial(self._unsubscribe, UNWATCH),
        }
        """Those of this connection."""

    @property
    def unanswered(self) -> int:
        """Messages without their answers."""
        return len(self._tasks)

    @property
    def unanswered_bytes(self) -> int:
        """Bytes of those messages."""
        return self._unanswered_bytes

    def receive(self, body: bytes) -> None:
        """Answer a message, at once or when its answer is made."""
        holding = Holding(self._service.held, self._together)
        try:
            holding.hold(len(body))
            begun = self._service.begin(body, self._client, caller=self._caller, methods=self.methods)
        except NodeBusy as busy:
            begun = self._busy(busy)
        if begun is None or isinstance(begun, bytes):
            holding.release()
            if begun is None or (len(begun) <= SMALL_BYTES and self._channel.send_at_once(begun)):
                return
        task = asyncio.get_running_loop().create_task(self._answer(begun, holding))
        self._tasks.add(task)
        self._unanswered_bytes += len(body)
        coroutine = None if isinstance(begun, bytes) else begun  # an answer is not kept longer than by the task
        task.add_done_callback(partial(self._answered, coroutine, holding, len(body)))

    def close(self) -> None:
        """The peer is gone: end what is done for it."""
        self._client.leave()
        self.methods = {}  # they have the session, and a cycle would wait for the garbage collector
        for task in [*self._tasks, *self._subscriptions.values()]:
            task.cancel()

    def _answered(
        self, begun: Coroutine[Any, Any, bytes | None] | None, holding: Holding, size: int, task: asyncio.Task[None]
    ) -> None:
        """A message is answered, or nobody waits for that: a task may end before its first step."""
        if begun is not None:
            begun.close()
        holding.release()
        self._tasks.discard(task)
        self._unanswered_bytes -= size
        self._on_room()

    async def _answer(self, begun: Begun, holding: Holding) -> None:
        size, sent = 0, asyncio.Event()
        _sent.set(sent)
        try:
            answer = await begun if isinstance(begun, Coroutine) else begun
            if answer is None:
                return
            if self._unsent + len(answer) > self._unsent_bytes_max:
                raise NodeBusy(f"{self._unsent} bytes of answers wait on this connection")
            holding.hold(len(answer))
            size = len(answer)
            self._unsent += size
            await self._channel.send(answer)
        except NodeBusy as busy:
            holding.release()
            answer = begun = self._busy(busy)  # in place of the answer, which would wait with it, counted by nobody
            await self._channel.send(answer)
        finally:
            self._unsent -= size
            sent.set()

    def _busy(self, busy: NodeBusy) -> bytes:
        return busy.answer or self._service.dispatcher.encode_error(None, busy)

    def _subscribe(self, params: Any) -> str:
        kind, *options = _named("eth_subscribe", params)
        pages = pages_of(self._service, kind, options[0] if options else None)
        return self._subscribed(pages, "eth_subscription")

    def _watch(self, params: Any) -> str:
        ref, cursor = watch_params(params)
        sessions = self._service.context.need_sessions()
        return self._subscribed(plain(sessions.watch(ref, cursor)), "zvmd_session_event")

    def _unsubscribe(self, method: str, params: Any) -> bool:
        task = self._subscriptions.pop(_named(method, params)[0], None)
        if task is not None:
            task.cancel()
        return task is not None

    def _subscribed(self, pages: Pages, method: str) -> str:
        """Start a subscription whose items are sent as notifications of ``method``; returns its id."""
        limit = self._service.context.limits.subscriptions_max
        if len(self._subscriptions) >= limit:
            raise LimitExceeded(f"the limit is {limit} subscriptions a connection")
        name = f"0x{secrets.randbits(128):032x}"
        self._subscriptions[name] = asyncio.create_task(self._stream(name, pages, method, _sent.get()))
        return name

    async def _stream(self, name: str, pages: Pages, method: str, sent: asyncio.Event) -> None:
        current_work.set(None)  # the request that began it has a time limit, and is answered
        try:
            async with aclosing(pages):  # type: ignore[type-var]
                async for page in pages:
                    await sent.wait()
                    turn = LoopSlice()
                    page.reverse()
                    while page:  # each is freed when it is sent: a thousand at once take milliseconds
                        await self._notify(method, _params_of(name, page.pop()))
                        await turn.rest()
        except ZvmdError as error:
            await sent.wait()
            await self._notify(method, {"subscription": name, "error": error_object(error)})
        finally:
            self._subscriptions.pop(name, None)

    async def _notify(self, method: str, params: dict[str, Any]) -> None:
        """Send a notification; ``params`` are not kept."""

        def encoded() -> bytes:
            try:
                return msgspec.json.encode({"jsonrpc": "2.0", "method": method, "params": params})
            finally:
                params.clear()  # what is large is freed by the thread that encoded it

        await self._channel.send(encoded() if is_small(params) else await self._service.readers.run(encoded))


def _params_of(name: str, note: Notification) -> dict[str, Any]:
    """What a notification is sent with."""
    params = {"subscription": name, "result": note.result}
    return params if note.cursor is None else params | {"cursor": note.cursor}


def _named(method: str, params: Any) -> list[Any]:
    """The parameters of a method whose first one is a string."""
    if not isinstance(params, list) or not 1 <= len(params) <= 2 or not isinstance(params[0], str):
        raise InvalidParams(f"{method} takes a list beginning with a string")
    return params
