"""HTTP connections with a time limit for receiving a request; closing one cancels its requests."""

from __future__ import annotations

import asyncio
import re
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from node.rpc.work import ConnectedClient

ABSOLUTE_FORM = re.compile(rb"[A-Za-z][A-Za-z0-9+.-]*://([^/?#]*)")
"""The beginning of a target that names its host, which then counts in place of the Host header (RFC 9112, 3.2.2)."""
REQUEST_S = 15.0
"""Time for a request to arrive completely, from its first byte, or from the connection's beginning for the first."""


PEER = "peer"
"""Where the `HttpPeer` is in the state of an ASGI scope."""


class HttpPeer:
    """One connection, for the requests on it."""

    __slots__ = ("_transport", "client")

    def __init__(self, transport: asyncio.Transport) -> None:
        self.client = ConnectedClient()
        self._transport = transport

    @property
    def is_behind(self) -> bool:
        """Whether sent data still waits for the peer to receive it."""
        return self._transport.get_write_buffer_size() > 0

    def abort(self) -> None:
        """Close the connection at once and discard data that waits to be sent."""
        self._transport.abort()


class ImpatientProtocol(HttpToolsProtocol):
    """uvicorn's protocol with a limit on the time for a whole request; uvicorn itself has none."""

    request_seconds = REQUEST_S
    _deadline: asyncio.TimerHandle | None = None
    _in_request = True
    """The first request may take no longer to begin either."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._peer = HttpPeer(transport)
        self.app_state = {**self.app_state, PEER: self._peer}
        self._watch()

    def connection_lost(self, exc: Exception | None) -> None:
        self._in_request = False
        self._watch()
        self._peer.client.leave()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        self._watch()

    def handle_websocket_upgrade(self) -> None:
        self._in_request = False
        super().handle_websocket_upgrade()

    def on_headers_complete(self) -> None:
        authority = None if self.url.startswith(b"/") else ABSOLUTE_FORM.match(self.url)
        if authority is not None:
            target = self.url[authority.end() :]
            self.url = target if target.startswith(b"/") else b"/" + target
            others = [header for header in self.headers if header[0] != b"host"]
            hosts = max(1, len(self.headers) - len(others))  # the guard refuses two of them later
            self.headers[:] = [(b"host", authority[1])] * hosts + others
        super().on_headers_complete()

    def on_message_begin(self) -> None:
        self._in_request = True
        super().on_message_begin()

    def on_message_complete(self) -> None:
        self._in_request = False
        super().on_message_complete()

    def _watch(self) -> None:
        if not self._in_request:
            if self._deadline is not None:
                self._deadline.cancel()
                self._deadline = None
        elif self._deadline is None:
            self._deadline = self.loop.call_later(self.request_seconds, self.transport.close)


def impatient(seconds: float) -> type[Any]:
    """The protocol class with another time limit."""
    return type("ImpatientProtocol", (ImpatientProtocol,), {"request_seconds": seconds})
