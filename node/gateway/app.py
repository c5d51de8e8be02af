"""The HTTP listener: routes, health, and uvicorn inside the node's own event loop."""

from __future__ import annotations

import asyncio
import ipaddress
import socket
from collections.abc import Callable, Generator
from contextlib import contextmanager

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route, WebSocketRoute
from starlette.websockets import WebSocket

from node.auth.errors import UnsafeBind
from node.gateway.guard import GuardRules, loopback
from node.gateway.http import App, Guard, JsonRpcEndpoint
from node.gateway.patience import REQUEST_S, impatient
from node.gateway.websocket import WebSocketSession
from node.rpc.service import RpcService

CONNECTIONS_MAX = 256
KEEP_ALIVE_S = 75
START_POLL_S = 0.005
STOP_S = 5
"""Requests that take longer are ended when the node stops."""


def build_app(
    service: RpcService,
    rules: GuardRules,
    is_ready: Callable[[], bool],
    is_full: Callable[[], bool] = lambda: False,
) -> App:
    """The ASGI application; ``is_full`` says whether there are more connections than the limit."""
    endpoint = JsonRpcEndpoint(service)

    async def health(_: Request) -> JSONResponse:
        return JSONResponse({"status": "alive"})

    async def ready(_: Request) -> JSONResponse:
        good = is_ready()
        return JSONResponse({"ready": good, "block": service.backend.head().number}, 200 if good else 503)

    async def websocket(socket: WebSocket) -> None:
        await WebSocketSession(service, socket, socket.scope["rights"]).run()

    inner = Starlette(
        routes=[
            Route("/healthz", health),
            Route("/readyz", ready),
            WebSocketRoute("/ws", websocket),
            WebSocketRoute("/", websocket),
        ]
    )

    async def app(scope: object, receive: object, send: object) -> None:
        # The hot path does not pass through the router.
        if scope["type"] == "http" and scope["path"] == "/":  # type: ignore[index]
            await endpoint(scope, receive, send)  # type: ignore[arg-type]
        else:
            await inner(scope, receive, send)  # type: ignore[arg-type]

    return Guard(app, rules, is_full)


class EmbeddedServer(uvicorn.Server):
    """uvicorn that leaves signals to the daemon."""

    @contextmanager
    def capture_signals(self) -> Generator[None, None, None]:
        """Do nothing: the daemon handles SIGTERM and SIGINT."""
        yield


class Gateway:
    """A running HTTP listener."""

    def __init__(
        self, server: EmbeddedServer, task: asyncio.Task[None], address: tuple[str, int], connections_max: int
    ) -> None:
        self._server = server
        self._connections_max = connections_max
        self.task = task
        """Ends when the listener does."""
        self.address = address

    @property
    def is_full(self) -> bool:
        """Whether it has as many connections as it accepts: one more is answered with 503."""
        return len(self._server.server_state.connections) >= self._connections_max

    async def close(self) -> None:
        """Finish running requests and stop."""
        self._server.should_exit = True
        await asyncio.wait([self.task])


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
    rules: GuardRules | None = None,
    is_ready: Callable[[], bool] = lambda: True,
    connections_max: int = CONNECTIONS_MAX,
    request_seconds: float = REQUEST_S,
    stop_seconds: int = STOP_S,
) -> Gateway:
    """Listen on a bound TCP socket (`open_socket`, or one passed in by the service manager)."""

    def is_full() -> bool:  # the connection that asks is one of them
        return len(server.server_state.connections) > connections_max

    config = uvicorn.Config(
        build_app(service, rules or GuardRules(), is_ready, is_full),
        http=impatient(request_seconds),
        lifespan="off",
        log_config=None,
        access_log=False,
        server_header=False,
        date_header=False,
        proxy_headers=False,
        timeout_keep_alive=KEEP_ALIVE_S,
        timeout_graceful_shutdown=stop_seconds,
        ws_max_size=service.context.limits.body_size_max_bytes,
    )
    server = EmbeddedServer(config)
    task = asyncio.create_task(server.serve(sockets=[bound]))
    while not server.started and not task.done():
        await asyncio.sleep(START_POLL_S)
    if task.done():
        task.result()
    host, port = bound.getsockname()[:2]
    return Gateway(server, task, (host, port), connections_max)
