"""Processor time of a request over HTTP and WebSocket beyond the call itself, beside the least that a loop can do.

    python -m benchmarks.http [--rounds 5] [--requests 4000]

A server process answers over a chain in memory; this process sends requests and reads the server's processor time, all
threads together. "call" is the same body answered without a connection, in a process of its own as well. "floor" is a
loop that finds the end of a request with httptools and writes a constant: what no server in Python can undercut.
The rows take turns. Answers are checked first.

Every row is measured twice: with server and clients on one core, which is never idle, and with all cores. A core that
had nothing to do takes its time to wake up, on a virtual machine some 20 us, and that is counted as the server's: see
what the floor costs there.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import multiprocessing
import os
import socket
import statistics
import time
from collections import defaultdict
from collections.abc import Callable
from multiprocessing.connection import Connection
from pathlib import Path

import httptools
import uvloop

from node.gateway.listener import open_socket, serve_http
from tests.unit.rpc.memory_backend import MemoryBackend, rpc_service

CLIENTS = 32
WARM = 500
CHAIN_ID = json.dumps({"jsonrpc": "2.0", "id": 1, "method": "eth_chainId", "params": []}).encode()
CALLED = {"to": "0x" + "11" * 20, "data": "0x70a08231"}
CALL = json.dumps({"jsonrpc": "2.0", "id": 1, "method": "eth_call", "params": [CALLED, "latest"]}).encode()
BODIES = {"eth_chainId": CHAIN_ID, "eth_call": CALL}
HEAD = (
    b"POST / HTTP/1.1\r\nHost: 127.0.0.1:8545\r\nUser-Agent: benchmark/1.0\r\nAccept: */*\r\n"
    b"Accept-Encoding: gzip, deflate\r\nConnection: keep-alive\r\nContent-Type: application/json\r\n"
    b"Content-Length: %d\r\n\r\n"
)
UPGRADE = (
    b"GET /ws HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
)


class Floor(asyncio.Protocol):
    """Answers every request with the same bytes."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport
        self._parser = httptools.HttpRequestParser(self)

    def data_received(self, data: bytes) -> None:
        self._parser.feed_data(data)

    def on_message_complete(self) -> None:
        self._transport.write(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}")  # type: ignore[attr-defined]


def serve(pipe: Connection, bare: bool) -> None:
    """The server process; a number asks it for the time of a call, which it makes so often without a connection."""

    async def run() -> None:
        loop = asyncio.get_running_loop()
        service = rpc_service(MemoryBackend())
        bound = open_socket("127.0.0.1", 0)
        if bare:
            await loop.create_server(Floor, sock=bound)
        else:
            await serve_http(service, bound)
        pipe.send(bound.getsockname()[1])
        while (asked := await loop.run_in_executor(None, pipe.recv)) is not None:
            body, count = asked
            begun = time.process_time()
            for _ in range(count):
                await service.answer(body)
            pipe.send((time.process_time() - begun) / count)
        service.close()

    uvloop.run(run())


def processor_seconds(pid: int) -> float:
    """Of all threads of a process so far."""
    return time.clock_gettime((~pid << 3) | 2)  # as clock_getcpuclockid(3) makes it


def connect(port: int) -> socket.socket:
    """A connection that sends small things at once."""
    peer = socket.create_connection(("127.0.0.1", port))
    peer.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return peer


def ask(peer: socket.socket, request: bytes, size: int) -> bytes:
    """Send, and receive an answer of a known size; of any size if that is 0."""
    peer.sendall(request)
    received = peer.recv(65_536)
    while len(received) < size:
        received += peer.recv(65_536)
    return received


def over_http(port: int, body: bytes, clients: int) -> Callable[[int], None]:
    """Sends so many requests when called, over connections that take turns."""
    peers = [connect(port) for _ in range(clients)]
    request = HEAD % len(body) + body
    peers[0].sendall(request)
    answer = b""
    while not answer.endswith(b"}"):
        answer += peers[0].recv(65_536)
    assert answer.startswith(b"HTTP/1.1 200"), answer
    assert b"result" in answer or answer.endswith(b"{}"), answer

    def send(count: int) -> None:
        for _ in range(count // clients):
            for peer in peers:
                peer.sendall(request)
            for peer in peers:
                received = peer.recv(65_536)
                while len(received) < len(answer):
                    received += peer.recv(65_536)

    return send


def over_websocket(port: int, body: bytes) -> Callable[[int], None]:
    """The same as messages of one WebSocket."""
    peer = connect(port)
    assert b" 101 " in ask(peer, UPGRADE, 0)
    message = bytes((0x81, 0x80 | 126)) + len(body).to_bytes(2, "big") + bytes(4) + body
    if len(body) < 126:
        message = bytes((0x81, 0x80 | len(body))) + bytes(4) + body
    answer = ask(peer, message, 0)
    assert b'"result"' in answer, answer

    def send(count: int) -> None:
        for _ in range(count):
            ask(peer, message, len(answer))

    return send


def measure(
    rows: dict[str, tuple[int, Callable[[int], None]]], pipe: Connection, rounds: int, requests: int
) -> dict[str, list[float]]:
    """Microseconds of a request in each round, by row, and of the calls alone."""
    seen: dict[str, list[float]] = defaultdict(list)
    for number in range(rounds + 1):  # the first one warms up
        count = requests if number else WARM
        for name, body in BODIES.items():
            pipe.send((body, count))
            seen[f"{name}, call alone"].append(pipe.recv() * 1e6)
        for name, (server, send) in rows.items():
            begun = processor_seconds(server)
            send(count)
            seen[name].append((processor_seconds(server) - begun) / count * 1e6)
    return {name: values[1:] for name, values in seen.items()}


def report(seen: dict[str, list[float]]) -> None:
    """Print the median of each row."""
    for name, values in seen.items():
        alone = seen.get(f"{name.partition(',')[0]}, call alone")
        value = statistics.median(values)
        beyond = f"  beyond the call {value - statistics.median(alone):6.1f}" if alone not in (None, values) else ""
        print(f"{name:28} {value:7.1f} us{beyond}")


def main() -> None:
    """Start the servers, measure in turns."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--requests", type=int, default=4_000, help="of each row in a round")
    wanted = parser.parse_args()
    spawned = multiprocessing.get_context("spawn")
    servers = {}
    for name, bare in (("floor", True), ("node", False)):
        ours, theirs = spawned.Pipe()
        process = spawned.Process(target=serve, args=(theirs, bare), daemon=True)
        process.start()
        servers[name] = (process.pid or 0, ours, ours.recv())
    pid, pipe, port = servers["node"]
    rows: dict[str, tuple[int, Callable[[int], None]]] = {
        "floor, one client": (servers["floor"][0], over_http(servers["floor"][2], CHAIN_ID, 1)),
        f"floor, {CLIENTS} clients": (servers["floor"][0], over_http(servers["floor"][2], CHAIN_ID, CLIENTS)),
    }
    for name, body in BODIES.items():
        rows[f"{name}, one client"] = (pid, over_http(port, body, 1))
        rows[f"{name}, {CLIENTS} clients"] = (pid, over_http(port, body, CLIENTS))
        rows[f"{name}, WebSocket"] = (pid, over_websocket(port, body))
    processes = [0, *(server for server, _, _ in servers.values())]
    cores = os.sched_getaffinity(0)
    for title, allowed in (("one core", {min(cores)}), (f"{len(cores)} cores", cores)):
        for process_id in processes:
            for thread in Path(f"/proc/{process_id or 'self'}/task").iterdir():
                os.sched_setaffinity(int(thread.name), allowed)
        print(f"\n{title}")
        report(measure(rows, pipe, wanted.rounds, wanted.requests))
    for _, ours, _ in servers.values():
        ours.send(None)


if __name__ == "__main__":
    main()
