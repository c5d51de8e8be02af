"""Tokens on connections of HTTP/3: their limits, where they are required, and what ends when one is revoked."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

from node.doors.rule import GuardRules
from node.doors.token_book import TokenWish
from node.doors.token_desk import TokenDesk
from node.rpc.registry import Scope
from node.settings import HttpSettings
from node.wire.http3 import NO_ERROR
from tests.unit.http3.clients import CALL, Fields, Server, connected, head, run


def token_of(server: Server, name: str, **wish: Any) -> str:
    return server.doors.tokens.create(name, (Scope.READ,), TokenWish(**wish), 1e9)[1]


async def unused(server: Server) -> None:
    """Return when no connection uses a token."""
    while server.doors.status()["connections"]:
        await asyncio.sleep(0.002)


def asking(token: str) -> Fields:
    return head(b"POST", b"/", (b"authorization", f"Bearer {token}".encode()))


def test_a_revoked_token_closes_its_connections_and_no_others(library: str, tmp_path: Path) -> None:
    async def work(server: Server) -> None:
        token, other = token_of(server, "first"), token_of(server, "second")
        async with connected(server) as first, connected(server) as second:
            assert (await first.ask(asking(token), CALL)).status == 200
            assert (await second.ask(asking(other), CALL)).status == 200
            waiting = first.begin(asking(token), CALL[:-1], ends=False)
            await first.heard_out()
            await TokenDesk(server.doors).revoke("first")
            assert await first.closed() == NO_ERROR
            assert not first.on(waiting).fields
            assert (await second.ask(asking(other), CALL)).status == 200
            assert (await second.ask(asking(token), CALL)).code == "http.token"
        await unused(server)

    run(tmp_path, library, work)


def test_connections_of_a_token(library: str, tmp_path: Path) -> None:
    async def work(server: Server) -> None:
        token = token_of(server, "ci", connections=1)
        async with connected(server) as first, connected(server) as second:
            assert (await first.ask(asking(token), CALL)).status == 200
            for _ in range(2):
                got = await second.ask(asking(token), CALL)
                assert (got.status, got.code) == (429, "limit.connections")
            assert (await first.ask(asking(token), CALL)).status == 200
            assert (await second.ask(head(), CALL)).status == 200, "other requests of the connection are answered"
            first.close()
            await unused(server)
            assert (await second.ask(asking(token), CALL)).status == 200

    run(tmp_path, library, work)


def test_connections_of_a_token_are_counted_when_the_head_has_come(library: str, tmp_path: Path) -> None:
    """The body of a request that is refused for them is not awaited, and nobody sends it beside the limit."""

    async def work(server: Server) -> None:
        token = token_of(server, "ci", connections=1)
        async with connected(server) as first, connected(server) as second:
            slow = first.begin(asking(token), CALL[:-1], ends=False)
            await first.heard_out()
            refused = await second.answer(second.begin(asking(token), CALL[:-1], ends=False))
            assert (refused.status, refused.code) == (429, "limit.connections")
            first.more(slow, CALL[-1:])
            assert (await first.answer(slow)).status == 200

    run(tmp_path, library, work)


def test_requests_a_second(library: str, tmp_path: Path) -> None:
    large = json.dumps({"jsonrpc": "2.0", "id": 9, "method": "eth_call", "params": ["x" * 300_000]}).encode()

    async def work(server: Server) -> None:
        token = token_of(server, "slow", requests_per_second=1)
        async with connected(server) as client:
            batch = b"[" + b",".join([CALL] * 1_000) + b"]"
            assert (await client.ask(asking(token), batch)).status == 200
            for body, answered in ((CALL, 1), (large, 9)):
                got = await client.ask(asking(token), body)
                answer = json.loads(got.body)
                assert (got.status, answer["error"]["code"], answer["id"]) == (429, -32005, answered)
                assert got.code == "limit.rate"
                assert 900 < int(got.headers["retry-after"]) <= 1_000
            assert (await client.ask(head(), CALL)).status == 200

    run(tmp_path, library, work)


def test_where_tokens_are_required(library: str, tmp_path: Path) -> None:
    rules = GuardRules.of(HttpSettings(), True, require_token=True)

    async def work(server: Server) -> None:
        token = token_of(server, "ci")
        async with connected(server) as client:
            assert (await client.ask(head(), CALL)).status == 200, "on the node's machine"
            elsewhere = head(authority=b"10.0.0.1:8545")
            assert (await client.ask(elsewhere, CALL)).code == "http.token_needed"
            bearer = (b"authorization", f"Bearer {token}".encode())
            assert (await client.ask([*elsewhere, bearer], CALL)).status == 200

    run(tmp_path, library, work, rules=rules)
