"""The HTTP door: Host, Origin, content type, methods and body sizes, without a socket."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import httpx
import pytest
import websockets

from node.auth.errors import UnsafeBind
from node.gateway.app import build_app, open_socket, serve_http
from node.gateway.guard import GuardRules
from node.rpc.limits import RpcLimits
from node.rpc.service import RpcService
from tests.unit.rpc.memory_backend import MemoryBackend

CALL = json.dumps({"jsonrpc": "2.0", "id": 1, "method": "eth_chainId"}).encode()
JSON = {"content-type": "application/json"}


def ask(method: str, path: str = "/", rules: GuardRules | None = None, **options: Any) -> httpx.Response:
    async def run() -> httpx.Response:
        service = RpcService(MemoryBackend(), RpcLimits(body_size_max_bytes=1000))
        app = build_app(service, rules or GuardRules(), lambda: False)
        transport = httpx.ASGITransport(app)  # type: ignore[arg-type]
        try:
            async with httpx.AsyncClient(transport=transport, base_url="http://localhost:8545") as client:
                return await client.request(method, path, **options)
        finally:
            service.close()

    return asyncio.run(run())


def test_a_call() -> None:
    response = ask("POST", content=CALL, headers=JSON)
    assert response.status_code == 200
    assert response.headers["content-type"] == "application/json"
    assert response.json() == {"jsonrpc": "2.0", "id": 1, "result": "0x7a69"}
    assert "access-control-allow-origin" not in response.headers


REBINDING = [
    "attacker.example",
    "attacker.example:8545",
    "localhost.attacker.example",
    "127.0.0.1.nip.io",
    "127.0.0.1.attacker.example:8545",
    "0.0.0.0",
    "0.0.0.0:8545",
    "[::]",
    "[::]:8545",
    "192.168.0.1",
    "10.0.0.1:8545",
    "169.254.169.254",
    "[fe80::1]:8545",
    "localhost@attacker.example",
    "attacker.example#localhost",
    "attacker.example/localhost",
    "",
    ":8545",
    "127.0.0.2",
    "2130706433",
    "0x7f000001",
    "127.1",
    "localhost,attacker.example",
    "xn--localhost-",
    "local host",
    "[::ffff:127.0.0.1]",
    "localhos",
    "localhost.localdomain",
    "metadata.google.internal",
    "[attacker.example]",
]


@pytest.mark.parametrize("host", REBINDING)
def test_rebound_names_are_refused(host: str) -> None:
    response = ask("POST", content=CALL, headers=JSON | {"host": host})
    assert response.status_code == 403
    assert response.json()["error"]["data"]["code"] == "http.refused"


@pytest.mark.parametrize("host", ["localhost", "LOCALHOST:1", "127.0.0.1:8545", "[::1]:8545", "localhost."])
def test_our_own_names_are_accepted(host: str) -> None:
    assert ask("POST", content=CALL, headers=JSON | {"host": host}).status_code == 200


@pytest.mark.parametrize("origin", ["https://attacker.example", "null", "http://localhost:3000"])
def test_pages_are_refused_unless_allowed(origin: str) -> None:
    headers = JSON | {"origin": origin}
    assert ask("POST", content=CALL, headers=headers).status_code == 403
    assert ask("OPTIONS", headers=headers).status_code == 403
    allowed = GuardRules(origins=(origin,))
    response = ask("POST", content=CALL, headers=headers, rules=allowed)
    assert response.status_code == 200
    assert response.headers["access-control-allow-origin"] == origin
    preflight = ask("OPTIONS", headers=headers, rules=allowed)
    assert preflight.status_code == 204
    assert preflight.headers["access-control-allow-headers"] == "content-type"


@pytest.mark.parametrize("kind", ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data", None])
def test_bodies_that_skip_preflight_are_refused(kind: str | None) -> None:
    headers = {} if kind is None else {"content-type": kind}
    assert ask("POST", content=CALL, headers=headers).status_code == 415


def test_other_methods_and_large_bodies() -> None:
    assert ask("GET").status_code == 405
    assert ask("POST", content=b" " * 1001, headers=JSON).status_code == 413

    async def chunks() -> Any:
        for _ in range(11):
            yield b" " * 100

    assert ask("POST", content=chunks(), headers=JSON).status_code == 413


def test_notifications_and_health() -> None:
    note = json.dumps({"jsonrpc": "2.0", "method": "eth_chainId"}).encode()
    assert ask("POST", content=note, headers=JSON).status_code == 204
    assert ask("GET", "/healthz").json() == {"status": "alive"}
    assert ask("GET", "/readyz").status_code == 503


def test_only_loopback_is_bound() -> None:
    with pytest.raises(UnsafeBind):
        open_socket("0.0.0.0", 0)
    open_socket("127.0.0.1", 0).close()


HEADER = b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: "
WHOLE = HEADER + b"%d\r\n\r\n" % len(CALL) + CALL


@pytest.mark.parametrize("part", [b"", b"P", HEADER, HEADER + b"9\r\n\r\n{", WHOLE + HEADER])
def test_a_request_that_never_becomes_whole_ends_its_connection(part: bytes) -> None:
    """Half-open ones stayed for ever, and 256 of them were all that the node takes."""

    async def run() -> bytes:
        service = RpcService(MemoryBackend())
        gateway = await serve_http(service, open_socket("127.0.0.1", 0), request_seconds=0.2)
        try:
            reader, writer = await asyncio.open_connection(*gateway.address)
            writer.write(part)
            received = await asyncio.wait_for(reader.read(), 30)
            writer.close()
            return received
        finally:
            await gateway.close()
            service.close()

    assert (b"200 OK" in asyncio.run(run())) == part.startswith(WHOLE)


@pytest.mark.parametrize("left_out", [0, 1])
def test_a_request_that_outlasts_the_stop_is_told_so(left_out: int, caplog: pytest.LogCaptureFixture) -> None:
    """It got a page of text that is no JSON, and the log a traceback."""

    async def run() -> bytes:
        service = RpcService(MemoryBackend())
        gateway = await serve_http(service, open_socket("127.0.0.1", 0), stop_seconds=1)
        reader, writer = await asyncio.open_connection(*gateway.address)
        later = {"jsonrpc": "2.0", "id": 1, "method": "zvmd_read", "params": ["0x7fffffff", "eth_chainId", []]}
        future = json.dumps(later)
        writer.write(HEADER + b"%d\r\n\r\n" % len(future) + future.encode()[: len(future) - left_out])
        while not gateway._server.server_state.tasks:
            await asyncio.sleep(0.01)
        await gateway.close()
        service.close()
        received = await asyncio.wait_for(reader.read(), 30)
        writer.close()
        return received

    head, _, body = asyncio.run(run()).partition(b"\r\n\r\n")
    assert b" 503 " in head
    assert json.loads(body)["error"]["data"]["code"] == "node.stopping"
    assert not [record for record in caplog.records if record.exc_info]


def test_a_connection_between_two_requests_and_a_websocket_stay() -> None:
    async def run() -> None:
        service = RpcService(MemoryBackend())
        gateway = await serve_http(service, open_socket("127.0.0.1", 0), request_seconds=0.5)
        host, port = gateway.address
        try:
            async with websockets.connect(f"ws://{host}:{port}/ws") as socket:
                reader, writer = await asyncio.open_connection(host, port)
                for _ in range(2):
                    writer.write(WHOLE)
                    assert b"0x7a69" in await asyncio.wait_for(reader.read(1000), 30)
                    await asyncio.sleep(0.8)
                    await socket.send(CALL.decode())
                    assert "0x7a69" in str(await socket.recv())
            writer.close()
        finally:
            await gateway.close()
            service.close()

    asyncio.run(run())
