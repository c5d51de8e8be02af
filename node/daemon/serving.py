"""Starts and stops the listeners on one dispatcher: JSON-RPC over HTTP, HTTP/3 and frames over QUIC, unix sockets."""

from __future__ import annotations

import asyncio
import datetime
import socket
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from ipaddress import IPv4Address, IPv6Address, ip_address
from pathlib import Path

import structlog

from node.auth.certificate import TlsFiles, Wanted, usable_certificate
from node.daemon.errors import PortUnavailable
from node.daemon.https import HttpTls, check_https
from node.daemon.sockets import Sockets, check_sockets, start_sockets
from node.doors.doors import Doors
from node.doors.rule import loopback
from node.doors.visitor import Way
from node.gateway.limits import HttpLimits
from node.gateway.listener import Gateway, serve_http
from node.gateway.listener import open_socket as open_tcp_socket
from node.gateway.routes import Routes
from node.http3.speaker import http3_speaker
from node.ops.errors import InvalidSetting
from node.rpc.limits import RpcLimits
from node.rpc.service import RpcService
from node.settings import Settings
from node.wire.library import load_library
from node.wire.limits import WireLimits
from node.wire.server import WireListener, serve_wire
from node.wire.server import open_socket as open_udp_socket
from storage.directory import layout

HTTPS_AUTO = "auto"
"""With this ``http.tls`` both listeners show the same certificate, so that browsers may go from one to the other."""
HTTP3 = "h3"
"""Its name in ALPN (RFC 9114, 3.1)."""
log = structlog.get_logger(__name__)

EVERY_ADDRESS = {"0.0.0.0": "127.0.0.1", "[::]": "[::1]"}  # noqa: S104 - not bound here
"""Hosts that mean every address of the machine -> its loopback address."""
OPEN_TO_ALL = "JSON-RPC is open to every machine that can connect here: standard methods need no token"
OPEN_WARNING = "JSON-RPC is open to every machine that can connect here: no TLS, and standard methods need no token"


@dataclass(slots=True)
class Servers:
    """The running listeners."""

    service: RpcService
    doors: Doors
    gateway: Gateway
    wire: WireListener
    sockets: Sockets
    https: HttpTls
    tls_directory: Path
    tls: TlsFiles
    """The node's own certificate."""
    wanted: Wanted
    """What the node's certificates are made for."""
    http_address: str
    quic_address: str
    _renewing: threading.Lock = field(default_factory=threading.Lock)

    @property
    def http_url(self) -> str:
        """Where JSON-RPC is answered."""
        return f"{self.https.scheme}://{self.http_address}"

    def renew_certificate(self) -> str:
        """Renew the certificate if it expires soon, and read changed files; new connections get what is new.

        Safe to call at any time and on any thread.
        """
        with self._renewing:
            now = datetime.datetime.now(datetime.UTC)
            self.tls = tls = usable_certificate(self.tls_directory, now, self.wanted)
            self.wire.use_certificate(tls)
            self.https.look(tls, now)
        return f"valid until {tls.not_after:%Y-%m-%d}"

    def look_at_tls_files(self) -> str:
        """Read changed files of HTTP's TLS. Safe to call at any time and on any thread."""
        with self._renewing:
            return self.https.look(self.tls, datetime.datetime.now(datetime.UTC))

    def is_full(self) -> bool:
        """Whether one of the listeners has as many connections as it accepts."""
        quic_is_full = self.wire.connections >= self.wire.limits.connections_max
        return self.gateway.is_full or quic_is_full or self.sockets.is_full

    async def stop(self) -> None:
        """Accept no more requests, and finish the current ones."""
        self.sockets.close()
        await asyncio.gather(self.wire.stop(), self.gateway.close(), self.sockets.finish())
        self.doors.close()
        self.service.close()


async def start_servers(
    settings: Settings, service: RpcService, doors: Doors, https: HttpTls, public: bool = False
) -> Servers:
    """Bind both ports, then listen. ``public``: a chain of the public test mnemonic, whose HTTP may be open to others.

    Raises `InvalidSetting`, `LibraryMissing`, `UnsafeBind`, `PortUnavailable`, `UnusableCertificate`, `UnusableToken`,
    `UnusableTlsFile`, `SocketPathTooLong`, `SocketUnavailable`.
    """
    check_listeners(settings)
    data_dir, now = settings.data_dir, datetime.datetime.now(datetime.UTC)
    wanted = https.wanted
    tls = usable_certificate(data_dir / layout.TLS, now, wanted)
    context = https.load(tls, now)
    open_http = partial(open_tcp_socket, open_to_others=public or https.is_on)
    tcp = _bind(open_http, "http", settings.http.host, settings.http.port)
    udp = _bind(open_udp_socket, "quic", settings.quic.host, settings.quic.port)
    quic_address = address_text(*udp.getsockname()[:2])
    library = load_library(settings.quic.library)
    gateway_limits, quic_limits = http_limits(settings), wire_limits(settings)
    protocols = {}
    if settings.http.http3:
        routes = Routes(service, doors, lambda: True, Way.HTTP3)
        protocols[HTTP3] = http3_speaker(library.http3(), service, routes, gateway_limits)
    wire = await serve_wire(service, udp, tls, doors, library, quic_limits, protocols)
    is_found = settings.http.http3 and settings.http.host == settings.quic.host and https.mode == HTTPS_AUTO
    http3_port = udp.getsockname()[1] if is_found else None
    gateway = await serve_http(service, tcp, doors, limits=gateway_limits, context=context, http3_port=http3_port)
    sockets = await start_sockets(settings, service, doors, gateway_limits, quic_limits)
    https.serve(gateway.security)
    http_address = address_text(*gateway.address)
    if public and not loopback(ip_address(gateway.address[0])):
        log.warning(OPEN_TO_ALL if https.is_on else OPEN_WARNING, address=http_address)
    return Servers(
        service, doors, gateway, wire, sockets, https, data_dir / layout.TLS, tls, wanted, http_address, quic_address
    )


def check_listeners(settings: Settings) -> None:
    """Refuse addresses that can never be listened on, an absent library, and files of TLS that cannot be used.

    Raises `InvalidSetting`, `LibraryMissing`, `UnusableTlsFile`, `SocketPathTooLong`.
    """
    load_library(settings.quic.library)
    check_https(settings.http)
    check_sockets(settings)
    if _parsed("quic", settings.quic.host).is_multicast:
        raise InvalidSetting(f"quic.host = {settings.quic.host!r} is a multicast address, which answers nobody")
    if _parsed("http", settings.http.host).is_multicast:
        raise InvalidSetting(f"http.host = {settings.http.host!r} is a multicast address, which answers nobody")


def _parsed(section: str, host: str) -> IPv4Address | IPv6Address:
    try:
        return ip_address(host)
    except ValueError:
        raise InvalidSetting(f"{section}.host = {host!r} is not an IP address, such as 127.0.0.1 or ::1") from None


def address_text(host: str, port: int) -> str:
    """Host and port as in a URL.

    >>> address_text("127.0.0.1", 8545), address_text("::1", 8545)
    ('127.0.0.1:8545', '[::1]:8545')
    """
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def local_address(address: str) -> str:
    """The address by which a client on this machine connects to a listener, which may listen on every address.

    >>> local_address("0.0.0.0:8545"), local_address("[::]:8545"), local_address("10.0.0.1:8545")
    ('127.0.0.1:8545', '[::1]:8545', '10.0.0.1:8545')
    """
    host, _, port = address.rpartition(":")
    return f"{EVERY_ADDRESS.get(host, host)}:{port}"


def http_limits(settings: Settings) -> HttpLimits:
    """The limits of HTTP connections from the settings."""
    limits = settings.limits
    return HttpLimits(
        connections_max=limits.http_connections, connections_per_address_max=limits.connections_per_peer
    )


def wire_limits(settings: Settings) -> WireLimits:
    """The connection limits from the settings."""
    limits = settings.limits
    return WireLimits(
        connections_max=limits.quic_connections,
        connections_per_address_max=limits.connections_per_peer,
        streams_max=limits.streams_per_connection,
        subscriptions_max=limits.subscriptions_per_connection,
    )


def _bind(open_socket: Callable[[str, int], socket.socket], section: str, host: str, port: int) -> socket.socket:
    _parsed(section, host)
    try:
        return open_socket(host, port)
    except OSError as error:
        raise PortUnavailable(f"cannot listen on {host} port {port} ({section}.port): {error.strerror}") from error


def rpc_limits(settings: Settings) -> RpcLimits:
    """The request limits from the settings."""
    limits, standard = settings.limits, RpcLimits()
    is_development = settings.node.dev or settings.node.cheats
    unlimited = 2**63 if is_development else 0
    return RpcLimits(
        body_size_max_bytes=limits.body_bytes,
        batch_size_max=limits.batch_calls,
        answer_size_max_bytes=limits.answer_bytes,
        json_depth_max=limits.json_depth,
        log_blocks_max=limits.log_query_blocks or unlimited or standard.log_blocks_max,
        log_results_max=limits.log_query_results or unlimited or standard.log_results_max,
        call_gas_max=limits.call_gas,
        call_max_s=limits.call_seconds,
        call_size_max_bytes=limits.call_memory_bytes,
        client_max_s=limits.client_seconds,
        held_max_bytes=limits.held_bytes,
        short_road=limits.short_road,
        subscriptions_max=limits.subscriptions_per_connection,
    )
