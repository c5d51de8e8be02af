"""Fuzzes the HTTP stack: how bytes are split changes nothing, every connection ends, no request has two answers.

    python -m tests.unit.gateway.http_fuzz [--seconds 60] [--seed 1] [--keep]

Inputs are requests of the corpus, spliced and mutated. What brings an answer that no input before brought is added to
the corpus with ``--keep``. A failure prints the input; add it to the corpus as a test.
"""

from __future__ import annotations

import argparse
import ast
import asyncio
import json
import math
import random
import re
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

from node.doors.doors import Doors
from node.doors.rule import GuardRules
from node.gateway.clock import DateLine
from node.gateway.connections import ConnectionTable
from node.gateway.exchange import HttpExchange
from node.gateway.limits import HttpLimits
from node.gateway.link import ClientLink
from node.gateway.routes import Routes
from node.rpc.limits import RpcLimits
from node.rpc.service import RpcService
from tests.unit.gateway.wire import answers_in, chunked, post
from tests.unit.rpc.memory_backend import MemoryBackend, rpc_service

CORPUS = Path(__file__).parent / "http_corpus.txt"
LIMITS = HttpLimits(
    request_line_bytes_max=300, head_bytes_max=1_500, headers_max=20, discarded_body_bytes_max=100,
    chunk_line_bytes_max=40, chunk_overhead_bytes_max=200, requests_per_turn_max=3, pipelined_bytes_max=1_000,
)  # fmt: skip
BODY_MAX = 400
INPUT_MAX = 6_000
PIECES = (
    b"\r\n", b"\n", b"\r", b"\r\n\r\n", b" ", b"\t", b":", b"\0", b"0", b"-", b"+", b"1", b"f", b";", b",", b"\xff",
    b"Content-Length: 5\r\n", b"Content-Length: 0\r\n", b"Transfer-Encoding: chunked\r\n", b"Connection: close\r\n",
    b"Connection: upgrade\r\n", b"Upgrade: h2c\r\n", b"Upgrade: websocket\r\n", b"Expect: 100-continue\r\n",
    b"Host: localhost\r\n", b"Origin: null\r\n", b"Authorization: Bearer x\r\n", b"HTTP/1.0", b"HTTP/1.1", b"HTTP/2.0",
    b"GET / HTTP/1.1\r\n", b"HEAD /healthz HTTP/1.1\r\nHost: a\r\n\r\n",
    b"OPTIONS * HTTP/1.1\r\nHost: localhost\r\n\r\n",
    b"POST http://localhost/ HTTP/1.1\r\n", b"0\r\n\r\n", b"5\r\nabcde\r\n", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
)  # fmt: skip


class MemoryTransport(asyncio.Transport):
    """Keeps what is written; a peer that takes everything at once."""

    def __init__(self) -> None:
        super().__init__({"peername": ("127.0.0.1", 1)})
        self.written = bytearray()
        self.is_closed = False
        """Whether the node has nothing more to say."""

    def write(self, data: Any) -> None:
        assert not self.is_closed, "an answer behind the last"
        self.written += data

    def is_closing(self) -> bool:
        return self.is_closed

    def write_eof(self) -> None:
        self.is_closed = True

    def close(self) -> None:
        self.is_closed = True

    abort = close

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None: ...

    def pause_reading(self) -> None: ...

    def resume_reading(self) -> None: ...


class Outcome(NamedTuple):
    """What came of an input: bytes of answers, but for their dates, and whether the connection was closed by us."""

    said: bytes
    closed: bool


class Stack:
    """The HTTP stack over a chain in memory, on the running loop."""

    def __init__(self) -> None:
        self.service: RpcService = rpc_service(MemoryBackend(), RpcLimits(body_size_max_bytes=BODY_MAX))
        self._routes = Routes(self.service, Doors(GuardRules(origins=("null",))), lambda: True)
        self._date = DateLine(lambda: 0.0)

    async def feed(self, segments: list[bytes]) -> Outcome:
        """One connection that receives these; it must end when the peer has ended."""
        table = ConnectionTable(LIMITS)
        link = ClientLink(table, LIMITS, lambda one: HttpExchange(one, self.service, self._routes, LIMITS, self._date))
        transport = MemoryTransport()
        link.connection_made(transport)
        for segment in segments:
            link.data_received(segment)
            await self._settle(link, transport)
        outcome = Outcome(bytes(transport.written), transport.is_closed)
        if not transport.is_closed:
            link.eof_received()
            await self._settle(link, transport)
        assert transport.is_closed, "still open though the peer has ended"
        link.connection_lost(None)
        await table.close()
        return outcome

    @staticmethod
    async def _settle(link: ClientLink, transport: MemoryTransport) -> None:
        """Until nothing is under way."""
        before = -1
        async with asyncio.timeout(20):
            while before != len(transport.written):
                before = len(transport.written)
                for _ in range(3):
                    await asyncio.sleep(0)
                while math.isinf(link.standing):
                    await asyncio.sleep(0.0002)


def corpus() -> list[bytes]:
    """The inputs that are kept."""
    return [ast.literal_eval(line) for line in CORPUS.read_text(encoding="ascii").splitlines()]


def seeds() -> list[bytes]:
    """Requests whose calls have their own numbers, in each form of a body."""
    found = []
    for method in ("eth_chainId", "eth_blockNumber", "eth_call", "nope"):
        body = json.dumps({"jsonrpc": "2.0", "id": 1, "method": method, "params": []}).encode()
        found += [post(body=body), post(b"Transfer-Encoding: chunked", body=chunked(body[:7], body[7:]), length=False)]
    return [*found, b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n"]


def numbered(data: bytes) -> bytes:
    """The same with another id in each call, of the same length."""
    numbers = iter(range(100, 1_000))
    return re.sub(rb'"id": *\d+', lambda found: b'"id":%d' % next(numbers) if len(found[0]) == 8 else found[0], data)


def mutated(rng: random.Random, pool: list[bytes]) -> bytes:
    """Some inputs one after the other, changed at some places."""
    data = bytearray(b"".join(rng.choice(pool) for _ in range(rng.choice((1, 1, 1, 2, 3, 5)))))
    for _ in range(rng.choice((0, 1, 1, 2, 3, 8))):
        at = rng.randrange(len(data) + 1)
        end = min(len(data), at + rng.choice((0, 0, 1, 1, 2, 10, 50)))
        change: Callable[[], bytes] = rng.choice((
            lambda: rng.choice(PIECES),
            lambda: b"",
            lambda: bytes([rng.randrange(256)]),
            lambda at=at, end=end: bytes(data[at:end]) * rng.choice((2, 3, 40)),  # type: ignore[misc]
            lambda at=at, end=end: bytes(data[at:end]).swapcase(),  # type: ignore[misc]
        ))  # fmt: skip
        data[at:end] = change()
    return numbered(bytes(data[:INPUT_MAX]))


def splits(rng: random.Random, data: bytes) -> Iterator[list[bytes]]:
    """The same bytes in other segments."""
    if len(data) < 700:
        yield [data[at : at + 1] for at in range(len(data))]
    for count in (1, 4, 12):
        cuts = sorted(rng.randrange(len(data) + 1) for _ in range(count))
        yield [data[begin:end] for begin, end in zip([0, *cuts], [*cuts, len(data)], strict=True) if begin < end]
    ends = [found.end() for found in re.finditer(rb"\r", data)]
    yield [data[begin:end] for begin, end in zip([0, *ends], [*ends, len(data)], strict=True) if begin < end]


async def check(stack: Stack, rng: random.Random, data: bytes) -> tuple[object, ...]:
    """Try an input in all splits; what is new about it is its signature. Raises `AssertionError`."""
    whole = await stack.feed([data])
    for segments in splits(rng, data):
        outcome = await stack.feed(segments)
        assert outcome == whole, f"split as {segments!r}: {outcome!r} instead of {whole!r}"
    if b" 101 " in whole.said:
        return ("websocket",)
    answers = answers_in(without_bodies_of_head(data, whole.said))
    numbers = [json.loads(got.body).get("id") for got in answers if got.status == 200 and b'"jsonrpc"' in got.body[:20]]
    numbers = [number for number in numbers if isinstance(number, int) and 100 <= number < 1_000]
    assert numbers == sorted(set(numbers)), "an answer twice, or out of order"
    for got in answers[:-1]:
        assert got.headers.get("connection") != "close", "an answer behind the last"
    return (*((got.status, reason(got.body)) for got in answers), whole.closed)


def without_bodies_of_head(data: bytes, said: bytes) -> bytes:
    """Answers to HEAD have lengths but no bodies, so they cannot be told apart here: none are counted."""
    return b"" if b"HEAD" in data else said


def reason(body: bytes) -> str:
    """Why a request was refused, without its numbers."""
    try:
        message = json.loads(body)["error"]["message"]
    except (ValueError, KeyError, TypeError):
        return ""
    return re.sub(r"\d+|'.*'", "#", message)[:60]


async def fuzz(rng: random.Random, is_over: Callable[[int], bool], keep: bool = False) -> tuple[int, int]:
    """Try inputs until it is over; how many there were, and how many signatures."""
    stack = Stack()
    pool = [*seeds(), *corpus()]
    seen: dict[tuple[object, ...], bytes] = {}
    count = 0
    try:
        while not is_over(count):
            data = numbered(pool[count]) if count < len(pool) else mutated(rng, pool)
            count += 1
            try:
                signature = await check(stack, rng, data)
            except BaseException:
                print(f"failed: {data!r}", file=sys.stderr)
                raise
            if signature not in seen:
                seen[signature] = data
                if keep and count > len(pool) and len(signature) < 5 and len(data) < 1_000:
                    pool.append(data)
                    with CORPUS.open("a", encoding="ascii") as file:
                        file.write(f"{data!r}\n")
    finally:
        stack.service.close()
    return count, len(seen)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--seed", type=int, default=None)
    parser.add_argument("--keep", action="store_true", help="add what is new to the corpus")
    wanted = parser.parse_args()
    seed = wanted.seed if wanted.seed is not None else random.randrange(2**32)
    end = time.monotonic() + wanted.seconds
    count, kinds = asyncio.run(fuzz(random.Random(seed), lambda _: time.monotonic() > end, wanted.keep))
    print(f"seed {seed}: {count} inputs, {kinds} kinds of answers, no difference")


if __name__ == "__main__":
    main()
