"""Requests of pages and names that may not come in."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Iterable

from benchmarks.attacks.attack import Attack, Target
from tests.clients.test_visitors import REBOUND

ROUNDS = 20
CONNECTIONS = 16
CALL = '{"jsonrpc":"2.0","id":1,"method":"eth_chainId"}'
KEY = "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA=="
KINDS = (
    f"POST / HTTP/1.1\r\nContent-Type: application/json\r\nContent-Length: {len(CALL)}\r\nHost: %s\r\n%s\r\n{CALL}",
    "GET /readyz HTTP/1.1\r\nHost: %s\r\n%s\r\n",
    f"GET /ws HTTP/1.1\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n{KEY}\r\nHost: %s\r\n%s\r\n",
)


async def statuses(target: Target, requests: Iterable[str]) -> Counter[int]:
    """How often each status came, of requests on a connection of their own each."""
    free = asyncio.Semaphore(CONNECTIONS)

    async def status(request: str) -> int:
        async with free:
            reader, writer = await asyncio.open_connection(target.host, target.http_port)
            try:
                writer.write(request.encode("latin-1"))
                return int((await reader.readline()).split()[1])
            finally:
                writer.close()

    return Counter(await asyncio.gather(*map(status, requests)))


async def hostile_hosts(target: Target) -> str:
    """Names that were rebound, and forms that are not name[:port]: POST, a probe and a WebSocket of each."""
    hosts = [form.format(port=target.http_port) for form in REBOUND]
    requests = [kind % (host, "") for host in hosts for kind in KINDS]
    requests += [kind % ("localhost", "Host: attacker.example\r\n") for kind in KINDS]
    requests += [kind.replace(" /", " http://attacker.example/", 1) % ("localhost", "") for kind in KINDS]
    found = await statuses(target, requests * ROUNDS)
    return f"{len(requests)} forms, {ROUNDS} times; status {dict(found)}"


async def preflights_and_tokens(target: Target) -> str:
    """Pages that ask what they may send, and guess the token."""
    asking = "OPTIONS / HTTP/1.1\r\nHost: localhost\r\nOrigin: http://page-%d\r\nAccess-Control-Request-Headers: %s"
    requests = [(asking + "\r\n\r\n") % (number, "x" * (number % 2_000)) for number in range(2_000)]
    requests += [KINDS[0] % ("localhost", f"Authorization: Bearer {number:064x}\r\n") for number in range(2_000)]
    found = await statuses(target, requests)
    return f"2,000 preflights, 2,000 wrong tokens; status {dict(found)}"


ATTACKS = (
    Attack("23", "hostile Host forms", hostile_hosts),
    Attack("23", "preflights and wrong tokens", preflights_and_tokens),
)
