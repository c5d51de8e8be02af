"""Starts and stops the listeners: JSON-RPC over HTTP and the framed protocol over QUIC, on one dispatcher."""

from __future__ import annotations

import datetime
import socket
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from node.auth.signing import signer
from node.auth.tls import load_or_create_certificate
from node.auth.tokens import TokenChecker, load_or_create_token
from node.errors import PortUnavailable
from node.gateway.app import Gateway, serve_http
from node.gateway.app import open_socket as open_tcp_socket
from node.ops.errors import InvalidSetting
from node.rpc.backend import Backend
from node.rpc.limits import RpcLimits
from node.rpc.service import RpcService
from node.sessions.service import SessionService
from node.settings import Settings
from node.wire.limits import WireLimits
from node.wire.server import WireListener, serve_wire
from node.wire.server import open_socket as open_udp_socket

TLS_DIRECTORY = "tls"


@dataclass(slots=True)
class Servers:
    """The running listeners."""

    service: RpcService
    gateway: Gateway
    wire: WireListener
    tls_directory: Path
    http_address: str
    quic_address: str

    def renew_certificate(self) -> str:
        """Renew the certificate if it ends soon; new connections get the new one. Safe to call at any time."""
        tls = load_or_create_certificate(self.tls_directory, datetime.datetime.now(datetime.UTC))
        self.wire.use_certificate(tls)
        return f"valid until {tls.not_after:%Y-%m-%d}"

    async def stop(self) -> None:
        """Take no more requests; those under way are finished."""
        self.wire.close()
        await self.gateway.close()
        self.service.close()


async def start_servers(settings: Settings, backend: Backend, sessions: SessionService | None = None) -> Servers:
    """Bind both ports, then listen.

    Raises `UnsafeBind`, `InvalidSetting`, `PortUnavailable`, `UnusableCertificate`, `UnusableToken`.
    """
    data_dir = settings.data_dir
    tls = load_or_create_certificate(data_dir / TLS_DIRECTORY, datetime.datetime.now(datetime.UTC))
    is_token = TokenChecker(load_or_create_token(data_dir))
    tcp = _bind(open_tcp_socket, "http", settings.http.host, settings.http.port)
    udp = _bind(open_udp_socket, "quic", settings.quic.host, settings.quic.port)
    quic_address = "{}:{}".format(*udp.getsockname()[:2])
    service = RpcService(backend, rpc_limits(settings), sessions)
    service.context.sign = signer(data_dir)
    wire = await serve_wire(service, udp, tls, is_token, wire_limits(settings))
    gateway = await serve_http(service, tcp, connections_max=settings.limits.http_connections)
    http_address = "{}:{}".format(*gateway.address)
    return Servers(service, gateway, wire, data_dir / TLS_DIRECTORY, http_address, quic_address)


def wire_limits(settings: Settings) -> WireLimits:
    """The connection limits that the settings ask for."""
    limits = settings.limits
    return WireLimits(
        connections_max=limits.quic_connections,
        connections_per_address_max=limits.connections_per_peer,
        streams_max=limits.streams_per_connection,
        subscriptions_max=limits.subscriptions_per_connection,
    )


def _bind(open_socket: Callable[[str, int], socket.socket], section: str, host: str, port: int) -> socket.socket:
    try:
        return open_socket(host, port)
    except ValueError:
        raise InvalidSetting(f"{section}.host = {host!r} is no IP address, such as 127.0.0.1 or ::1") from None
    except OSError as error:
        raise PortUnavailable(f"cannot listen on {host} port {port} ({section}.port): {error.strerror}") from error


def rpc_limits(settings: Settings) -> RpcLimits:
    """The request limits that the settings ask for."""
    limits = settings.limits
    return RpcLimits(
        body_size_max_bytes=limits.body_bytes,
        batch_size_max=limits.batch_calls,
        answer_size_max_bytes=limits.answer_bytes,
        json_depth_max=limits.json_depth,
        log_blocks_max=limits.log_query_blocks,
        log_results_max=limits.log_query_results,
        call_gas_max=limits.call_gas,
        call_max_s=limits.call_seconds,
        call_size_max_bytes=limits.call_memory_bytes,
        held_max_bytes=limits.held_bytes,
        subscriptions_max=limits.subscriptions_per_connection,
    )
