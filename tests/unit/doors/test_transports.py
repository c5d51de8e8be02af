"""Tokens on real connections: what ends when one is revoked, what waits, what is limited, and what is not logged."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import websockets

import zvmd
from node.doors.doors import Doors
from node.doors.limits import DoorLimits
from node.doors.token_book import TokenBook, TokenWish
from node.doors.token_desk import TokenDesk
from node.gateway.limits import HttpLimits
from node.gateway.listener import Gateway, open_socket, serve_http
from node.rpc.errors import NodeBusy
from node.rpc.readers import Readers
from node.rpc.registry import Scope
from tests.unit.gateway.wire import CALL, Client, post
from tests.unit.rpc.memory_backend import MemoryBackend, rpc_service
from tests.unit.wire.listening import Server, run

WITHIN_S = 60
LIMITS = HttpLimits(look_every_s=0.02, half_closed_s=0.05, linger_s=0.05)
HEALTH = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n"


class Node(NamedTuple):
    """An HTTP listener with its doors."""

    gateway: Gateway
    doors: Doors

    def token(self, name: str = "ci", *scopes: Scope, **wish: Any) -> str:
        return self.doors.tokens.create(name, scopes or (Scope.READ,), TokenWish(**wish), 1e9)[1]

    async def revoke(self, name: str) -> None:
        await TokenDesk(self.doors).revoke(name)

    def address(self, query: str = "") -> str:
        return f"ws://localhost:{self.gateway.address[1]}/ws{query}"


@asynccontextmanager
async def listening(directory: Path, **limits: Any) -> AsyncIterator[Node]:
    doors = Doors(tokens=TokenBook.read(directory), limits=DoorLimits(**limits))
    service = rpc_service(MemoryBackend())
    gateway = await serve_http(service, open_socket("127.0.0.1", 0), doors, limits=LIMITS)
    try:
        yield Node(gateway, doors)
    finally:
        await gateway.close()
        doors.close()
        service.close()


def served(directory: Path, work: Callable[[Node], Awaitable[None]], **limits: Any) -> None:
    async def run() -> None:
        async with listening(directory, **limits) as node, asyncio.timeout(WITHIN_S):
            await work(node)

    asyncio.run(run())


def with_token(token: str, body: bytes = CALL) -> bytes:
    return post(f"Authorization: Bearer {token}".encode(), body=body)


def batch(*names: str) -> bytes:
    return json.dumps([{"jsonrpc": "2.0", "id": name, "method": name} for name in names]).encode()


def test_a_revoked_token_closes_its_connection_also_for_a_head_that_was_seen(tmp_path: Path) -> None:
    async def work(node: Node) -> None:
        token, other = node.token("first"), node.token("second")
        clients = [await Client.of(node.gateway) for _ in range(3)]
        for client, given in zip(clients, (token, token, other), strict=True):
            client.send(with_token(given))
            assert (await client.answer()).status == 200
        await node.revoke("first")
        assert await clients[0].is_closed()
        assert await clients[1].is_closed()
        clients[2].send(with_token(other))
        assert (await clients[2].answer()).status == 200
        again = await Client.of(node.gateway)
        again.send(with_token(token))
        assert (await again.answer()).status == 401
        assert await again.is_closed()

    served(tmp_path, work)


def test_a_request_whose_head_came_before_the_token_was_revoked_is_refused(tmp_path: Path) -> None:
    async def work(node: Node) -> None:
        request = with_token(node.token())
        client, other = await Client.of(node.gateway), await Client.of(node.gateway)
        client.send(request[:-3])
        other.send(HEALTH)
        await other.answer("GET")
        await node.revoke("ci")
        client.send(request[-3:])
        assert (await client.answer()).status == 401

    served(tmp_path, work)


def test_a_revoked_token_closes_websockets_with_a_reason(tmp_path: Path) -> None:
    async def work(node: Node) -> None:
        token = node.token()
        async with (
            websockets.connect(node.address(f"?token={token}"), proxy=None) as first,
            websockets.connect(
                node.address(), proxy=None, additional_headers={"Authorization": f"Bearer {token}"}
            ) as second,
            websockets.connect(node.address(), proxy=None) as local,
        ):
            for socket in (first, second, local):
                await socket.send(CALL)
                assert "result" in json.loads(await socket.recv())
            await node.revoke("ci")
            for socket in (first, second):
                with pytest.raises(websockets.ConnectionClosed) as closed:
                    await socket.recv()
                assert closed.value.rcvd is not None
                assert closed.value.rcvd.code == 1008
            await local.send(CALL)
            assert "result" in json.loads(await local.recv())
        assert node.doors.status()["connections"] == 0

    served(tmp_path, work)


def test_a_token_in_the_query_is_for_websockets_only(tmp_path: Path) -> None:
    async def work(node: Node) -> None:
        token = node.token()
        for path, status in ((f"/?token={token}", 200), ("/?token=wrong", 200)):
            client = await Client.of(node.gateway)
            line = f"POST {path} HTTP/1.1".encode()
            client.send(post(b"Origin: http://a", line=line), post(line=line, body=batch("zvmd_status")))
            assert (await client.answer()).status == 403
            assert (await client.answer()).status == status
        for query in ("?token=wrong", "?token=", f"?token={token}&token={token}", f"?a=b&token={token}x"):
            with pytest.raises(websockets.InvalidStatus):
                await websockets.connect(node.address(query), proxy=None)
        for query in (f"?a=b&token={token}", "?" + "&".join(f"{n}=1" for n in range(9)), "?a;b&c=%zz"):
            async with websockets.connect(node.address(query), proxy=None) as socket:
                await socket.send(CALL)
                assert "result" in json.loads(await socket.recv())

    served(tmp_path, work)


def test_a_token_in_the_query_is_not_logged(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    caplog.set_level(logging.DEBUG, logger="websockets.server")
    secrets = []

    async def work(node: Node) -> None:
        secrets.append(node.token())
        async with websockets.connect(node.address(f"?token={secrets[0]}"), proxy=None, logger=None) as socket:
            await socket.send(CALL)
            await socket.recv()
        with pytest.raises(websockets.InvalidStatus):
            await websockets.connect(node.address(f"?token={secrets[0]}x"), proxy=None)

    logging.getLogger("websockets.client").setLevel(logging.WARNING)
    try:
        served(tmp_path, work)
    finally:
        logging.getLogger("websockets.client").setLevel(logging.NOTSET)
    assert "GET /ws" in caplog.text, "the library logs the request, without its query"
    assert secrets[0] not in caplog.text


def test_wrong_tokens_wait_and_keep_nobody_out(tmp_path: Path) -> None:
    async def work(node: Node) -> None:
        guessers = [await Client.of(node.gateway) for _ in range(3)]
        for guesser in guessers:
            guesser.send(with_token("guess"))
        client = await Client.of(node.gateway)
        client.send(with_token(node.token()))
        assert (await client.answer()).status == 200
        for guesser in guessers:
            assert not guesser.reader.at_eof()
            assert not guesser.reader._buffer, "the answer waits"  # type: ignore[attr-defined]
        await node.gateway.close()
        for guesser in guessers:
            assert (await guesser.answer()).status == 503, "it is not kept waiting by a node that stops"

    served(tmp_path, work, failures_per_s=0, failure_delay_s=3_600.0)


def test_a_refusal_that_waited_is_sent(tmp_path: Path) -> None:
    async def work(node: Node) -> None:
        guess = with_token("guess")
        for request in (guess, guess.replace(b"POST / ", b"POST /no "), guess * 3):
            client = await Client.of(node.gateway)
            client.send(request)
            got = await client.answer()
            assert got.status == 401
            assert got.headers["www-authenticate"] == "Bearer"
            assert await client.is_closed()

    served(tmp_path, work, failures_per_s=0, failure_delay_s=0.05)


def test_whoever_hangs_up_while_a_refusal_waits_leaves_nothing(tmp_path: Path) -> None:
    async def work(node: Node) -> None:
        client = await Client.of(node.gateway)
        client.send(with_token("guess"))
        while not node.doors.status()["refused"]:
            await asyncio.sleep(0)
        client.writer.transport.abort()
        while len(node.gateway.connections):
            await asyncio.sleep(0.01)

    served(tmp_path, work, failures_per_s=0, failure_delay_s=3_600.0)


def test_connections_of_a_token_over_http(tmp_path: Path) -> None:
    async def work(node: Node) -> None:
        token = node.token(connections=2)
        first, second, third = [await Client.of(node.gateway) for _ in range(3)]
        for client, status in ((first, 200), (second, 200), (third, 429), (first, 200), (third, 429)):
            client.send(with_token(token))
            got = await client.answer()
            assert got.status == status
        assert json.loads(got.body)["error"]["code"] == -32005
        assert json.loads(got.body)["error"]["data"]["code"] == "limit.connections"
        with pytest.raises(websockets.InvalidStatus, match="429"):
            await websockets.connect(node.address(f"?token={token}"), proxy=None)
        first.close()
        while node.doors.status()["connections"] > 1:
            await asyncio.sleep(0.01)
        third.send(with_token(token))
        assert (await third.answer()).status == 200

    served(tmp_path, work)


def test_a_connection_that_closes_frees_its_place_with_its_last_answer(tmp_path: Path) -> None:
    """Programs that open a connection for each request are not limited by those that linger."""

    async def work(node: Node) -> None:
        token = node.token(connections=1)
        clients = []
        for _ in range(5):
            client = await Client.of(node.gateway)
            clients.append(client)
            client.send(post(b"Connection: close", f"Authorization: Bearer {token}".encode()))
            assert (await client.answer()).status == 200

    served(tmp_path, work)


def test_requests_a_second_over_http_and_websocket(tmp_path: Path) -> None:
    async def work(node: Node) -> None:
        token = node.token(requests_per_second=1)
        client = await Client.of(node.gateway)
        client.send(with_token(token, batch(*["eth_chainId"] * 1_000)), with_token(token))
        assert (await client.answer()).status == 200
        got = await client.answer()
        assert (got.status, json.loads(got.body)["id"]) == (429, 1)
        assert json.loads(got.body)["error"]["data"]["code"] == "limit.rate"
        assert json.loads(got.body)["error"]["code"] == -32005
        assert 900 < int(got.headers["retry-after"]) <= 1_000
        client.send(with_token(token, batch("a", "b")))
        got = await client.answer()
        assert [answer["id"] for answer in json.loads(got.body)] == ["a", "b"]
        client.send(with_token(token, b"not JSON"), HEALTH)
        assert (await client.answer()).status == 429
        assert (await client.answer("GET")).status == 200, "what is no call is not counted"
        large = json.dumps({"jsonrpc": "2.0", "id": 9, "method": "eth_call", "params": ["x" * 300_000]}).encode()
        client.send(with_token(token, large))
        got = await client.answer()
        assert (got.status, json.loads(got.body)["id"]) == (429, 9)
        async with websockets.connect(node.address(f"?token={token}"), proxy=None) as socket:
            for body in (CALL, large):
                await socket.send(body)
                answer = json.loads(await socket.recv())
                assert (answer["id"], answer["error"]["code"]) == (json.loads(body)["id"], -32005)

    served(tmp_path, work)


def test_a_client_with_too_much_under_way_over_http_and_websocket(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> float:
        raise NodeBusy("too much is waiting", 2.5)

    monkeypatch.setattr(Readers, "admit", refuse)
    body = json.dumps({"jsonrpc": "2.0", "id": 4, "method": "debug_traceBlockByNumber", "params": ["0x0"]}).encode()
    large = json.dumps({"jsonrpc": "2.0", "id": 9, "method": "eth_call", "params": ["x" * 300_000]}).encode()

    async def work(node: Node) -> None:
        token = node.token()
        client = await Client.of(node.gateway)
        for given in (body, large):
            client.send(with_token(token, given))
            got = await client.answer()
            answer = json.loads(got.body)
            assert (got.status, got.headers["retry-after"]) == (429, "3")
            assert (answer["id"], answer["error"]["code"]) == (json.loads(given)["id"], -32005)
        async with websockets.connect(node.address(f"?token={token}"), proxy=None) as socket:
            await socket.send(body)
            answer = json.loads(await socket.recv())
            assert (answer["id"], answer["error"]["code"]) == (4, -32005)

    served(tmp_path, work)


def test_a_caller_without_a_limit_is_not_slowed_by_one_with(tmp_path: Path) -> None:
    async def work(node: Node) -> None:
        client = await Client.of(node.gateway)
        limited, free = node.token("limited", requests_per_second=1), node.token("free")
        for token in (limited, free, free, free, ""):
            client.send(with_token(token) if token else post())
            assert (await client.answer()).status == 200

    served(tmp_path, work)


def test_over_quic(tmp_path: Path) -> None:
    """Revoking, connections, requests a second and scopes."""

    async def work(server: Server) -> None:
        doors = server.listener._doors
        book = doors.tokens
        _, token = book.create("ci", (Scope.READ,), TokenWish(connections=2), 1e9)
        _, slow = book.create("slow", (Scope.READ, Scope.SEND), TokenWish(requests_per_second=2), 1e9)
        first, second = await server.client(token), await server.client(token)
        with pytest.raises(zvmd.TooManyConnections):
            await server.client(token)
        await second.close()
        while doors.status()["connections"] > 1:
            await asyncio.sleep(0.01)
        second = await server.client(token)
        assert await second.rpc("eth_chainId") == "0x7a69"
        for call in (
            first.rpc("eth_sendRawTransaction", "0x00"), first.send_raw(b"\0"), first.rpc("zvmd_mine"),
            first.rpc("zvmd_read", 0, "debug_getRawBlock", ["0x0"]),
        ):  # fmt: skip
            with pytest.raises(zvmd.MissingScope):
                await call
        with pytest.raises(zvmd.MethodNotFound):
            await first.rpc("no_such")
        assert {name.split("_")[0] for name in (await first.rpc("rpc_methods"))["methods"]} == {
            "eth", "net", "web3", "rpc", "txpool", "zvmd",
        }  # fmt: skip
        limited = await server.client(slow)
        outcomes = await asyncio.gather(*(limited.rpc("eth_chainId") for _ in range(50)), return_exceptions=True)
        assert outcomes[0] == "0x7a69"
        assert isinstance(outcomes[-1], zvmd.RateExceeded)
        await TokenDesk(doors).revoke("ci")
        for client in (first, second):
            with pytest.raises(zvmd.ConnectionFailed):
                await client.rpc("eth_chainId")
        with pytest.raises(zvmd.WrongToken):
            await server.client(token)
        await limited.close()

    run(tmp_path, "qh3", work, directory_of_tokens=tmp_path / "doors")
