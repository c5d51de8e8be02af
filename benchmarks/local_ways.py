"""Calls from the node's own machine by every way: how long one takes, how many a second, how long a connection takes.

    python -m benchmarks.local_ways [--rounds 10] [--calls 300]

The ways take turns on one node, round by round; the table shows medians, and the slowest of a hundred calls. The client
is this Python process for all of them: the SDK for frames, asyncio's streams for JSON.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import statistics
import tempfile
import time
from collections import defaultdict
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Protocol

import uvloop

import zvmd
from tests.daemon import Daemon

METHOD, RESULT = "eth_chainId", "0x7a69"
IN_FLIGHT = 1_000
CONNECTIONS = 5
BODY = json.dumps({"jsonrpc": "2.0", "id": 1, "method": METHOD, "params": []}).encode()


class Caller(Protocol):
    """A connection that makes calls."""

    async def call(self) -> None:
        """One call, and its answer checked."""

    async def close(self) -> None:
        """The end."""


class Frames:
    """The SDK."""

    def __init__(self, client: zvmd.Client) -> None:
        self._client = client

    async def call(self) -> None:
        """See `Caller`."""
        assert await self._client.rpc(METHOD) == RESULT

    async def close(self) -> None:
        """See `Caller`."""
        await self._client.close()


class Json:
    """One request after the other, over HTTP/1.1 that stays open or a line at a time."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, head: bytes) -> None:
        self._reader, self._writer, self._head = reader, writer, head

    async def call(self) -> None:
        """See `Caller`."""
        self._writer.write(self._head + BODY)
        if self._head:
            head = await self._reader.readuntil(b"\r\n\r\n")
            length = int(head.lower().partition(b"content-length:")[2].partition(b"\r\n")[0])
            answer = await self._reader.readexactly(length)
        else:
            answer = await self._reader.readline()
        assert json.loads(answer)["result"] == RESULT

    async def close(self) -> None:
        """See `Caller`."""
        self._writer.close()


def ways(daemon: Daemon) -> dict[str, Callable[[], Awaitable[Caller]]]:
    """How to connect by each."""
    data = daemon.data_dir
    head = b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n"

    async def over_quic() -> Caller:
        return Frames(await zvmd.connect(f"quic://127.0.0.1:{daemon.quic_port}", data_dir=data))

    async def over_socket() -> Caller:
        return Frames(await zvmd.connect(f"unix://{data / 'zvmd.sock'}"))

    async def over_ipc() -> Caller:
        return Json(*await asyncio.open_unix_connection(data / "zvmd.ipc"), b"")

    async def over_http() -> Caller:
        return Json(*await asyncio.open_connection("127.0.0.1", daemon.http_port), head % len(BODY))

    return {
        "zvmd/1 over QUIC": over_quic, "zvmd/1 on the unix socket": over_socket, "JSON on the unix socket": over_ipc,
        "JSON over HTTP": over_http,
    }  # fmt: skip


async def measure(daemon: Daemon, rounds: int, calls: int) -> None:
    """All rounds, then the table."""
    opened = {name: (connect, await connect()) for name, connect in ways(daemon).items()}
    took, rates, connecting = (defaultdict(list) for _ in range(3))
    for number in range(rounds):
        for name, (connect, caller) in list(opened.items())[:: 1 if number % 2 else -1]:
            await caller.call()
            for _ in range(calls):
                begun = time.perf_counter()
                await caller.call()
                took[name].append(time.perf_counter() - begun)
            if isinstance(caller, Frames):
                begun = time.perf_counter()
                await asyncio.gather(*(caller.call() for _ in range(IN_FLIGHT)))
                rates[name].append(IN_FLIGHT / (time.perf_counter() - begun))
            for _ in range(CONNECTIONS):
                begun = time.perf_counter()
                another = await connect()
                await another.call()
                connecting[name].append(time.perf_counter() - begun)
                await another.close()
    print(f"| way | a call, us | 99 of 100 within, us | calls/s, {IN_FLIGHT:,} in flight | connect and call, ms |")
    print("|---|---:|---:|---:|---:|")
    for name, (_, caller) in opened.items():
        late = sorted(took[name])[int(len(took[name]) * 0.99)]
        rate = f"{statistics.median(rates[name]):,.0f}" if rates[name] else ""
        ms = statistics.median(connecting[name]) * 1e3
        print(f"| {name} | {statistics.median(took[name]) * 1e6:.0f} | {late * 1e6:.0f} | {rate} | {ms:.2f} |")
        await caller.close()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--calls", type=int, default=300)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, Daemon(Path(folder) / "data") as daemon:
        uvloop.run(measure(daemon, options.rounds, options.calls))


if __name__ == "__main__":
    main()
