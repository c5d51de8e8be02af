"""What an attack is, and the node it is aimed at."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import msgspec


@dataclass(slots=True)
class Target:
    """A node on the loopback interface."""

    host: str
    http_port: int
    quic_port: int
    data_dir: Path
    pid: int
    tls: ssl.SSLContext | None = None
    """For clients that mean no harm, of a node that speaks TLS."""

    async def connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """A connection to the HTTP port, over TLS if the node speaks it."""
        return await asyncio.open_connection(self.host, self.http_port, ssl=self.tls)

    async def rpc(self, method: str, *params: Any, seconds: float = 30.0) -> Any:
        """Result of one JSON-RPC call on a connection of its own. Raises `RpcError`, `OSError`, `TimeoutError`."""
        body = msgspec.json.encode({"jsonrpc": "2.0", "id": 1, "method": method, "params": params})
        async with asyncio.timeout(seconds):
            answer = msgspec.json.decode((await self.post(body)).body)
        if "error" in answer:
            raise RpcError(answer["error"])
        return answer["result"]

    async def post(self, body: bytes) -> HttpAnswer:
        """The answer to one HTTP POST on a connection of its own; the caller bounds its time."""
        reader, writer = await self.connect()
        try:
            return await post(reader, writer, body)
        finally:
            writer.close()


class HttpAnswer(NamedTuple):
    """Status code and body."""

    status: int
    body: bytes


class RpcError(Exception):
    """The node answered with an error object."""


async def post(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, body: bytes) -> HttpAnswer:
    """One request on a connection that stays open. Raises `OSError` or `asyncio.IncompleteReadError`."""
    head = f"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: {len(body)}"
    writer.write(head.encode() + b"\r\n\r\n" + body)
    lines = (await reader.readuntil(b"\r\n\r\n")).split(b"\r\n")
    headers = dict(line.lower().split(b": ", 1) for line in lines[1:] if b": " in line)
    return HttpAnswer(int(lines[0].split()[1]), await reader.readexactly(int(headers[b"content-length"])))


@dataclass(frozen=True, slots=True)
class Attack:
    """One row of the table. ``run`` bounds its own requests, and cleans up behind itself."""

    finding: str
    """The number under which the attack is published."""
    name: str
    run: Callable[[Target], Awaitable[str]]
    """Attacks, and returns what was sent in a few words."""
    seconds: float = 20.0
    """After which ``run`` is cancelled."""
    arguments: tuple[str, ...] = ()
    """Of `zvmd start`, for a node of its own; by default the attacks of one run share a node."""
    environment: Mapping[str, str] = field(default_factory=dict)
    """Of that node."""
