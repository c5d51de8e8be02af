"""The connection to the node: opened when it is needed, and again after it was lost."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any, Protocol

from node.sessions.commands import COMMANDS
from node.sessions.rights import Right
from zvmd.errors import ConnectionFailed, ZvmdError

RETRY_S = 3.0
"""How long the first request after a lost connection waits; later ones fail at once until the node is back."""
WAIT_FIRST_S, WAIT_MAX_S = 0.05, 2.0
"""First interval between attempts; it doubles each time."""
LOOK_FOR_S = 600.0
"""How long to look for the node between requests."""
REPEATABLE = frozenset(
    method
    for row in COMMANDS.values()
    if row.right is Right.WATCH or row.name == "pause"
    for method in row.methods
)
"""Methods that may be repeated: whether the node carried out another one before the connection broke is unknown."""


class RpcLink(Protocol):
    """What the adapter needs from a connection."""

    def rpc(self, method: str, *params: Any) -> Any:
        """Result of a method."""

    def close(self) -> None:
        """End it."""


class ReconnectingLink:
    """Calls methods of the node. Any thread."""

    def __init__(self, connect: Callable[[], RpcLink], tell: Callable[[str], None] = lambda _: None) -> None:
        """``tell`` is called with messages for the user: the node is away, the node is back."""
        self._connect, self._tell = connect, tell
        self._lock = threading.Lock()
        self._link: RpcLink | None = None
        self._is_away = False
        self._was_there = False
        self._is_closed = threading.Event()

    def rpc(self, method: str, *params: Any) -> Any:
        """Result of a method. Raises `ZvmdError`."""
        patience = RETRY_S if self._was_there and not self._is_away else 0.0
        deadline, wait = time.monotonic() + patience, WAIT_FIRST_S
        while True:
            is_sent = False
            try:
                link = self._connected()
                is_sent = True
                answer = link.rpc(method, *_portable(list(params)))
            except ConnectionFailed as error:
                if is_sent:
                    self._drop(link)
                self._went_away(error)
                may_ask_again = not is_sent or method in REPEATABLE or error.code == "client.unsent"
                if not may_ask_again or time.monotonic() + wait > deadline:
                    raise
                self._is_closed.wait(wait)
                wait = min(2 * wait, WAIT_MAX_S)
            else:
                self._came_back()
                return answer

    def wait_until_back(self, seconds: float, gives_up: Callable[[], bool]) -> None:
        """Return when the node answers, after so many seconds, or when the connection is closed."""
        deadline = time.monotonic() + seconds
        while self._is_away and time.monotonic() < deadline and not gives_up():
            if self._is_closed.wait(WAIT_FIRST_S):
                return

    def close(self) -> None:
        """End the connection."""
        self._is_closed.set()
        with self._lock:
            link, self._link = self._link, None
        if link is not None:
            link.close()

    def _connected(self) -> RpcLink:
        with self._lock:
            if self._link is None:
                self._link = self._connect()
            return self._link

    def _drop(self, link: RpcLink) -> None:
        with self._lock:
            if self._link is not link:
                return
            self._link = None
        link.close()

    def _went_away(self, error: ConnectionFailed) -> None:
        with self._lock:
            if self._is_away or not self._was_there:
                return
            self._is_away = True
        self._tell(f"the node is away ({error.message}); looking for it")
        threading.Thread(target=self._look_for_it, name="dap-line", daemon=True).start()

    def _came_back(self) -> None:
        with self._lock:
            was_away, self._is_away, self._was_there = self._is_away, False, True
        if was_away:
            self._tell("the node is back")

    def _look_for_it(self) -> None:
        deadline, wait = time.monotonic() + LOOK_FOR_S, WAIT_FIRST_S
        while self._is_away and time.monotonic() < deadline and not self._is_closed.wait(wait):
            wait = min(2 * wait, WAIT_MAX_S)
            try:
                link = self._connected()
                link.rpc("web3_clientVersion")
            except ConnectionFailed:
                with self._lock:
                    link_now, self._link = self._link, None
                if link_now is not None:
                    link_now.close()
            except ZvmdError:
                self._came_back()  # it answers
            else:
                self._came_back()


def _portable(value: Any) -> Any:
    """Convert numbers that an encoding cannot represent to hex text."""
    if isinstance(value, dict):
        return {name: _portable(item) for name, item in value.items()}
    if isinstance(value, list):
        return [_portable(item) for item in value]
    is_large = isinstance(value, int) and not isinstance(value, bool) and not -(1 << 53) < value < 1 << 53
    return hex(value) if is_large else value
