"""Attacks on the TLS of the HTTP port: handshakes that never end, that come in floods, and records that cost much."""

from __future__ import annotations

import asyncio
import datetime
import os
import random
import signal
import socket
import ssl
import tempfile
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from contextlib import suppress
from pathlib import Path

from benchmarks.attacks.attack import Attack, Target
from benchmarks.attacks.connections import LARGE, NUMBER, SECONDS, request_of, silent
from node.auth.tls import issue_client_certificate, load_or_create_certificate
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


async def garbled(target: Target) -> str:
    """Hellos whose bytes behind the header of the record are changed at random, the name of the host among them."""
    first, loop, end = hello(), asyncio.get_running_loop(), time.perf_counter() + SECONDS
    chance, count = random.Random(7), 0

    async def one() -> None:
        nonlocal count
        while time.perf_counter() < end:
            sent = bytearray(first)
            for _ in range(chance.randrange(1, 40)):
                sent[chance.randrange(5, len(sent))] = chance.randrange(256)
            with suppress(OSError), socket.socket() as peer:
                peer.setblocking(False)
                await loop.sock_connect(peer, (target.host, target.http_port))
                await loop.sock_sendall(peer, sent)
                count += 1
                await loop.sock_recv(peer, 16)

    await asyncio.gather(*(one() for _ in range(16)))
    return f"{count} ({count / SECONDS:.0f}/s)"


def early_data() -> bytes:
    """A Hello, and behind it data as in 0-RTT, which no ticket permits."""
    return hello() + (b"\x17\x03\x03\x40\x00" + bytes(0x4000)) * 8


async def reloads(target: Target) -> str:
    """Whole handshakes, while the certificate is read again and again."""
    signals, handshaking = 0, asyncio.ensure_future(whole(target))
    while not handshaking.done():
        os.kill(target.pid, signal.SIGHUP)
        signals += 1
        await asyncio.sleep(0.02)
    return f"{await handshaking} handshakes, {signals} signals to reload"


def client_certificates(kind: str) -> Callable[[Target], Awaitable[str]]:
    """Handshakes with no certificate, or with one of another authority, where the node wants its own."""

    async def run(target: Target) -> str:
        context, end, found = trusting(target), time.perf_counter() + SECONDS, Counter[str]()
        with tempfile.TemporaryDirectory() as folder:
            if kind == "foreign":
                now = datetime.datetime.now(datetime.UTC)
                load_or_create_certificate(Path(folder), now)
                place = Path(folder, "client.pem")
                place.write_bytes(issue_client_certificate(Path(folder), "attacker", now, 1))
                context.load_cert_chain(place)

        async def one() -> None:
            while time.perf_counter() < end:
                try:
                    reader, writer = await asyncio.open_connection(target.host, target.http_port, ssl=context)
                    writer.write(NUMBER)
                    found["answered" if await reader.readline() else "closed"] += 1
                    writer.transport.abort()
                except (OSError, asyncio.IncompleteReadError):
                    found["refused"] += 1

        await asyncio.gather(*(one() for _ in range(16)))
        return f"{found.total()} ({found.total() / SECONDS:.0f}/s): {dict(found)}"

    return run


MUTUAL = {"ZVMD_HTTP__CLIENT_AUTHORITY": "auto"}
ATTACKS = (
    Attack("TLS", "changed ClientHellos", garbled, 40, ARGUMENTS),
    Attack("TLS", "data without a ticket behind a ClientHello", silent(300, early_data()), 40, ARGUMENTS),
    Attack("TLS", "reloads during handshakes", reloads, 40, ARGUMENTS),
    Attack("mTLS", "no certificate", client_certificates("none"), 40, ARGUMENTS, MUTUAL),
    Attack("mTLS", "a certificate of another authority", client_certificates("foreign"), 40, ARGUMENTS, MUTUAL),
    Attack("TLS", "silent connections", silent(600, b""), 40, ARGUMENTS),
    Attack("TLS", "half a ClientHello", silent(600, hello()[:100]), 40, ARGUMENTS),
    Attack("TLS", "ClientHello, and gone", replay, 40, ARGUMENTS),
    Attack("TLS", "whole handshakes, and gone", whole, 40, ARGUMENTS),
    Attack("TLS", "kept connections", kept, 60, ARGUMENTS),
    Attack("TLS", "large answers not read", unread, 60, ARGUMENTS),
    Attack("TLS", "key updates", key_updates(8), 60, ARGUMENTS),
)
