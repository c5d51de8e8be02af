"""Opens the connection that an endpoint describes: over a unix socket of this machine, or over QUIC."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import cast

from zvmd.endpoint import Endpoint, QuicEndpoint, SocketEndpoint
from zvmd.errors import ConnectionFailed
from zvmd.exchange import REQUEST_STREAM, Exchange, ended, shut


class SocketConnection(Exchange, asyncio.Protocol):
    """Over a unix socket, on which there is one stream. The kernel tells at once when the node is gone."""

    def __init__(self) -> None:
        Exchange.__init__(self)
        self._pipe: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Called by asyncio."""
        self._pipe = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        """Called by asyncio."""
        if not self._greeting.done() and data.startswith(b"{"):
            hint = "the socket named .sock beside it is the one for this"
            self._lose(ConnectionFailed("this socket speaks JSON", code="client.protocol", hint=hint))
            return
        self.received(REQUEST_STREAM, data)

    def connection_lost(self, exc: Exception | None) -> None:
        """Called by asyncio."""
        self._lose(ended(str(exc) if exc else "the node closed the connection"))

    def _send(self, frames: Mapping[int, list[bytes]], end: bool = False) -> None:  # noqa: ARG002 - one stream for all
        if self._pipe is None or self._pipe.is_closing():
            raise ended("the node closed the connection")
        self._pipe.write(b"".join(part for parts in frames.values() for part in parts))

    def _close(self) -> None:
        if self._pipe is not None:
            self._pipe.close()


async def open_endpoint(endpoint: Endpoint, client: str, timeout_s: float) -> Exchange:
    """Connect as the endpoint says. Raises `ConnectionFailed`."""
    if isinstance(endpoint, QuicEndpoint):
        return await _over_quic(endpoint, client, timeout_s)
    try:
        return await _over_socket(endpoint, client, timeout_s)
    except ConnectionFailed as error:
        if endpoint.otherwise is None or error.code != "client.socket":
            raise
        other = endpoint.otherwise
    return await _over_quic(other(), client, timeout_s)


async def _over_socket(endpoint: SocketEndpoint, client: str, timeout_s: float) -> SocketConnection:
    """Connect and say Hello. Raises `ConnectionFailed`; ``client.socket`` if nobody listens there."""
    loop = asyncio.get_running_loop()
    try:
        async with asyncio.timeout(timeout_s):
            _, connection = await loop.create_unix_connection(SocketConnection, endpoint.path)
            try:
                await connection.greet(endpoint.token, client)
            except BaseException:
                await shut(connection)
                raise
    except TimeoutError:
        message, hint = f"{endpoint.path}: no answer within {timeout_s:g} s", "is the node running?"
        raise ConnectionFailed(message, code="client.connect", hint=hint) from None
    except (OSError, ValueError, NotImplementedError) as error:  # the last where there are no unix sockets
        hint = "is the node running? its socket is for its own user and root"
        reason = getattr(error, "strerror", None) or error
        raise ConnectionFailed(f"{endpoint.path}: {reason}", code="client.socket", hint=hint) from None
    return connection


async def _over_quic(endpoint: QuicEndpoint, client: str, timeout_s: float) -> Exchange:
    """Connect as `zvmd.connection.open_connection`."""
    from zvmd.connection import open_connection  # here, since a unix socket does not need the QUIC library

    return await open_connection(endpoint, client, timeout_s)
