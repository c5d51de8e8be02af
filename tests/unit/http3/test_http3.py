"""HTTP/3 with aioquic's client: the same answers and refusals as over HTTP/1.1."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pytest

from node.auth.tokens import load_or_create_token
from node.doors.limits import DoorLimits
from node.doors.rule import GuardRules
from node.gateway.limits import HttpLimits
from node.rpc.limits import RpcLimits
from tests.unit.http3.clients import CALL, Fields, Limits, Server, connected, head, run

SMALL = Limits(rpc=RpcLimits(body_size_max_bytes=1_000))


def test_a_call_a_batch_and_a_notification(library: str, tmp_path: Path) -> None:
    async def work(server: Server) -> None:
        async with connected(server) as client:
            got = await client.ask(head(), CALL)
            assert got.status == 200
            assert got.headers["content-type"] == "application/json"
            assert got.headers["content-length"] == str(len(got.body))
            assert "date" in got.headers
            assert json.loads(got.body) == {"jsonrpc": "2.0", "id": 1, "result": "0x7a69"}
            got = await client.ask(head(), b"[%b,%b]" % (CALL, CALL.replace(b"eth_chainId", b"zvmd_nothing")))
            assert [item.get("result") for item in json.loads(got.body)] == ["0x7a69", None]
            got = await client.ask(head(), CALL.replace(b'"id": 1, ', b""))
            assert (got.status, got.body) == (204, b"")
            got = await client.ask(head(), b"{")
            assert json.loads(got.body)["error"]["code"] == -32700

    run(tmp_path, library, work)


def test_many_requests_at_once_share_a_connection(library: str, tmp_path: Path) -> None:
    async def work(server: Server) -> None:
        async with connected(server) as client:
            calls = [CALL.replace(b'"id": 1', b'"id": %d' % number) for number in range(300)]
            answers = []
            for first in range(0, 300, 100):
                streams = [client.begin(head(), call) for call in calls[first : first + 100]]
                answers += [await client.answer(stream_id) for stream_id in streams]
            assert [json.loads(got.body)["id"] for got in answers] == list(range(300))
            assert server.listener.connections == 1

    run(tmp_path, library, work)


def test_it_shares_its_port_with_zvmd_1(library: str, tmp_path: Path) -> None:
    async def work(server: Server) -> None:
        async with connected(server) as client:
            sdk = await server.sdk()
            for _ in range(3):
                assert (await client.ask(head(), CALL)).status == 200
                assert await sdk.rpc("eth_chainId") == "0x7a69"
            await sdk.close()

    run(tmp_path, library, work)


TABLE: dict[str, tuple[Fields, bytes | None, int, str]] = {
    "health": (head(b"GET", b"/healthz"), None, 200, ""),
    "readiness": (head(b"GET", b"/readyz"), None, 200, ""),
    "query": (head(b"POST", b"/?key=1"), CALL, 200, ""),
    "options": (head(b"OPTIONS", b"*"), None, 204, ""),
    "no path": (head(b"GET", b"/nothing"), None, 404, "http.path"),
    "GET": (head(b"GET"), None, 405, "http.method"),
    "unknown method": (head(b"BREW"), None, 405, "http.method"),
    "connect": ([(b":method", b"CONNECT"), (b":authority", b"localhost")], None, 405, "http.method"),
    "websocket": (head(b"GET", b"/ws"), None, 400, "http.websocket"),
    "form": (head(content_type=False), CALL, 415, "http.content_type"),
    "text": (head(b"POST", b"/", (b"content-type", b"text/plain"), content_type=False), CALL, 415, "http.content_type"),
    "coded": (head(b"POST", b"/", (b"content-encoding", b"gzip")), CALL, 415, "http.content_type"),
    "name": (head(authority=b"attacker.example:8545"), CALL, 403, "http.refused"),
    "page": (head(b"POST", b"/", (b"origin", b"https://attacker.example")), CALL, 403, "http.refused"),
    "token": (head(b"POST", b"/", (b"authorization", b"Bearer guess")), CALL, 401, "http.token"),
    "expectation": (head(b"POST", b"/", (b"expect", b"a miracle")), CALL, 417, "http.headers"),
    "large": (head(), bytes(1_001), 413, "rpc.too_large"),
    "many fields": (head(b"POST", b"/", *[(b"x", b"y")] * 200), CALL, 431, "http.too_large"),
    "large fields": (head(b"POST", b"/", *[(b"x", b"y" * 22_000)] * 3), CALL, 431, "http.too_large"),
}


@pytest.mark.parametrize("case", TABLE)
def test_every_request_has_the_answer_of_http_1_1(case: str, library: str, tmp_path: Path) -> None:
    fields, body, status, code = TABLE[case]

    async def work(server: Server) -> None:
        async with connected(server) as client:
            got = await client.ask(fields, body)
            assert got.status == status
            if code:
                assert got.code == code
            assert (await client.ask(head(), CALL)).status == 200
            assert "connection" not in got.headers

    run(tmp_path, library, work, SMALL)


def test_head_has_no_body(library: str, tmp_path: Path) -> None:
    async def work(server: Server) -> None:
        async with connected(server) as client:
            client.h3._check_content_length = lambda _: None  # aioquic does not know that HEAD has none
            got = await client.ask(head(b"HEAD", b"/healthz"))
            assert (got.status, got.body) == (200, b"")
            assert int(got.headers["content-length"]) > 0

    run(tmp_path, library, work)


def test_who_may_call_what_is_as_over_http_1_1(library: str, tmp_path: Path) -> None:
    page = (b"origin", b"https://app.example")
    token = (b"authorization", b"Bearer " + load_or_create_token(tmp_path).encode())
    status = CALL.replace(b"eth_chainId", b"zvmd_status")
    rules = GuardRules(origins=("https://app.example",))

    async def work(server: Server) -> None:
        async with connected(server) as client:
            got = await client.ask(head(b"POST", b"/", page), CALL)
            assert got.headers["access-control-allow-origin"] == "https://app.example"
            assert json.loads(got.body)["result"] == "0x7a69"

            async def code(*fields: tuple[bytes, bytes], authority: bytes = b"localhost:8545") -> str | None:
                body = (await client.ask(head(b"POST", b"/", *fields, authority=authority), status)).body
                error = json.loads(body).get("error")
                return None if error is None else str(error["data"]["code"])

            forbidden = "rpc.not_permitted"
            assert await code(page) == forbidden
            assert await code() != forbidden
            assert await code(page, token) != forbidden
            assert await code(authority=b"node.internal:8545") == forbidden
            assert await code((b"x-forwarded-for", b"192.0.2.1")) == forbidden
            asks = (b"access-control-request-headers", b"content-type")
            got = await client.ask(head(b"OPTIONS", b"/", page, asks))
            assert got.status == 204
            assert got.headers["access-control-allow-headers"] == "content-type"

    run(tmp_path, library, work, rules=rules)


def test_a_page_of_the_node_itself_may_call_everything(library: str, tmp_path: Path) -> None:
    async def work(server: Server) -> None:
        async with connected(server) as client:
            status = CALL.replace(b"eth_chainId", b"zvmd_status")
            for scheme, code in ((b"https", 200), (b"http", 403)):
                got = await client.ask(head(b"POST", b"/", (b"origin", scheme + b"://localhost:8545")), status)
                assert got.status == code
                assert b"rpc.not_permitted" not in got.body

    run(tmp_path, library, work)


def test_guessing_tokens_is_slowed_down(library: str, tmp_path: Path) -> None:
    async def work(server: Server) -> None:
        async with connected(server) as client:
            guess = client.begin(head(b"POST", b"/", (b"authorization", b"Bearer guess")), CALL)
            assert (await client.ask(head(), CALL)).status == 200
            assert not client.on(guess).fields

    run(tmp_path, library, work, Limits(doors=DoorLimits(failures_per_s=0, failure_delay_s=60.0)))


def test_a_large_body_and_a_large_answer(library: str, tmp_path: Path) -> None:
    body = CALL + b" " * 3_000_000

    async def work(server: Server) -> None:
        async with connected(server) as client:
            got = await client.ask(head(), body)
            assert json.loads(got.body)["result"] == "0x7a69"
            data = "0x" + "ab" * 1_000_000
            call = {"to": "0x" + "01" * 20, "data": data}
            calls = [{"jsonrpc": "2.0", "id": 7, "method": "eth_call", "params": [call, "latest"]}]
            got = await client.ask(head(), json.dumps(calls).encode())
            assert json.loads(got.body)[0]["result"] == data
            assert server.service.held.used == 0

    run(tmp_path, library, work)


def test_a_client_may_wait_for_100_before_it_sends_a_body(library: str, tmp_path: Path) -> None:
    async def work(server: Server) -> None:
        async with connected(server) as client:
            stream_id = client.begin(head(b"POST", b"/", (b"expect", b"100-continue")), ends=False)
            while not client.on(stream_id).fields:
                await asyncio.sleep(0.005)
            assert client.on(stream_id).fields[0][0] == (b":status", b"100")
            client.more(stream_id, CALL)
            assert (await client.answer(stream_id)).status == 200

    run(tmp_path, library, work)


def test_a_body_that_is_announced_as_too_large_need_not_be_sent(library: str, tmp_path: Path) -> None:
    async def work(server: Server) -> None:
        async with connected(server) as client:
            stream_id = client.begin(head(b"POST", b"/", (b"content-length", b"1001")), ends=False)
            got = await client.answer(stream_id)
            assert (got.status, got.code) == (413, "rpc.too_large")
            assert (await client.ask(head(), CALL)).status == 200

    run(tmp_path, library, work, SMALL)


def test_trailers_change_nothing(library: str, tmp_path: Path) -> None:
    async def work(server: Server) -> None:
        async with connected(server) as client:
            stream_id = client.begin(head(), CALL, ends=False)
            client.h3.send_headers(stream_id, [(b"x-checksum", b"1")], True)
            client.transmit()
            assert (await client.answer(stream_id)).status == 200

    run(tmp_path, library, work)


def test_a_request_that_does_not_arrive_is_refused_after_its_time(library: str, tmp_path: Path) -> None:
    async def work(server: Server) -> None:
        async with connected(server) as client:
            stream_id = client.begin(head(), CALL[:5], ends=False)
            got = await client.answer(stream_id)
            assert (got.status, got.code) == (408, "http.timeout")
            assert (await client.ask(head(), CALL)).status == 200

    run(tmp_path, library, work, Limits(http=HttpLimits(request_s=0.5)))


def test_connections_and_requests_are_counted(library: str, tmp_path: Path) -> None:
    async def work(server: Server) -> None:
        sdk = await server.sdk()
        assert server.counts.status() == {"connections": 0, "requests": 0}, "zvmd/1 is not HTTP/3"
        async with connected(server) as first, connected(server) as second:
            for client in (first, first, second):
                assert (await client.ask(head(), CALL)).status == 200
            assert (await second.ask(head(b"GET", b"/nowhere"))).status == 404
            assert server.counts.status() == {"connections": 2, "requests": 4}
        while server.counts.status()["connections"]:
            await asyncio.sleep(0.002)
        await sdk.close()

    run(tmp_path, library, work)


def test_with_http3_off_it_is_not_offered(library: str, tmp_path: Path) -> None:
    async def work(server: Server) -> None:
        with pytest.raises(ConnectionError, match="ALPN"):
            async with connected(server):
                raise AssertionError("the handshake succeeded")

    run(tmp_path, library, work, http3=False)
