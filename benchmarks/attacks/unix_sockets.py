"""Attacks on the unix sockets, by another program of the node's user."""

from __future__ import annotations

import array
import asyncio
import os
import socket
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import zvmd
from benchmarks.attacks.attack import Attack, Target
from benchmarks.attacks.connections import LARGE, LARGE_CALL, body_of
from benchmarks.attacks.quic_frames import request
from zvmd.frames import Hello, encode_frame

SECONDS = 8.0
TRIES = 4
JSON, FRAMES = "zvmd.ipc", "zvmd.sock"
DESCRIPTORS = 250
"""Linux passes at most 253 with one message (unix(7), SCM_MAX_FD)."""


async def good_calls(target: Target) -> str:
    """New connections to both sockets, one after the other; how many were answered."""
    answered = {JSON: 0, FRAMES: 0}
    for _ in range(TRIES):
        with suppress(OSError, TimeoutError, asyncio.IncompleteReadError):
            async with asyncio.timeout(5):
                reader, writer = await asyncio.open_unix_connection(target.data_dir / JSON)
                writer.write(body_of("eth_chainId"))
                answered[JSON] += b"result" in await reader.readline()
                writer.close()
        with suppress(zvmd.ConnectionFailed, TimeoutError):
            url = f"unix://{target.data_dir / FRAMES}"
            async with zvmd.connect(url, data_dir=target.data_dir, timeout=5) as client:
                await client.rpc("eth_chainId")
                answered[FRAMES] += 1
    return ", ".join(f"{count} of {TRIES} new connections to {name}" for name, count in answered.items())


@asynccontextmanager
async def connected(path: Path, count: int) -> AsyncIterator[list[socket.socket]]:
    """As many of so many connections as are accepted."""
    peers: list[socket.socket] = []
    try:
        for _ in range(count):
            peer = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            peer.setblocking(False)
            peers.append(peer)
            for _ in range(100):  # the backlog may be full for a while
                with suppress(BlockingIOError):
                    await asyncio.get_running_loop().sock_connect(peer, os.fspath(path))
                    break
                await asyncio.sleep(0.01)
        yield peers
    finally:
        for peer in peers:
            peer.close()


async def push(peer: socket.socket, data: bytes, again: bool = False) -> int:
    """Send, again and again if wanted, until the time is up or the node hangs up; how many bytes went."""
    sent, end = 0, time.perf_counter() + SECONDS
    with suppress(OSError, TimeoutError):
        async with asyncio.timeout(SECONDS):
            while (again and time.perf_counter() < end) or not sent:
                await asyncio.get_running_loop().sock_sendall(peer, data)
                sent += len(data)
                await asyncio.sleep(0)
    return sent


def held(name: str, count: int, data: bytes) -> Callable[[Target], Awaitable[str]]:
    """Connections that send so much, read nothing, and stay."""

    async def run(target: Target) -> str:
        async with connected(target.data_dir / name, count) as peers:
            sent = sum(await asyncio.gather(*(push(peer, data) for peer in peers if data)))
            await asyncio.sleep(SECONDS / 2)
            good = await good_calls(target)
        return f"{count} connections, {sent:,} bytes; {good}"

    return run


def flood(name: str, count: int, begin: bytes, data: bytes) -> Callable[[Target], Awaitable[str]]:
    """Connections that send the same without a pause and read nothing."""

    async def run(target: Target) -> str:
        async with connected(target.data_dir / name, count) as peers:
            await asyncio.gather(*(push(peer, begin) for peer in peers if begin))
            flooding = asyncio.gather(*(push(peer, data, again=True) for peer in peers))
            good = await good_calls(target)
            sent = sum(await flooding)
        return f"{count} connections, {sent:,} bytes; {good}"

    return run


async def descriptors(target: Target) -> str:
    """Pass open files with every byte; the node has to hold none of them."""
    folder = Path(f"/proc/{target.pid}/fd")
    before, passed = len(list(folder.iterdir())), 0
    most = before
    async with connected(target.data_dir / JSON, 4) as peers:
        with Path(os.devnull).open("rb") as given:
            rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [given.fileno()] * DESCRIPTORS))]
            end = time.perf_counter() + SECONDS
            while time.perf_counter() < end:
                for peer in peers:
                    with suppress(OSError):
                        peer.sendmsg([b" "], rights)
                        passed += DESCRIPTORS
                most = max(most, len(list(folder.iterdir())))
                await asyncio.sleep(0.001)
        good = await good_calls(target)
    return f"{passed:,} descriptors passed; the node had {before} before and {most} at most; {good}"


async def half_closed(target: Target) -> str:
    """Ask, send no more, and leave; again and again."""
    asked, end = 0, time.perf_counter() + SECONDS
    while time.perf_counter() < end:
        for name, data in ((JSON, body_of("eth_chainId")), (FRAMES, GREETING + request(1, "eth_chainId"))):
            with suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as peer:
                peer.setblocking(False)
                await asyncio.get_running_loop().sock_connect(peer, os.fspath(target.data_dir / name))
                peer.send(data)
                peer.shutdown(socket.SHUT_WR if asked % 2 else socket.SHUT_RDWR)
                asked += 1
        await asyncio.sleep(0)
    return f"{asked:,} connections; {await good_calls(target)}"


GREETING = encode_frame(Hello(1, b"", "attack"))
SMALL_FRAMES = request(1, "eth_chainId") * 500
LARGE_FRAME = request(1, "eth_call", *LARGE_CALL)
ATTACKS = (
    Attack("IPC", "1,000 connections to zvmd.ipc", held(JSON, 1_000, b""), 90),
    Attack("IPC", "1,000 connections to zvmd.sock", held(FRAMES, 1_000, b""), 90),
    Attack("IPC", "1,000 connections to zvmd.sock that have said Hello", held(FRAMES, 1_000, GREETING), 90),
    Attack("IPC", "500 halves of a request", held(JSON, 500, body_of("eth_chainId")[:-1]), 90),
    Attack("IPC", "40 requests of 5 MB without an end", held(JSON, 40, b"[" + b" " * 4_900_000), 90),
    Attack("IPC", "a request without an end", flood(JSON, 4, b"", b" " * 65_536), 60),
    Attack("IPC", "brackets without an end", flood(JSON, 4, b"", b"[" * 65_536), 60),
    Attack("IPC", "small requests, answers not read", flood(JSON, 20, b"", body_of("eth_chainId") * 500), 60),
    Attack("IPC", "large answers not read", held(JSON, 60, LARGE), 60),
    Attack("IPC", "frames: large answers not read", held(FRAMES, 60, GREETING + LARGE_FRAME), 60),
    Attack("IPC", "frames: small requests, answers not read", flood(FRAMES, 20, GREETING, SMALL_FRAMES), 60),
    Attack("IPC", "frames of 4 GB", held(FRAMES, 100, GREETING + b"\xff\xff\xff\xff" + b" " * 100_000), 60),
    Attack("IPC", "descriptors passed", descriptors, 60),
    Attack("IPC", "connections that ask and leave", half_closed, 60),
)  # fmt: skip
