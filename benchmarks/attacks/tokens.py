"""Attacks on tokens: guesses from one and from many addresses, long ones, revoked ones; what logs keep of them."""

from __future__ import annotations

import asyncio
import socket
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack, suppress
from typing import Any

import msgspec
import websockets

import zvmd
from benchmarks.attacks.attack import Attack, Target
from benchmarks.attacks.connections import HANDSHAKE, HEAD, body_of
from benchmarks.attacks.http3 import Node
from benchmarks.attacks.quic import good_connections
from node.doors.token_book import make_token
from tests.unit.http3.clients import CALL, connected, head

SECONDS = 8.0
AT_ONCE = 300
"""More than the node has places for."""
NETWORKS = 100


def guess(number: int, size: int = 64) -> bytes:
    """A request with a token of so many characters."""
    return HEAD + b"Authorization: Bearer %0*x\r\nContent-Length: %d\r\n\r\n" % (size, number, len(CALL)) + CALL


async def answer(target: Target, request: bytes, local: str | None = None) -> int:
    """The status of one request on a connection of its own; 0 if it has none."""
    plain = socket.socket()
    try:
        plain.setblocking(False)
        if local is not None:
            plain.bind((local, 0))
        await asyncio.get_running_loop().sock_connect(plain, (target.host, target.http_port))
        reader, writer = await asyncio.open_connection(sock=plain)
    except OSError:
        plain.close()
        return 0
    try:
        writer.write(request)
        return int((await reader.readline()).split()[1])
    except (OSError, IndexError):
        return 0
    finally:
        writer.close()


def guesses(networks: int, make: Callable[[int], bytes]) -> Callable[[Target], Awaitable[str]]:
    """Wrong tokens without a pause on many connections, from so many networks; good connections are tried meanwhile."""

    async def run(target: Target) -> str:
        found: Counter[int] = Counter()
        audit = target.data_dir / "audit.log"
        before = audit.stat().st_size if audit.exists() else 0
        end = time.perf_counter() + SECONDS

        async def one(number: int) -> None:
            while time.perf_counter() < end:
                local = f"127.{1 + number % networks}.0.1" if networks > 1 else None
                found[await answer(target, make(number), local)] += 1
                number += AT_ONCE

        good, *_ = await asyncio.gather(good_connections(target), *map(one, range(AT_ONCE)))
        grown = (audit.stat().st_size if audit.exists() else 0) - before
        return f"status {dict(sorted(found.items()))}; {grown:,} bytes of audit log; {good}"

    return run


async def revoked(target: Target) -> str:
    """Use a token on connections of every kind, revoke it, and go on asking on all of them."""
    made = await target.rpc("zvmd_tokenCreate", "attacked", ["read"], {})
    token, ways = made["token"], Counter[str]()
    bearer = f"Authorization: Bearer {token}\r\n".encode()
    request = HEAD + bearer + b"Content-Length: %d\r\n\r\n" % len(CALL) + CALL
    reader, writer = await asyncio.open_connection(target.host, target.http_port)
    writer.write(request)
    assert b" 200 " in await reader.readline()
    async with AsyncExitStack() as stack:
        socket_url = f"ws://{target.host}:{target.http_port}/ws?token={token}"
        web = await stack.enter_async_context(websockets.connect(socket_url))
        await web.send(body_of("eth_subscribe", "newHeads").decode())
        await web.recv()
        h3 = await stack.enter_async_context(connected(Node(target.quic_port, target.data_dir)))
        asking = head(b"POST", b"/", (b"authorization", f"Bearer {token}".encode()))
        assert (await h3.ask(asking, CALL)).status == 200
        waiting = h3.begin(asking, CALL[:-1], ends=False)
        urls = f"quic://{target.host}:{target.quic_port}", f"unix://{target.data_dir}/zvmd.sock"
        clients = [
            await stack.enter_async_context(zvmd.connect(url, data_dir=target.data_dir, token=token)) for url in urls
        ]
        for client in clients:
            await client.rpc("eth_chainId")
        await target.rpc("zvmd_tokenRevoke", "attacked")
        with suppress(OSError, asyncio.IncompleteReadError):
            writer.write(request)
            await reader.readuntil(b"}")
            ways["HTTP"] += b"200" in await reader.readline()
        with suppress(websockets.ConnectionClosed):
            await web.send(CALL.decode())
            await web.recv()
            ways["WebSocket"] += 1
        with suppress(AssertionError):
            h3.more(waiting, CALL[-1:])
            ways["HTTP/3"] += (await h3.answer(waiting)).status == 200
        for url, client in zip(urls, clients, strict=True):
            with suppress(zvmd.ZvmdError):
                await client.rpc("eth_chainId")
                ways[url.partition(":")[0]] += 1
    writer.close()
    for _ in range(3):
        ways["again"] += await answer(target, request) == 200
    return f"5 kinds of connections; answered afterwards: {dict(+ways) or 'none'}"


async def leaks(target: Target) -> str:
    """Tokens in every place of a request, good and bad; then the logs are searched for them."""
    secrets = [make_token(bytes([number]) * 32) for number in range(6)]
    secrets += [(target.data_dir / "token").read_text().strip()]
    for secret in (item.encode() for item in secrets):
        requests = (
            HEAD + b"Authorization: Bearer " + secret + b"\r\nContent-Length: 2\r\n\r\n{}",
            b"GET /" + secret + b"?token=" + secret + b" HTTP/1.1\r\nHost: localhost\r\n\r\n",
            HANDSHAKE.replace(b"/ws", b"/ws?token=" + secret) + b"\r\n",
            HANDSHAKE.replace(b"/ws", b"/ws?token=" + secret + b"&token=" + secret) + b"\r\n",
            b"GET / HTTP/1.1\r\nHost: " + secret + b".attacker.example\r\nReferer: http://x/" + secret + b"\r\n\r\n",
            secret + b" / HTTP/1.1\r\nHost: localhost\r\n\r\n",
            HEAD + b"Authorization: Basic " + secret + b"\r\nAuthorization: Bearer " + secret + b"\r\n\r\n",
        )
        for request in requests:
            await answer(target, request)
        for method in (f"eth_{secret.decode()}", "zvmd_tokenRevoke"):
            with suppress(Exception):
                await target.rpc(method, secret.decode())
        with suppress(zvmd.ZvmdError):
            url = f"quic://{target.host}:{target.quic_port}"
            async with zvmd.connect(url, data_dir=target.data_dir, token=secret.decode() + "x") as client:
                await client.rpc("eth_chainId")
    await asyncio.sleep(1)
    files = [target.data_dir.with_name(f"{target.data_dir.name}.log"), target.data_dir / "audit.log"]
    texts = {file.name: file.read_text("utf-8", "replace") for file in files if file.exists()}
    found = Counter(name for name, text in texts.items() for secret in secrets if secret in text)
    return f"{len(secrets)} tokens in 10 places each; found in {dict(found) or 'no log'}"


async def limited(target: Target) -> str:
    """One token of few requests a second, asked as fast as it goes on many connections, in batches too."""
    options = {"requestsPerSecond": 50, "connections": 20}
    made = await target.rpc("zvmd_tokenCreate", "limited", ["read"], options)
    bearer = f"Authorization: Bearer {made['token']}\r\n".encode()
    batch = msgspec.json.encode([{"jsonrpc": "2.0", "id": 1, "method": "eth_chainId", "params": []}] * 100)
    found: Counter[Any] = Counter()
    end = time.perf_counter() + SECONDS

    async def one(number: int) -> None:
        body = batch if number % 2 else CALL
        request = HEAD + bearer + b"Content-Length: %d\r\n\r\n" % len(body) + body
        while time.perf_counter() < end:
            found[await answer(target, request)] += 1

    await asyncio.gather(*map(one, range(40)))
    await target.rpc("zvmd_tokenRevoke", "limited")
    return f"status {dict(sorted(found.items()))}"


ATTACKS = (
    Attack("token", "guesses on 300 connections", guesses(1, guess), 60),
    Attack("token", "guesses from 100 networks", guesses(NETWORKS, guess), 60),
    Attack("token", "tokens of 60 KB", guesses(1, lambda number: guess(number, 60_000)), 60),
    Attack("token", "a token revoked under its connections", revoked, 60),
    Attack("token", "tokens searched for in the logs", leaks, 60),
    Attack("token", "a limited token on 40 connections", limited, 60),
)
