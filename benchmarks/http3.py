"""Processor time of the node for an `eth_chainId` over HTTP/1.1, HTTP/3 and `zvmd/1`, in one run.

    python -m benchmarks.http3 [--library qh3] [--rounds 5] [--requests 640]

A server process answers over a chain in memory; this process sends requests and reads the server's processor time, all
threads together, without the call itself. One at a time, and 32 under way: of HTTP/1.1 on as many connections, of
HTTP/3 and `zvmd/1` on one. HTTP/3's client is aioquic, `zvmd/1`'s the SDK. The rows take turns; answers are checked.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import multiprocessing
import statistics
import time
from collections import defaultdict
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from multiprocessing.connection import Connection
from pathlib import Path
from tempfile import TemporaryDirectory

import uvloop

from benchmarks.http import CHAIN_ID, over_http, processor_seconds
from node.auth.tls import load_or_create_certificate
from node.auth.tokens import TokenChecker, load_or_create_token
from node.doors.doors import Doors
from node.doors.visitor import Way
from node.gateway.limits import HttpLimits
from node.gateway.listener import open_socket, serve_http
from node.gateway.routes import Routes
from node.http3.speaker import http3_speaker
from node.wire.library import load_library
from node.wire.limits import WireLimits
from node.wire.server import open_socket as open_udp_socket
from node.wire.server import serve_wire
from tests.unit.http3.clients import NOW, Server, connected, head
from tests.unit.rpc.memory_backend import MemoryBackend, rpc_service

TOGETHER = 32
WARM = 320
Row = tuple[str, int]
"""Protocol, and how many requests are under way."""
Send = Callable[[int], Awaitable[None]]


def serve(pipe: Connection, folder: Path, library: str) -> None:
    """The server process: its ports, then its time for the call alone, until it is told to end."""

    async def run() -> None:
        service = rpc_service(MemoryBackend())
        doors = Doors(is_owner=TokenChecker(load_or_create_token(folder)))
        quic, tcp, udp = load_library(library), open_socket("127.0.0.1", 0), open_udp_socket("127.0.0.1", 0)
        await serve_http(service, tcp, doors)
        routes = Routes(service, doors, lambda: True, Way.HTTP3)
        speaker = http3_speaker(quic.http3(), service, routes, HttpLimits())
        tls = load_or_create_certificate(folder / "tls", NOW)
        await serve_wire(service, udp, tls, doors, quic, WireLimits(), {"h3": speaker})
        begun = time.process_time()
        for _ in range(10_000):
            await service.answer(CHAIN_ID)
        pipe.send((tcp.getsockname()[1], udp.getsockname()[1], (time.process_time() - begun) / 10_000))
        await asyncio.get_running_loop().run_in_executor(None, pipe.recv)
        service.close()

    uvloop.run(run())


async def senders(stack: AsyncExitStack, folder: Path, http_port: int, quic_port: int) -> dict[Row, Send]:
    """By row: sends so many requests."""
    server = Server(None, None, quic_port, folder)  # type: ignore[arg-type]
    client = await stack.enter_async_context(connected(server))
    sdk = await server.sdk()
    stack.push_async_callback(sdk.close)
    fields = head()

    async def http3() -> None:
        assert json.loads((await client.ask(fields, CHAIN_ID)).body)["result"] == "0x7a69"

    async def zvmd_1() -> None:
        assert await sdk.rpc("eth_chainId") == "0x7a69"

    def http1(together: int) -> Send:
        send = over_http(http_port, CHAIN_ID, together)
        return lambda count: asyncio.to_thread(send, count)

    def many(one: Callable[[], Awaitable[None]], together: int) -> Send:
        async def send(count: int) -> None:
            for _ in range(count // together):
                await asyncio.gather(*(one() for _ in range(together)))

        return send

    made: dict[Row, Send] = {}
    for together in (1, TOGETHER):
        made["HTTP/1.1", together] = http1(together)
        made["HTTP/3", together] = many(http3, together)
        made["zvmd/1", together] = many(zvmd_1, together)
    return made


async def measure(pid: int, rows: dict[Row, Send], rounds: int, requests: int) -> dict[Row, float]:
    """Median seconds of the server's processor time per request."""
    times: defaultdict[Row, list[float]] = defaultdict(list)
    for _ in range(rounds):
        for row, send in rows.items():
            await send(WARM)
            begun = processor_seconds(pid)
            await send(requests)
            times[row].append((processor_seconds(pid) - begun) / requests)
    return {row: statistics.median(found) for row, found in times.items()}


def main() -> None:
    """Print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--library", choices=("qh3", "aioquic"), default="qh3")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--requests", type=int, default=640)
    chosen = parser.parse_args()
    ours, theirs = multiprocessing.Pipe()

    async def run(folder: Path) -> None:
        process = multiprocessing.get_context("spawn").Process(target=serve, args=(theirs, folder, chosen.library))
        process.start()
        try:
            http_port, quic_port, call = await asyncio.to_thread(ours.recv)
            assert process.pid is not None
            async with AsyncExitStack() as stack:
                rows = await senders(stack, folder, http_port, quic_port)
                found = await measure(process.pid, rows, chosen.rounds, chosen.requests)
        finally:
            ours.send(None)
            process.join(10)
            process.kill()
        print(f"| us beyond the call ({call * 1e6:.0f} us) | one at a time | {TOGETHER} under way |\n|---|---:|---:|")
        for name in dict.fromkeys(name for name, _ in found):
            cells = []
            for together in (1, TOGETHER):
                own, least = (found[row, together] - call for row in (name, "HTTP/1.1"))
                cells.append(f"{own * 1e6:.0f} (x{own / least:.1f})")
            print(f"| {name} | {' | '.join(cells)} |")

    with TemporaryDirectory() as folder:
        asyncio.run(run(Path(folder)))


if __name__ == "__main__":
    main()
