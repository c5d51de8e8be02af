"""Different contract calls at a steady rate for a minute, client and node on the same computer, every answer compared.

    python -m benchmarks.sustained [--way quic] [--rate 10000] [--seconds 60]

``quic``: a hundred calls in each `CallMany`; ``http``: JSON-RPC batches of a hundred. Each second has ten thousand
calls of ``balanceOf`` no two of which are alike, no answers are kept, and messages are sent when they are due,
whether or not earlier ones are answered, as long as `IN_FLIGHT` are not. A rate holds when every second had its
calls. ``--rate 0`` sends as fast as it goes.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import tempfile
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import zvmd as sdk
from benchmarks import transfers
from benchmarks.events import quantile
from benchmarks.rates import HOLDERS
from benchmarks.targets import Target, processor_seconds, zvmd
from tests.contracts import dev_account
from zvmd.abi import Signature, parse_signature
from zvmd.frames import OneCall

APART = 10_000
"""Different calls."""
BATCH = 100
IN_FLIGHT = 4
"""Messages."""
HELD_BY_EVERY = 100
"""Every so many calls ask for an account that has tokens."""

Exchange = Callable[[int], Awaitable[None]]
"""Sends the message of that number and compares its answers."""


def asked() -> list[str]:
    """The accounts whose balances are asked for."""
    addresses = ["0x" + (0xB00000 + number).to_bytes(20).hex() for number in range(APART)]
    holders = [dev_account(number).address for number in HOLDERS]
    for place, number in enumerate(range(0, APART, HELD_BY_EVERY)):
        if place < len(holders):
            addresses[number] = holders[place]
    return addresses


def balances() -> list[int]:
    """The answers that are right."""
    holders = {dev_account(number).address for number in HOLDERS}
    return [transfers.TOKENS_EACH if address in holders else 0 for address in asked()]


def over_quic(client: sdk.Client, token: str) -> Exchange:
    """Over QUIC: calldata is made beforehand, as a client that calls again and again has it."""
    balance_of: Signature = parse_signature("balanceOf(address)(uint256)")
    to = bytes.fromhex(token[2:])
    calls = [OneCall(to, balance_of.encode([address])) for address in asked()]
    expected = [value.to_bytes(32, "big") for value in balances()]
    messages = [calls[first : first + BATCH] for first in range(0, APART, BATCH)]
    answers = [expected[first : first + BATCH] for first in range(0, APART, BATCH)]

    async def exchange(number: int) -> None:
        assert await client.call_many_raw(messages[number]) == answers[number]

    return exchange


class HttpLine(asyncio.Protocol):
    """One connection that has one request under way at a time."""

    def __init__(self) -> None:
        self._received = bytearray()
        self._waiting: asyncio.Future[bytes] | None = None

    def connection_made(self, transport: Any) -> None:
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        self._received += data
        head, gap, body = self._received.partition(b"\r\n\r\n")
        if gap and self._waiting is not None:
            length = int(head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0])
            if len(body) >= length:
                waiting, self._waiting = self._waiting, None
                self._received.clear()
                waiting.set_result(bytes(body))

    async def post(self, request: bytes) -> bytes:
        """The body of the answer."""
        self._waiting = asyncio.get_running_loop().create_future()
        self._transport.write(request)
        return await self._waiting


def over_http(lines: list[HttpLine], token: str) -> Exchange:
    """Over HTTP: the requests are made beforehand."""
    requests, answers, free = [], [], list(lines)
    expected = [f"0x{value:064x}" for value in balances()]
    for first in range(0, APART, BATCH):
        calls = [
            {"jsonrpc": "2.0", "id": number, "method": "eth_call",
             "params": [{"to": token, "data": transfers.balance_of(address)}, "latest"]}
            for number, address in enumerate(asked()[first : first + BATCH])
        ]  # fmt: skip
        body = json.dumps(calls).encode()
        head = f"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: {len(body)}"
        requests.append(head.encode() + b"\r\n\r\n" + body)
        answers.append(expected[first : first + BATCH])

    async def exchange(number: int) -> None:
        line = free.pop()
        answer = json.loads(await line.post(requests[number]))
        free.append(line)
        assert [one["result"] for one in sorted(answer, key=lambda one: int(one["id"]))] == answers[number]

    return exchange


async def load(exchange: Exchange, rate: float, seconds: float) -> tuple[Counter[int], list[float]]:
    """Calls answered in each second, and how long each message took from when it was due, seconds, ascending."""
    begun, sent = time.perf_counter(), 0
    done: Counter[int] = Counter()
    taken: list[float] = []

    async def some() -> None:
        nonlocal sent
        while True:
            number, sent = sent, sent + 1
            due = begun + number * BATCH / rate if rate else time.perf_counter()
            if due - begun >= seconds or time.perf_counter() - begun >= seconds:
                return
            await asyncio.sleep(max(0.0, due - time.perf_counter()))
            await exchange(number % (APART // BATCH))
            now = time.perf_counter()
            taken.append(now - due)
            done[int(now - begun)] += BATCH

    await asyncio.gather(*(some() for _ in range(IN_FLIGHT)))
    return done, sorted(taken)


async def run(target: Target, token: str, way: str, rate: float, seconds: float) -> None:
    """Measure and print."""
    assert target.daemon is not None
    if way == "quic":
        url = f"quic://127.0.0.1:{target.daemon.quic_port}"
        async with sdk.connect(url, data_dir=target.daemon.data_dir) as client:
            await report(target, over_quic(client, token), rate, seconds)
        return
    loop = asyncio.get_running_loop()
    port = target.daemon.http_port
    lines = [(await loop.create_connection(HttpLine, "127.0.0.1", port))[1] for _ in range(IN_FLIGHT)]
    await report(target, over_http(lines, token), rate, seconds)


async def report(target: Target, exchange: Exchange, rate: float, seconds: float) -> None:
    """Warm up, measure, print."""
    await load(exchange, 0, 2)
    before, own = processor_seconds(target.pid), time.process_time()
    done, taken = await load(exchange, rate, seconds)
    node, client = processor_seconds(target.pid) - before, time.process_time() - own
    count = sum(done.values())
    whole = [done[second] for second in range(int(seconds))]
    print(f"{count} calls, all answers right: {count / seconds:,.0f}/s; the lowest second {min(whole):,}")
    print(f"a message of {BATCH}: p50 {quantile(taken, 0.5) * 1e3:.1f} ms, p99 {quantile(taken, 0.99) * 1e3:.1f} ms")
    print(f"processor time of a call: node {node / count * 1e6:.1f} us, client {client / count * 1e6:.1f} us")


def main() -> None:
    """Start a node, measure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--way", choices=("quic", "http"), default="quic")
    parser.add_argument("--rate", type=float, default=10_000, help="calls a second; 0: as fast as it goes")
    parser.add_argument("--seconds", type=float, default=60)
    wanted = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, zvmd(Path(folder)) as target:
        token = transfers.deploy_token(target.rpc(), HOLDERS)
        asyncio.run(run(target, token, wanted.way, wanted.rate, wanted.seconds))


if __name__ == "__main__":
    main()
