"""A connection of messages, over a WebSocket or a unix socket: what waits for whom, whatever the framing is."""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod

from node.gateway.limits import HttpLimits
from node.gateway.link import ClientLink
from node.gateway.subscriptions import RpcConnection
from node.rpc.caller import Caller, on_connection
from node.rpc.service import RpcService


class MessageLine(ABC):
    """The `Channel` of a connection's requests. Its framing is in subclasses: `_advance` and `_send`."""

    def __init__(self, link: ClientLink, service: RpcService, limits: HttpLimits, caller: Caller) -> None:
        self._link = link
        self._limits = limits
        self._loop = asyncio.get_running_loop()
        unsent_max = int(service.context.limits.held_max_bytes * limits.unsent_share)
        self._requests = RpcConnection(service, self, on_connection(caller), unsent_max, self._answered)
        self._holding = service.held.holding()
        """The bytes of a message that has not arrived completely."""
        self._is_partial = False
        """Whether there is such a message, and time for its rest."""
        self._turn: asyncio.Handle | None = None
        self._sending = asyncio.Lock()
        self._taken = asyncio.Event()
        self._taken.set()

    # -- for the link -------------------------------------------------------------------------------

    def drained(self) -> None:
        """The peer has taken everything."""
        self._taken.set()
        self._advance()

    def end(self) -> None:
        """The node has stopped."""
        self._link.close()

    def lost(self) -> None:
        """The connection is gone."""
        if self._turn is not None:
            self._turn.cancel()
        self._holding.release()
        self._taken.set()
        self._requests.close()
        del self._requests  # both are parts of cycles, which would wait for the garbage collector

    # -- for the requests ---------------------------------------------------------------------------

    def send_at_once(self, message: bytes) -> bool:
        """Send if the peer has taken everything before it; whether it was sent."""
        if self._sending.locked() or self._link.is_behind:
            return False
        self._send(message)
        return True

    async def send(self, message: bytes) -> None:
        """Send when the peer has taken everything before it, and return when it has taken this, or is gone."""
        async with self._sending:
            await self._taken.wait()
            self._send(message)
            await self._taken.wait()

    @abstractmethod
    def _send(self, message: bytes) -> None:
        """Frame a message and hand it to the link, if that is open."""

    def _write(self, head: bytes, rest: bytes = b"") -> None:
        self._link.write(head, rest)
        if self._link.is_behind:
            self._taken.clear()

    def _answered(self) -> None:
        """A message is answered."""
        if self._link.is_open:
            self._touch()
            self._advance()

    def _touch(self) -> None:
        """Something happened that counts."""
        self._link.set_busy(self._requests.unanswered > 0)

    # -- what was received --------------------------------------------------------------------------

    @abstractmethod
    def _advance(self) -> None:
        """Look at what was received, as far as this turn and the limits allow."""

    @property
    def _is_waiting(self) -> bool:
        """Whether the peer has to wait for answers, or to take them."""
        requests, limits = self._requests, self._limits
        is_full = (
            requests.unanswered >= limits.messages_unanswered_max
            or requests.unanswered_bytes >= limits.messages_unanswered_bytes_max
        )
        return self._link.is_behind or is_full

    def _next_turn(self) -> None:
        self._turn = None
        self._advance()
