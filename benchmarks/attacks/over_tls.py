"""Attacks on the TLS of the HTTP port: handshakes that never end, that come in floods, and records that cost much."""

from __future__ import annotations

import asyncio
import socket
import ssl
import tempfile
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from pathlib import Path

from benchmarks.attacks.attack import Attack, Target
from benchmarks.attacks.connections import LARGE, NUMBER, SECONDS, request_of, silent
from tests.unit.gateway.key_updates import ByHand

ARGUMENTS = ("--http-tls", "auto")


def trusting(target: Target) -> ssl.SSLContext:
    """A client's context."""
    return ssl.create_default_context(cafile=target.data_dir / "tls" / "authority.pem")


def hello() -> bytes:
    """A ClientHello, to be sent again and again: it costs its sender nothing."""
    sent = ssl.MemoryBIO()
    with suppress(ssl.SSLWantReadError):
        ssl.create_default_context().wrap_bio(ssl.MemoryBIO(), sent, server_hostname="localhost").do_handshake()
    return sent.read()


async def replay(target: Target) -> str:
    """As many beginnings of handshakes as the machine makes: the node signs for each, and the client hangs up."""
    first, loop = hello(), asyncio.get_running_loop()
    end, count = time.perf_counter() + SECONDS, 0

    async def one() -> None:
        nonlocal count
        while time.perf_counter() < end:
            with suppress(OSError), socket.socket() as peer:
                peer.setblocking(False)
                await loop.sock_connect(peer, (target.host, target.http_port))
                await loop.sock_sendall(peer, first)
                if await loop.sock_recv(peer, 16):
                    count += 1

    await asyncio.gather(*(one() for _ in range(32)))
    return f"{count} signed ({count / SECONDS:.0f}/s)"


async def whole(target: Target) -> str:
    """Whole handshakes, each on a connection of its own."""
    context, end, count = trusting(target), time.perf_counter() + SECONDS, 0

    async def one() -> None:
        nonlocal count
        while time.perf_counter() < end:
            with suppress(OSError):
                _, writer = await asyncio.open_connection(target.host, target.http_port, ssl=context)
                count += 1
                writer.transport.abort()

    await asyncio.gather(*(one() for _ in range(16)))
    return f"{count} ({count / SECONDS:.0f}/s)"


async def kept(target: Target) -> str:
    """More secured connections than the node keeps, each after a request."""
    context, writers = trusting(target), []
    for _ in range(600):
        with suppress(OSError):
            reader, writer = await asyncio.open_connection(target.host, target.http_port, ssl=context)
            writer.write(NUMBER)
            with suppress(asyncio.IncompleteReadError):
                await reader.readuntil(b"\r\n\r\n")
            writers.append(writer)
    await asyncio.sleep(SECONDS)
    for writer in writers:
        writer.transport.abort()
    return f"{len(writers)} connections"


async def unread(target: Target) -> str:
    """Large answers that nobody reads."""
    context, peers = trusting(target), []
    for _ in range(40):
        peer = socket.socket()
        peer.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
        peer.setblocking(False)
        await asyncio.get_running_loop().sock_connect(peer, (target.host, target.http_port))
        _, writer = await asyncio.open_connection(sock=peer, ssl=context, server_hostname="localhost", limit=1_024)
        writer.write(request_of(LARGE))
        peers.append(writer)
    await asyncio.sleep(SECONDS)
    for writer in peers:
        writer.transport.abort()
    return f"{len(peers)} connections"


def key_updates(count: int) -> Callable[[Target], Awaitable[str]]:
    """Connections whose every record makes the node change its keys, as long as it takes them."""

    async def run(target: Target) -> str:
        end, sent = time.perf_counter() + SECONDS, 0

        async def one(place: Path) -> None:
            nonlocal sent
            while time.perf_counter() < end:
                with suppress(OSError):
                    context = trusting(target)
                    place.unlink(missing_ok=True)
                    context.keylog_filename = str(place)
                    plain = socket.create_connection((target.host, target.http_port))
                    with await asyncio.to_thread(context.wrap_socket, plain, server_hostname="localhost") as peer:
                        records = ByHand(place, peer.cipher()).key_updates(400)
                        raw = peer.detach()
                    with socket.socket(fileno=raw) as bare:
                        bare.setblocking(False)
                        await asyncio.get_running_loop().sock_sendall(bare, records)
                        sent += 400
                        while await asyncio.get_running_loop().sock_recv(bare, 65_536):
                            pass

        with tempfile.TemporaryDirectory() as folder:
            await asyncio.gather(*(one(Path(folder, str(number))) for number in range(count)))
        return f"{sent} records"

    return run


ATTACKS = (
    Attack("TLS", "silent connections", silent(600, b""), 40, ARGUMENTS),
    Attack("TLS", "half a ClientHello", silent(600, hello()[:100]), 40, ARGUMENTS),
    Attack("TLS", "ClientHello, and gone", replay, 40, ARGUMENTS),
    Attack("TLS", "whole handshakes, and gone", whole, 40, ARGUMENTS),
    Attack("TLS", "kept connections", kept, 60, ARGUMENTS),
    Attack("TLS", "large answers not read", unread, 60, ARGUMENTS),
    Attack("TLS", "key updates", key_updates(8), 60, ARGUMENTS),
)
