"""The HTTP listener: its socket, its connections, and what is spoken on them."""

from __future__ import annotations

import asyncio
import ipaddress
import socket
import ssl
from collections.abc import Callable

from node.auth.errors import UnsafeBind
from node.doors.doors import Doors
from node.doors.rule import loopback
from node.gateway.answers import alternative
from node.gateway.clock import DateLine
from node.gateway.connections import ConnectionTable
from node.gateway.exchange import HttpExchange
from node.gateway.limits import HttpLimits
from node.gateway.link import ClientLink, Security
from node.gateway.routes import Routes
from node.gateway.tls import HandshakeTurns
from node.rpc.service import RpcService

BACKLOG = 1024
"""Connections that the kernel completes before the node accepts them."""


class Elsewhere:
    """Where else the same is served, as answers over TLS say it: browsers ask for that."""

    def __init__(self) -> None:
        self.line = b""

    def offer(self, http3_port: int | None) -> None:
        """Answers of new connections offer HTTP/3 there, or do not. Safe to call on any thread."""
        self.line = b"" if http3_port is None else alternative(http3_port)


class Gateway:
    """A running HTTP listener."""

    def __init__(
        self,
        server: asyncio.Server,
        table: ConnectionTable,
        address: tuple[str, int],
        security: Security | None,
        elsewhere: Elsewhere,
    ) -> None:
        self._server = server
        self.elsewhere = elsewhere
        self.connections = table
        self.security = security
        self.address = address

    @property
    def is_full(self) -> bool:
        """Whether it has as many connections as it serves: one more may be answered with 503."""
        return self.connections.is_full

    async def close(self) -> None:
        """Finish running requests and stop."""
        self._server.close()
        await self.connections.close()


def open_socket(host: str, port: int, open_to_others: bool = False) -> socket.socket:
    """A bound TCP socket, unless ``open_to_others`` on a loopback address. Raises `UnsafeBind`."""
    address = ipaddress.ip_address(host)
    if not open_to_others and not loopback(address):
        raise UnsafeBind(f"HTTP on {host} would be open to other machines")
    opened = socket.socket(socket.AF_INET6 if address.version == 6 else socket.AF_INET, socket.SOCK_STREAM)
    try:
        opened.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        opened.bind((host, port))
    except BaseException:
        opened.close()
        raise
    return opened


async def serve_http(
    service: RpcService,
    bound: socket.socket,
    doors: Doors | None = None,
    is_ready: Callable[[], bool] = lambda: True,
    limits: HttpLimits | None = None,
    context: ssl.SSLContext | None = None,
    http3_port: int | None = None,
) -> Gateway:
    """Listen on a bound TCP socket (`open_socket`, or the service manager's); with ``context``, over TLS.

    ``http3_port`` is where the same is served over HTTP/3.
    """
    limits = limits or HttpLimits()
    routes = Routes(service, doors or Doors(), is_ready)
    table, date = ConnectionTable(limits), DateLine()
    elsewhere = Elsewhere()
    elsewhere.offer(None if context is None else http3_port)

    def speaker(link: ClientLink) -> HttpExchange:
        return HttpExchange(link, service, routes, limits, date, elsewhere.line)

    security = Security(context, HandshakeTurns(limits.tls_handshakes_per_turn), date) if context is not None else None

    def connect() -> ClientLink:
        return ClientLink(table, limits, speaker, security)

    server = await asyncio.get_running_loop().create_server(connect, sock=bound, backlog=BACKLOG)
    host, port = bound.getsockname()[:2]
    return Gateway(server, table, (host, port), security, elsewhere)
