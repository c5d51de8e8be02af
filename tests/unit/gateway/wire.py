"""HTTP as bytes for tests: requests by hand, answers taken apart."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import NamedTuple

from node.doors.doors import Doors
from node.doors.rule import GuardRules
from node.gateway.limits import HttpLimits
from node.gateway.listener import Gateway, open_socket, serve_http
from node.rpc.limits import RpcLimits
from node.rpc.service import RpcService
from tests.unit.rpc.memory_backend import MemoryBackend, rpc_service

CALL = json.dumps({"jsonrpc": "2.0", "id": 1, "method": "eth_chainId"}).encode()
PROBE = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n"
BODY_MAX = 1_000


class Got(NamedTuple):
    """An answer."""

    status: int
    headers: dict[str, str]
    body: bytes


def post(*lines: bytes, body: bytes = CALL, line: bytes = b"POST / HTTP/1.1", length: bool = True) -> bytes:
    """A request with these headers besides those that every request needs."""
    head = [line, b"Host: localhost", b"Content-Type: application/json", *lines]
    if length:
        head.append(b"Content-Length: %d" % len(body))
    return b"\r\n".join((*head, b"", body))


def chunked(*chunks: bytes) -> bytes:
    """A body in chunks."""
    return b"".join(b"%x\r\n%s\r\n" % (len(chunk), chunk) for chunk in chunks) + b"0\r\n\r\n"


def first_answer(data: bytes, method: str = "POST") -> tuple[Got, bytes] | None:
    """The answer at the beginning, which must be whole, and what is behind it; None if it has not arrived."""
    head, end, rest = data.partition(b"\r\n\r\n")
    if not end:
        return None
    first, *lines = head.decode("latin-1").split("\r\n")
    found = re.fullmatch(r"HTTP/1\.1 (\d{3}) [ -~]+", first)
    assert found is not None, first
    status = int(found[1])
    headers = dict(line.split(": ", 1) for line in lines)
    assert len(headers) == len([line for line in lines if line]), "a header twice"
    bodiless = method == "HEAD" or status in (101, 204) or status < 200
    length = 0 if bodiless else int(headers["content-length"])
    return (Got(status, headers, rest[:length]), rest[length:]) if len(rest) >= length else None


def answers_in(data: bytes) -> list[Got]:
    """All answers that came, of which nothing may be left over; 100 Continue is not counted."""
    found = []
    while data:
        first = first_answer(data)
        assert first is not None, data[:200]
        got, data = first
        if got.status != 100:
            found.append(got)
    return found


@asynccontextmanager
async def serving(
    limits: HttpLimits | None = None,
    backend: MemoryBackend | None = None,
    rules: GuardRules | None = None,
    rpc: RpcLimits | None = None,
) -> AsyncIterator[tuple[Gateway, RpcService]]:
    """A listener over a chain in memory."""
    service = rpc_service(backend or MemoryBackend(), rpc or RpcLimits(body_size_max_bytes=BODY_MAX))
    gateway = await serve_http(service, open_socket("127.0.0.1", 0), Doors(rules), limits=limits)
    try:
        yield gateway, service
    finally:
        await gateway.close()
        service.close()


LATER = HttpLimits(look_every_s=86_400.0)
"""Deadlines are looked at when the test says so (`pass_time`), not when the machine gets around to it."""


def pass_time(gateway: Gateway, seconds: float) -> None:
    """Compare the connections with their deadlines as if so much time had passed."""
    now = asyncio.get_running_loop().time() + seconds
    for member in tuple(gateway.connections._members):
        member.look(now)


class Client:
    """A connection of a test."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer
        self._rest = b""

    @classmethod
    async def of(cls, gateway: Gateway) -> Client:
        """A new connection."""
        return cls(*await asyncio.open_connection(*gateway.address))

    def send(self, *parts: bytes) -> None:
        """Send at once."""
        for part in parts:
            self.writer.write(part)

    async def answer(self, method: str = "POST") -> Got:
        """The next answer but 100 Continue."""
        async with asyncio.timeout(20):
            while True:
                while (first := first_answer(self._rest, method)) is None:
                    more = await self.reader.read(65_536)
                    assert more, f"closed behind {self._rest!r}"
                    self._rest += more
                got, self._rest = first
                if got.status != 100:
                    return got

    async def is_closed(self) -> bool:
        """Whether the connection was closed without another byte; else it must serve another request."""
        if self._rest:
            return False
        try:
            self.writer.write(PROBE)
            async with asyncio.timeout(20):
                more = await self.reader.read(65_536)
        except ConnectionError:
            return True
        assert more == b"" or more.startswith(b"HTTP/1.1 200 OK\r\n"), more
        return more == b""

    def close(self) -> None:
        """Hang up."""
        self.writer.close()
