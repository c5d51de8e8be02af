"""What a connection was sent and has not taken: part of the budget of all large answers, and under a deadline.

QUIC keeps what is not acknowledged. A peer whose window is closed and that goes on acknowledging packets has no other
limit of time: 15 such connections held 900 MB.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from node.rpc.errors import NodeBusy
from node.rpc.held import SMALL_BYTES, Held
from node.wire.errors import SlowReader


class Unread:
    """The answers of one connection. Event loop only."""

    def __init__(
        self, held: Held, take_s: float, unread: Callable[[], int], refuse: Callable[[SlowReader], None]
    ) -> None:
        """``unread`` tells how many bytes wait.

        ``refuse`` ends the connection, because it takes less than `SMALL_BYTES` in ``take_s`` seconds.
        """
        self._holding = held.holding()
        self._unread = unread
        self._take_s = take_s
        self._refuse = refuse
        self._size = self._written = self._taken = 0
        self._timer: asyncio.TimerHandle | None = None

    def more(self, written: int) -> None:
        """Count bytes that were written. Raises `SlowReader` if more than allowed are waiting."""
        self._written += written
        unread = self._unread()
        try:
            self._holding.hold(unread)
        except NodeBusy as busy:
            raise SlowReader(str(busy)) from None
        self._size = unread
        if unread > SMALL_BYTES and self._timer is None:
            self._taken = self._written - unread
            self._timer = asyncio.get_running_loop().call_later(self._take_s, self._look)

    def less(self) -> None:
        """The peer may have taken something."""
        if not self._size:
            return
        unread = self._unread()
        if unread < self._size:
            self._size = unread
            self._holding.hold(unread)

    def end(self) -> None:
        """The connection is over."""
        self._holding.release()
        self._size = 0
        if self._timer is not None:
            self._timer.cancel()

    def _look(self) -> None:
        self._timer = None
        self.less()
        if self._size <= SMALL_BYTES:
            return
        taken = self._written - self._size
        if taken - self._taken < SMALL_BYTES:
            self._refuse(SlowReader(f"{taken - self._taken} bytes of {self._size} were taken in {self._take_s:g} s"))
            return
        self._taken = taken
        self._timer = asyncio.get_running_loop().call_later(self._take_s, self._look)
