"""Clients that leave, and clients that do not take their answers: what was done for them ends, on every transport."""

from __future__ import annotations

import asyncio
import json
import socket
import threading
import time
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
import websockets

from node.api.types import CallResult
from node.gateway.limits import HttpLimits
from node.gateway.listener import Gateway, open_socket, serve_http
from node.rpc.limits import RpcLimits
from node.rpc.service import RpcService
from tests.unit.rpc.memory_backend import MemoryBackend, rpc_service
from vm.interruption import checkpoint

LIMITS = RpcLimits(call_max_s=600.0)
"""Nothing ends by its time."""
QUESTION = {"jsonrpc": "2.0", "id": 1, "method": "eth_call", "params": [{"to": "0x" + "aa" * 20}, "latest"]}
CALL = json.dumps(QUESTION).ljust(200)
HEAD = f"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: {len(CALL)}\r\n\r\n"


class Endless(MemoryBackend):
    """Calls do not end by themselves."""

    begun = threading.Event()

    def call(self, *_: Any, **__: Any) -> CallResult:
        self.begun.set()
        while True:
            checkpoint()
            time.sleep(0.001)


class Generous(MemoryBackend):
    """Calls return 10 MB, which are 20 MB of JSON: more than sockets take without a reader."""

    def call(self, *_: Any, **__: Any) -> CallResult:
        return CallResult(True, False, "return", bytes(10_000_000), 21_000)


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(30):
        while not condition():
            await asyncio.sleep(0.005)


def serving(
    backend: MemoryBackend, test: Callable[[RpcService, Gateway], Awaitable[None]], limits: HttpLimits | None = None
) -> None:
    async def run() -> None:
        service = rpc_service(backend, LIMITS)
        gateway = await serve_http(service, open_socket("127.0.0.1", 0), limits=limits)
        try:
            await test(service, gateway)
        finally:
            await gateway.close()
            service.close()

    asyncio.run(run())


async def a_websocket(gateway: Gateway) -> Callable[[], None]:
    """Asks over a WebSocket; what hangs up."""
    client = await websockets.connect("ws://{}:{}/ws".format(*gateway.address), max_queue=1)
    await client.send(CALL)
    return client.transport.abort


async def a_request(gateway: Gateway) -> Callable[[], None]:
    """Asks over HTTP and reads nothing; what hangs up."""
    plain = socket.socket()
    plain.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
    plain.setblocking(False)
    await asyncio.get_running_loop().sock_connect(plain, gateway.address)
    _, writer = await asyncio.open_connection(sock=plain, limit=1_024)
    writer.write(HEAD.encode() + CALL.encode())
    return lambda: writer.transport.abort()  # a writer that nobody holds closes


@pytest.mark.parametrize("ask", [a_websocket, a_request])
def test_what_was_asked_ends_when_the_client_hangs_up(ask: Callable[[Gateway], Awaitable[Callable[[], None]]]) -> None:
    backend = Endless()
    backend.begun.clear()

    async def test(service: RpcService, gateway: Gateway) -> None:
        hang_up = await ask(gateway)
        await until(backend.begun.is_set)
        await until(lambda: service.readers.status()["busy"] == 1)
        hang_up()
        await until(lambda: service.readers.status()["busy"] == 0)
        assert service.readers.status()["stopped"] == 1

    serving(backend, test)


async def a_deaf_websocket(gateway: Gateway) -> Callable[[], None]:
    """Asks over a WebSocket, by hand, and reads nothing but the handshake."""
    plain = socket.socket()
    plain.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
    plain.setblocking(False)
    await asyncio.get_running_loop().sock_connect(plain, gateway.address)
    reader, writer = await asyncio.open_connection(sock=plain, limit=1_024)
    upgrade = "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
    key = f"Sec-WebSocket-Key: {'A' * 22}==\r\n"
    writer.write(f"GET /ws HTTP/1.1\r\nHost: localhost\r\n{upgrade}{key}\r\n".encode())
    assert b" 101 " in await reader.readuntil(b"\r\n\r\n")
    writer.write(bytes([0x81, 0xFE]) + len(CALL).to_bytes(2, "big") + bytes(4) + CALL.encode())
    return lambda: writer.transport.abort()  # a writer that nobody holds closes


@pytest.mark.parametrize("ask", [a_deaf_websocket, a_request])
def test_who_does_not_take_an_answer_is_cut_off(ask: Callable[[Gateway], Awaitable[Callable[[], None]]]) -> None:
    async def test(service: RpcService, gateway: Gateway) -> None:
        hang_up = await ask(gateway)
        await until(lambda: service.held.bound()[0] > 0)
        await until(lambda: not len(gateway.connections))
        await until(lambda: service.held.bound()[0] == 0)
        hang_up()

    serving(Generous(), test, HttpLimits(take_answer_s=0.2, look_every_s=0.05))
