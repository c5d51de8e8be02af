"""One request of an HTTP/3 connection: what has arrived of it, and what of its answer has to be sent."""

from __future__ import annotations

import asyncio
import math

from node.gateway.routes import Plan
from node.rpc.errors import NodeBusy
from node.rpc.held import SMALL_BYTES, Held, Holding, Together


class HeldShares:
    """What the heads, bodies and answers of one connection hold of the budget of all."""

    def __init__(self, held: Held, share: float) -> None:
        self.held = held
        self.most = int(held.most * share)
        self.used = 0
        """Bytes of large bodies and answers."""
        self.together = Together(held)


class Http3Request:
    """A request and its answer."""

    __slots__ = (
        "_head_bytes", "_holding", "_parts", "_shares", "_size", "deadline", "is_answered", "is_complete", "is_dropped",
        "plan", "received_bytes", "stream_id", "task", "unsent",
    )  # fmt: skip

    def __init__(self, stream_id: int, shares: HeldShares, deadline: float) -> None:
        self.stream_id = stream_id
        self.deadline = deadline
        """When it has to have gone on, on the loop's clock."""
        self.plan: Plan | None = None
        """Known when its head has arrived."""
        self.received_bytes = 0
        self.is_complete = False
        """Whether the peer has ended it."""
        self.is_answered = False
        """Whether the head of its answer was sent."""
        self.is_dropped = False
        """Whether nobody waits for its answer any more."""
        self.task: asyncio.Task[None] | None = None
        """Makes its answer."""
        self.unsent = memoryview(b"")
        """The rest of the answer."""
        self._parts: list[bytes] = []
        self._shares = shares
        self._holding = Holding(shares.held, shares.together)
        self._head_bytes = 0
        self._size = 0

    def allow(self, deadline: float) -> None:
        """Let it take until then."""
        self.deadline = deadline

    def wait_for(self, task: asyncio.Task[None] | None) -> None:
        """Its answer is made by a task, or not any more."""
        self.task = task

    def take_plan(self, plan: Plan, head_bytes: int) -> None:
        """Its head has arrived, and is kept with it. Raises `NodeBusy`."""
        self.plan = plan
        self._head_bytes = head_bytes
        self.hold(0)

    def end(self) -> None:
        """The peer sends no more of it."""
        self.is_complete = True

    def add(self, data: bytes) -> None:
        """A part of its body. Raises `NodeBusy`."""
        self._parts.append(data)
        self.received_bytes += len(data)
        self.hold(self.received_bytes)

    def body(self) -> list[bytes]:
        """The parts of its body, which are not kept."""
        parts, self._parts = self._parts, []
        return parts

    def hold(self, size_bytes: int) -> None:
        """Hold so many bytes, and the head, in place of the previous amount.

        Raises `NodeBusy`, and then holds nothing.
        """
        self.release()
        shares = self._shares
        size_bytes += self._head_bytes
        if size_bytes <= SMALL_BYTES:
            self._holding.hold(size_bytes)
            return
        if shares.used + size_bytes > shares.most:
            raise NodeBusy(f"{shares.used} bytes of large bodies and answers are held for this connection alone")
        self._holding.hold(size_bytes)
        shares.used += size_bytes
        self._size = size_bytes

    def release(self) -> None:
        """Hold nothing."""
        self._shares.used -= self._size
        self._size = 0
        self._holding.release()

    def answer_with(self, body: bytes) -> None:
        """The head of its answer was sent, and this is to follow."""
        self._parts = []
        self.is_answered = True
        self.unsent = memoryview(body)

    def next_part(self, size_max: int) -> bytes:
        """What of the answer is to be sent next."""
        part = bytes(self.unsent[:size_max])
        self.unsent = self.unsent[size_max:]
        return part

    def drop(self) -> None:
        """It is over."""
        self.is_dropped = True
        self.deadline = math.inf
        self._parts = []
        self.unsent = memoryview(b"")
        self.release()
