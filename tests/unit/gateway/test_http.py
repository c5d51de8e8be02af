"""The HTTP door: Host, Origin, content type, methods and body sizes, without a socket."""

from __future__ import annotations

import asyncio
import gc
import json
from typing import Any

import httpx
import pytest
import websockets

from node.auth.errors import UnsafeBind
from node.doors.doors import Doors
from node.doors.rule import GuardRules
from node.gateway.exchange import Phase
from node.gateway.limits import HttpLimits
from node.gateway.listener import open_socket, serve_http
from node.rpc.limits import RpcLimits
from tests.unit.gateway.test_connections import phases
from tests.unit.gateway.wire import LATER, pass_time
from tests.unit.rpc.memory_backend import MemoryBackend, rpc_service

CALL = json.dumps({"jsonrpc": "2.0", "id": 1, "method": "eth_chainId"}).encode()
JSON = {"content-type": "application/json"}
EVERY_PAGE = GuardRules(origins=("*",))


def ask(method: str, path: str = "/", rules: GuardRules | None = None, **options: Any) -> httpx.Response:
    async def run() -> httpx.Response:
        service = rpc_service(MemoryBackend(), RpcLimits(body_size_max_bytes=1000))
        gateway = await serve_http(service, open_socket("127.0.0.1", 0), Doors(rules), lambda: False)
        try:
            async with httpx.AsyncClient(base_url="http://{}:{}".format(*gateway.address)) as client:
                return await client.request(method, path, **options)
        finally:
            await gateway.close()
            service.close()

    return asyncio.run(run())


def test_a_call() -> None:
    response = ask("POST", content=CALL, headers=JSON)
    assert response.status_code == 200
    assert response.headers["content-type"] == "application/json"
    assert response.json() == {"jsonrpc": "2.0", "id": 1, "result": "0x7a69"}
    assert "access-control-allow-origin" not in response.headers


@pytest.mark.parametrize("host", ["attacker.example:8545", "[::1].attacker.example", "localhost:attacker.example", ""])
def test_rebound_names_are_refused(host: str) -> None:
    for method, path in (("POST", "/"), ("OPTIONS", "/"), ("GET", "/readyz"), ("GET", "/healthz"), ("GET", "/other")):
        response = ask(method, path, content=CALL, headers=JSON | {"host": host, "origin": f"http://{host}"})
        assert response.status_code == 403
        assert response.json()["error"]["data"] == {
            "code": "http.refused", "hint": "allow the name with [http] hosts"
        }  # fmt: skip
        assert "access-control-allow-origin" not in response.headers


@pytest.mark.parametrize("host", ["localhost", "LOCALHOST:1", "127.0.0.1:8545", "[::1]:8545", "anvil:8545"])
def test_our_own_names_are_accepted(host: str) -> None:
    assert ask("POST", content=CALL, headers=JSON | {"host": host}).status_code == 200


PREFLIGHT = {
    "access-control-request-method": "POST",
    "access-control-request-headers": "content-type,x-app",
    "access-control-request-private-network": "true",
}


@pytest.mark.parametrize("origin", ["https://attacker.example", "null", "http://localhost:3000", "Titanoboa"])
def test_pages_are_refused_unless_allowed(origin: str) -> None:
    headers = JSON | {"origin": origin}
    for method in ("POST", "OPTIONS"):
        refused = ask(method, content=CALL, headers=headers | PREFLIGHT)
        assert refused.status_code == 403
        assert "[http] origins" in refused.json()["error"]["data"]["hint"]
        assert "access-control-allow-origin" not in refused.headers
    allowed = GuardRules(origins=(origin.lower(),))
    response = ask("POST", content=CALL, headers=headers, rules=allowed)
    assert response.status_code == 200
    assert response.headers["access-control-allow-origin"] == origin
    assert "Origin" in response.headers["vary"]


def test_preflights() -> None:
    def preflight(**extra: str) -> httpx.Response:
        response = ask("OPTIONS", headers={"origin": "null"} | extra, rules=EVERY_PAGE)
        assert response.status_code == 204
        assert response.content == b""
        assert response.headers["access-control-allow-origin"] == "null"
        assert response.headers["access-control-allow-methods"] == "GET, POST, OPTIONS"
        assert int(response.headers["access-control-max-age"]) > 0
        assert "access-control-allow-credentials" not in response.headers
        return response

    full = preflight(**PREFLIGHT)
    assert full.headers["access-control-allow-headers"] == "content-type,x-app"
    assert full.headers["access-control-allow-private-network"] == "true"
    assert {"Origin", "Access-Control-Request-Headers"} <= set(full.headers["vary"].split(", "))
    assert "access-control-allow-private-network" not in preflight().headers
    for odd in ("a b", "a,,b", "content-type;x", "a" * 2_000, "", ", a", "ä"):
        asked = preflight(**{"access-control-request-headers": odd.encode("latin-1")})  # type: ignore[arg-type]
        assert asked.headers["access-control-allow-headers"] == "authorization, content-type"


def test_pages_may_read_refusals_too() -> None:
    """Otherwise a page is only told that its network failed."""

    def status(method: str, path: str = "/", headers: dict[str, str] | None = None, **options: Any) -> int:
        given = {"origin": "http://localhost:3000"} | (JSON if headers is None else headers)
        response = ask(method, path, rules=EVERY_PAGE, headers=given, **options)
        assert response.headers["access-control-allow-origin"] == "http://localhost:3000"
        assert "Origin" in response.headers["vary"]
        return response.status_code

    assert status("GET") == 405
    assert status("POST", content=b" " * 1_001) == 413
    assert status("POST", content=CALL, headers={"content-type": "text/plain"}) == 415
    assert status("POST", content=CALL, headers=JSON | {"authorization": "Bearer x"}) == 401
    assert status("GET", "/readyz") == 503
    assert status("GET", "/healthz") == 200
    assert status("GET", "/nothing") == 404


@pytest.mark.parametrize("kind", ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data", None])
def test_bodies_that_skip_preflight_are_refused(kind: str | None) -> None:
    headers = {} if kind is None else {"content-type": kind}
    assert ask("POST", content=CALL, headers=headers).status_code == 415


def test_other_methods_and_large_bodies() -> None:
    get = ask("GET")
    assert (get.status_code, get.headers["allow"]) == (405, "POST")
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


def test_only_loopback_is_bound_unless_the_chain_is_public() -> None:
    for address in ("0.0.0.0", "::", "10.0.0.1", "::ffff:10.0.0.1"):
        with pytest.raises(UnsafeBind):
            open_socket(address, 0)
    open_socket("127.0.0.1", 0).close()
    open_socket("0.0.0.0", 0, open_to_others=True).close()


HEADER = b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: "
WHOLE = HEADER + b"%d\r\n\r\n" % len(CALL) + CALL


@pytest.mark.parametrize("part", [b"", b"P", HEADER, HEADER + b"9\r\n\r\n{", WHOLE + HEADER])
def test_a_request_that_never_becomes_whole_ends_its_connection(part: bytes) -> None:
    """Half-open ones stayed for ever, and 256 of them were all that the node takes."""

    async def run() -> bytes:
        service = rpc_service(MemoryBackend())
        limits = HttpLimits(request_s=0.2, look_every_s=0.05)
        gateway = await serve_http(service, open_socket("127.0.0.1", 0), limits=limits)
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
    """It got a page of text that is not JSON, and the log a traceback."""

    async def run() -> bytes:
        service = rpc_service(MemoryBackend())
        gateway = await serve_http(service, open_socket("127.0.0.1", 0), limits=HttpLimits(stop_s=1.0))
        reader, writer = await asyncio.open_connection(*gateway.address)
        later = {"jsonrpc": "2.0", "id": 1, "method": "zvmd_read", "params": ["0x7fffffff", "eth_chainId", []]}
        future = json.dumps(later)
        writer.write(HEADER + b"%d\r\n\r\n" % len(future) + future.encode()[: len(future) - left_out])
        async with asyncio.timeout(30):
            while not set(phases(gateway)) & {Phase.RECEIVING, Phase.ANSWERING}:
                await asyncio.sleep(0.01)
        await gateway.close()
        service.close()
        received = await asyncio.wait_for(reader.read(), 30)
        writer.close()
        return received

    gc.collect()
    caplog.clear()  # of what other tests left behind
    head, _, body = asyncio.run(run()).partition(b"\r\n\r\n")
    assert b" 503 " in head
    assert json.loads(body)["error"]["data"]["code"] == "node.stopping"
    assert not [record for record in caplog.records if record.exc_info]


def test_a_connection_between_two_requests_and_a_websocket_stay() -> None:
    async def run() -> None:
        service = rpc_service(MemoryBackend())
        gateway = await serve_http(service, open_socket("127.0.0.1", 0), limits=LATER)
        host, port = gateway.address
        try:
            async with websockets.connect(f"ws://{host}:{port}/ws") as socket:
                reader, writer = await asyncio.open_connection(host, port)
                for _ in range(2):
                    writer.write(WHOLE)
                    assert b"0x7a69" in await asyncio.wait_for(reader.read(1000), 30)
                    pass_time(gateway, 19.0)  # a request has 15 seconds to arrive
                    await socket.send(CALL.decode())
                    assert "0x7a69" in str(await socket.recv())
            writer.close()
        finally:
            await gateway.close()
            service.close()

    asyncio.run(run())
