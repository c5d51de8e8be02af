"""Whose work it is, until when, and how much it may take: one `Work` for a request, or for all calls of a batch.

A transport makes a `ConnectedClient` for each connection and a `Work` for each request, and ends the client when the
connection is gone. Whatever is done for the request on any thread is stopped then, or when its time, its memory or its
answer is above the limit. `current_work` finds it in coroutines.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Mapping
from contextvars import ContextVar, Token
from types import TracebackType
from typing import Any
from weakref import WeakValueDictionary

from chain.errors import ZvmdError
from node.api.errors import LimitExceeded
from node.rpc.caller import Caller
from node.rpc.cost import NOTHING_KNOWN, Order
from node.rpc.errors import CallTimeout, CallTooLarge, ClientGone
from node.rpc.limits import RpcLimits
from vm.interruption import Interruption

STRANGER_COST_S = 0.02
"""What a job of a client is taken to cost as long as nothing is known of it."""
FORGOTTEN_S = 10.0
LARGE_READS = 2
"""Reads with large bodies of one connection that are decoded and answered at a time."""

ConnectionMethods = Mapping[str, Callable[[Any], Any]]
"""Methods that only this connection has, such as subscriptions: from the parameters as decoded to the result."""


class ReaderShare:
    """What the readers know of a client (`node.rpc.readers`)."""

    __slots__ = ("__weakref__", "_used", "_used_at", "cost", "expected_s", "queues", "unanswered")

    def __init__(self) -> None:
        self.cost = STRANGER_COST_S
        """Seconds of processor time that its next job will take: as the last, or half of what was expected of that."""
        self.queues: tuple[deque[Any], deque[Any]] = (deque(), deque())
        """Jobs that wait; in the second one those that are cheap for certain."""
        self.unanswered = 0
        """Jobs that wait, run, or have not been answered yet. Event loop."""
        self.expected_s = 0.0
        """Seconds of processor time that the requests under way are expected to take. Event loop."""
        self._used = self._used_at = 0.0

    def arrived(self) -> None:
        """A job of the client waits from now on. Event loop."""
        self.unanswered += 1

    def answered(self) -> None:
        """A job has been answered. Event loop."""
        self.unanswered -= 1

    def expect(self, seconds: float) -> None:
        """Count what a request under way is expected to take, or with a minus take it back. Event loop."""
        self.expected_s = max(0.0, self.expected_s + seconds)

    def use(self, seconds: float, now: float) -> None:
        """Count processor time of a job that was not short."""
        self._used, self._used_at = self.used(now) + seconds, now

    def used(self, now: float) -> float:
        """Processor time so counted, seconds; what is long ago counts for less, half of it after `FORGOTTEN_S`."""
        return float(self._used * 0.5 ** ((now - self._used_at) / FORGOTTEN_S))


class Shares:
    """One share for all connections of one token, or of one address of another machine. Event loop only.

    Whoever opens 128 connections has no more turns than others. Clients of this machine share its address and are not
    one another, so each of their connections has a share of its own.
    """

    def __init__(self) -> None:
        self._shares: WeakValueDictionary[str, ReaderShare] = WeakValueDictionary()

    def of(self, caller: Caller) -> ReaderShare | None:
        """The share of that caller; None if it has none with others."""
        key = caller.shared_by
        if key is None:
            return None
        share = self._shares.get(key)
        if share is None:
            self._shares[key] = share = ReaderShare()
        return share


class ConnectedClient:
    """One connection. Used on the event loop only, but for `share`, which is the readers'."""

    __slots__ = ("_caller", "_own", "_works", "is_gone", "large", "share")

    def __init__(self) -> None:
        self.is_gone = False
        self._own = self.share = ReaderShare()
        self._caller: Caller | None = None
        self._works: set[Work] = set()
        self.large = asyncio.Semaphore(LARGE_READS)
        """Taken by reads with large bodies, from their decoding to their answer."""

    def is_of(self, caller: Caller, shares: Shares) -> None:
        """From now on its requests are this caller's."""
        if caller is not self._caller:
            self._caller = caller
            self.share = shares.of(caller) or self._own

    def working(
        self,
        limits: RpcLimits,
        stream_id: int | None = None,
        methods: ConnectionMethods | None = None,
        order: Order = NOTHING_KNOWN,
    ) -> Work:
        """A request of the client, to be answered inside of ``with``; `current_work` is it meanwhile."""
        return Work(limits, self, stream_id, methods, order)

    def begin(self, work: Work) -> None:
        """A request of the client is being answered."""
        self._works.add(work)
        work.share.expect(work.order.expected_s)
        if self.is_gone:
            work.stop(ClientGone("the client has gone"))

    def end(self, work: Work) -> None:
        """It is answered."""
        if work in self._works:
            self._works.remove(work)
            work.share.expect(-work.order.expected_s)

    def leave(self, stream_id: int | None = None) -> None:
        """The connection is gone, or one of its streams: nobody waits for what is under way."""
        self.is_gone = self.is_gone or stream_id is None
        for work in tuple(self._works):
            if stream_id is None or work.stream_id == stream_id:
                work.stop(ClientGone("the client has gone"))


class Work:
    """What one request may still take. Any thread.

    There is no lock. `begin` adds to the list, then looks at the reason; `stop` sets the reason, then goes through the
    list: whatever comes first, the other one sees it.
    """

    __slots__ = (
        "_deadline", "_limits", "_running", "_token", "answer_bytes_left", "client", "methods", "order", "reason",
        "share", "stream_id",
    )  # fmt: skip

    def __init__(
        self,
        limits: RpcLimits,
        client: ConnectedClient | None = None,
        stream_id: int | None = None,
        methods: ConnectionMethods | None = None,
        order: Order = NOTHING_KNOWN,
    ) -> None:
        self.client = ConnectedClient() if client is None else client
        self.order = order
        self.share = self.client.share
        self.stream_id = stream_id
        self.methods = methods or {}
        self.reason: ZvmdError | None = None
        """Why it was stopped."""
        self.answer_bytes_left = limits.answer_size_max_bytes
        """For all answers of a batch together."""
        self._limits = limits
        self._deadline: float | None = None
        self._running: list[Interruption] = []

    def __enter__(self) -> Work:
        self.client.begin(self)
        self._token: Token[Work | None] = current_work.set(self)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        current_work.reset(self._token)
        self.client.end(self)

    def begin(self, now: float) -> Interruption:
        """A thread begins with a part of it; the time runs from the first one on."""
        if self._deadline is None:
            self._deadline = now + self._limits.call_max_s
        interruption = Interruption(self.answer_bytes_left, self._answer_too_large)
        self._running.append(interruption)
        if self.reason is not None:
            interruption.stop(self.reason)
        return interruption

    def end(self, interruption: Interruption) -> None:
        """That part is done."""
        self._running.remove(interruption)

    def take(self, order: Order) -> None:
        """Now it is known what it should cost. Event loop, while it is under way."""
        self.share.expect(order.expected_s - self.order.expected_s)
        self.order = order

    def stop(self, reason: ZvmdError) -> None:
        """End it with an error: what runs, and what would begin. The first reason counts. Event loop."""
        if self.reason is None:
            self.reason = reason
            for interruption in tuple(self._running):
                interruption.stop(reason)

    def look(self, now: float) -> None:
        """Stop it if it is above its time, that which it has asked for itself, or its memory."""
        if self.reason is not None or self._deadline is None:
            return
        running = tuple(self._running)
        held = sum(interruption.held_bytes() for interruption in running)
        limits = self._limits
        overruns = [limits.call_max_s if now > self._deadline else None, *(one.overrun(now) for one in running)]
        if (seconds := next((one for one in overruns if one is not None), None)) is not None:
            self.stop(CallTimeout(f"execution aborted (timeout = {seconds:g}s)"))
        elif held > limits.call_size_max_bytes:
            self.stop(CallTooLarge(f"execution aborted: it holds {held} bytes of {limits.call_size_max_bytes}"))

    def spend_answer(self, size_bytes: int) -> None:
        """Count an answer that has been made; above the limit all is stopped. Event loop."""
        self.answer_bytes_left -= size_bytes
        if self.answer_bytes_left < 0:
            self.stop(self._answer_too_large())

    def _answer_too_large(self) -> LimitExceeded:
        return LimitExceeded(f"the answer exceeds {self._limits.answer_size_max_bytes} bytes")


current_work: ContextVar[Work | None] = ContextVar("current_work", default=None)
"""The request that a coroutine answers."""
