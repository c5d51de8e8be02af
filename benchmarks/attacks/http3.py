"""Attacks on HTTP/3: requests without an end, floods of frames, streams and resets, readers that read nothing."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import pylsqpack
from aioquic.buffer import encode_uint_var

from benchmarks.attacks.attack import Attack, Target
from benchmarks.attacks.connections import LARGE, X, body_of
from benchmarks.attacks.quic import SECONDS, good_connections
from benchmarks.attacks.quic_frames import packet
from tests.clients.test_visitors import REBOUND
from tests.unit.http3.clients import CALL, Fields, Http3Client, connected, h3_frame, head

PAUSE_SECONDS = 0.001
CONNECTIONS = 6
"""Fewer than one address may have: the others are for those who mean no harm."""
STREAMS = 100
DATA, HEADERS, CANCEL_PUSH, SETTINGS, GOAWAY, MAX_PUSH_ID, RESERVED = 0, 1, 3, 4, 7, 13, 0x21
CONTROL = b"\0" + h3_frame(SETTINGS, b"")
SLOW = body_of("eth_call", {"to": X, "gas": "0x2faf080"}, "latest", {X: {"code": "0x5b600056"}})


class Node(NamedTuple):
    """Where `connected` finds the node."""

    port: int
    folder: Path


def section(fields: Fields) -> bytes:
    """A field section that refers to no dynamic table."""
    return bytes(pylsqpack.Encoder().encode(0, fields)[1])


HEAD = h3_frame(HEADERS, section(head()))
LARGE_HEAD = h3_frame(HEADERS, section(head(b"POST", b"/", *((b"x-%d" % at, b"v" * 4_000) for at in range(15)))))
REQUEST = HEAD + h3_frame(DATA, CALL)


@asynccontextmanager
async def plain(target: Target, count: int = 1) -> AsyncIterator[list[Http3Client]]:
    """Connections whose bytes are written by hand, behind SETTINGS and a request that is answered."""
    async with AsyncExitStack() as stack:
        clients = []
        for _ in range(count):
            client = await stack.enter_async_context(connected(Node(target.quic_port, target.data_dir), plain=True))
            client.say(2, CONTROL)
            client.say(0, REQUEST, ends=True)
            clients.append(client)
        for client in clients:
            await client.heard_out()
        yield clients


def unfinished(data: bytes) -> Callable[[Target], Awaitable[str]]:
    """As many requests as there may be at the same time, of which this is all that comes."""

    async def run(target: Target) -> str:
        begun = 0
        async with plain(target, CONNECTIONS) as clients:
            for number in range(1, STREAMS + 1):
                for client in clients:
                    client.say(4 * number, data)
                begun += len(clients)
                await asyncio.sleep(0.02)
            ended = 0
            good = await good_connections(target)
            await asyncio.sleep(SECONDS)
            ended = sum(client.ended.done() for client in clients)
        return f"{begun} requests of {len(data):,} bytes on {CONNECTIONS} connections, of which {ended} ended; {good}"

    return run


def flooding(make: Callable[[int], tuple[int, bytes, bool]]) -> Callable[[Target], Awaitable[str]]:
    """Write to one connection after the other as fast as the node takes it: stream, bytes and whether they end it."""

    async def run(target: Target) -> str:
        said = connections = 0
        good = asyncio.create_task(good_connections(target))
        end = time.perf_counter() + SECONDS
        while time.perf_counter() < end:
            async with plain(target) as (client,):
                connections += 1
                number = 0
                while time.perf_counter() < end and not client.ended.done():
                    for _ in range(20):
                        stream_id, data, ends = make(number)
                        number += 1
                        client.quic.send_stream_data(stream_id, data, ends)
                        said += len(data)
                    client.transmit()
                    await client.heard_out()
        return f"{said:,} bytes on {connections} connections; {await good}"

    return run


def one_after_the_other(data: bytes, unidirectional: bool = False) -> Callable[[int], tuple[int, bytes, bool]]:
    """The same on a new stream each time."""
    first = 6 if unidirectional else 4
    return lambda number: (first + 4 * number, data, True)


def on_one_stream(stream_id: int, begin: bytes, data: bytes) -> Callable[[int], tuple[int, bytes, bool]]:
    """The same on one stream again and again."""
    return lambda number: (stream_id, data if number else begin + data, False)


async def resets(target: Target) -> str:
    """Ask for a call that runs for long, on as many streams as there may be, and reset each at once."""
    made, end = 0, time.perf_counter() + SECONDS
    good = asyncio.create_task(good_connections(target))
    async with plain(target, 4) as clients:
        while time.perf_counter() < end and not all(client.ended.done() for client in clients):
            made += 1
            for client in clients:
                client.say(4 * made, HEAD + h3_frame(DATA, SLOW), ends=True)
                with suppress(ValueError):
                    client.quic.stop_stream(4 * made, 0x10C)
                client.transmit()
            await asyncio.sleep(PAUSE_SECONDS)
        readers = (await target.rpc("zvmd_status"))["readers"]
    return f"{4 * made:,} calls reset; then {readers['busy'] - 1} readers busy, {readers['waiting']} wait; {await good}"


async def silent(target: Target) -> str:
    """Connections from many addresses that shake hands and ask nothing; good ones are tried meanwhile."""
    node, held = Node(target.quic_port, target.data_dir), 0
    async with AsyncExitStack() as stack:
        for number in range(160):
            with suppress(TimeoutError, OSError):
                async with asyncio.timeout(2):
                    local = (f"127.0.{1 + number // 8}.{1 + number % 8}", 0)
                    await stack.enter_async_context(connected(node, plain=True, local=local))
                held += 1
        good = await good_connections(target)
    return f"{held} connections; {good}"


async def begun_requests(target: Target) -> str:
    """All places of all addresses are taken by connections that have begun a request and go on with it slowly."""
    node, held = Node(target.quic_port, target.data_dir), 0
    async with AsyncExitStack() as stack:
        clients = []
        for number in range(160):
            with suppress(TimeoutError, OSError):
                async with asyncio.timeout(2):
                    local = (f"127.0.{1 + number // 8}.{1 + number % 8}", 0)
                    client = await stack.enter_async_context(connected(node, plain=True, local=local))
                    client.say(2, CONTROL)
                    client.say(0, REQUEST, ends=True)
                    client.say(4, HEAD)
                    clients.append(client)
                held += 1
        good = await good_connections(target)
        ended = sum(client.ended.done() for client in clients)
    return f"{held} connections, of which {ended} made room; {good}"


async def unread(target: Target) -> str:
    """Large answers, on as many streams as there may be, of which nothing is acknowledged."""
    async with plain(target, 4) as clients:
        for number in range(1, 26):
            for client in clients:
                client.say(4 * number, HEAD + h3_frame(DATA, LARGE), ends=True)
        for client in clients:
            client.datagram_received = lambda *_: None  # type: ignore[method-assign]
        await asyncio.sleep(SECONDS)
    return "100 requests of 5 MB on 4 connections"


async def moving(target: Target) -> str:
    """Each packet of a connection comes from another port."""
    loop, sent = asyncio.get_running_loop(), 0
    good = asyncio.create_task(good_connections(target))
    async with plain(target) as (client,):
        address = (target.host, target.quic_port)
        ports = [
            (await loop.create_datagram_endpoint(asyncio.DatagramProtocol, remote_addr=address))[0] for _ in range(200)
        ]
        end = time.perf_counter() + SECONDS
        while time.perf_counter() < end and not client.ended.done():
            ports[sent % len(ports)].sendto(packet(client.quic, [b"\x01"]))
            sent += 1
            await asyncio.sleep(PAUSE_SECONDS / 4)
        for port in ports:
            port.close()
    return f"{sent:,} packets from {len(ports)} ports; {await good}"


async def wrong_tokens(target: Target) -> str:
    """Guess as fast as the node answers, on many streams of several connections."""
    found: Counter[int] = Counter()
    good = asyncio.create_task(good_connections(target))
    end = time.perf_counter() + SECONDS
    async with AsyncExitStack() as stack:
        node = Node(target.quic_port, target.data_dir)
        clients = [await stack.enter_async_context(connected(node)) for _ in range(4)]

        async def guess(client: Http3Client, number: int) -> None:
            while time.perf_counter() < end:
                fields = head(b"GET", b"/healthz", (b"authorization", b"Bearer %064x" % number))
                try:
                    found[(await client.ask(fields)).status] += 1
                except AssertionError:
                    return
                number += 1_000

        await asyncio.gather(*(guess(client, at) for client in clients for at in range(30)))
    return f"status {dict(found)}; {await good}"


async def hostile_authorities(target: Target) -> str:
    """Forms of :authority that are not the node's, with and without a Host beside them, and paths that are URIs."""
    forms = [form.format(port=target.quic_port).encode("latin-1", "ignore") for form in REBOUND]
    forms += [b"[::1%25eth0]", b"[::1%eth0]:1", b"localhost\0", b"\xc2\xa0localhost", b"user@localhost", b"localhost "]
    requests: list[Fields] = [head(authority=form) for form in forms]
    requests += [head(b"POST", b"/", (b"host", form)) for form in forms]
    requests += [[field for field in head() if field[0] != b":authority"] + [(b"host", form)] for form in forms]
    requests += [head(path=b"https://attacker.example/"), head(path=b"//attacker.example/"), head(path=b"localhost")]
    requests += [[*head()[:2], (b":authority", b"attacker.example"), *head()[2:]]]
    found: Counter[int | str] = Counter()
    for fields in requests:
        async with connected(Node(target.quic_port, target.data_dir)) as client:
            try:
                found[(await client.ask(fields, CALL)).status] += 1
            except AssertionError:
                found["ended"] += 1
    return f"{len(requests)} forms; {', '.join(f'{count} times {what}' for what, count in found.items())}"


UNKNOWN = bytes(encode_uint_var(0x21 + 0x1F))
"""A type that means nothing, of a stream or a frame."""
ENDLESS = UNKNOWN + bytes(encode_uint_var(2**60))
"""The beginning of a frame that does not end."""
FRAMES: tuple[tuple[str, Callable[[int], tuple[int, bytes, bool]]], ...] = (
    ("GOAWAY frames", on_one_stream(2, b"", h3_frame(GOAWAY, b"\0") * 100)),
    ("MAX_PUSH_ID frames", on_one_stream(2, b"", h3_frame(MAX_PUSH_ID, b"\0") * 100)),
    ("CANCEL_PUSH frames", on_one_stream(2, b"", h3_frame(CANCEL_PUSH, b"\0") * 100)),
    ("SETTINGS frames", on_one_stream(2, b"", h3_frame(SETTINGS, b"") * 100)),
    ("reserved frames on a request", on_one_stream(4, HEAD, h3_frame(RESERVED, b"") * 100)),
    ("a reserved frame of 2^60 bytes", on_one_stream(4, HEAD + ENDLESS, b"x" * 1_000)),
    ("a control frame of 2^60 bytes", on_one_stream(2, ENDLESS, b"x" * 1_000)),
    ("a stream of an unknown type", on_one_stream(6, UNKNOWN, b"x" * 1_000)),
    ("streams of unknown types", one_after_the_other(UNKNOWN + b"x", unidirectional=True)),
    ("streams without a type", one_after_the_other(b"", unidirectional=True)),
    ("QPACK: capacity set to 0", on_one_stream(6, b"\2", b"\x20" * 1_000)),
    ("QPACK: streams cancelled", on_one_stream(6, b"\3", b"\x40" * 1_000)),
    ("bodies in frames of 64 bytes", on_one_stream(4, HEAD, h3_frame(DATA, b" " * 64) * 15)),
    ("a body in frames of a byte", on_one_stream(4, HEAD, h3_frame(DATA, b" ") * 300)),
    ("DATA before HEADERS", one_after_the_other(h3_frame(DATA, CALL))),
    ("trailers again and again", one_after_the_other(REQUEST + h3_frame(HEADERS, section([(b"x", b"y")])) * 2)),
    ("streams that end at once", one_after_the_other(b"")),
    ("small requests", one_after_the_other(REQUEST)),
    ("heads of 60 KB", one_after_the_other(LARGE_HEAD + h3_frame(DATA, CALL))),
)  # fmt: skip
_ATTACKS = (
    Attack("HTTP/3", "bodies without an end", unfinished(HEAD + h3_frame(DATA, b" " * 60_000)), 90),
    Attack("HTTP/3", "heads without an end", unfinished(b"\1\x80\x01\x38\x80" + b"\0" * 60_000), 90),
    Attack("HTTP/3", "heads of 60 KB without a body", unfinished(LARGE_HEAD), 90),
    Attack("HTTP/3", "large answers not read", unread, 60),
    Attack("HTTP/3", "long calls reset at once", resets, 60),
    Attack("HTTP/3", "silent connections of 20 networks", silent, 150),
    Attack("HTTP/3", "places taken by begun requests", begun_requests, 150),
    Attack("HTTP/3", "a connection that moves", moving, 60),
    Attack("HTTP/3", "wrong tokens", wrong_tokens, 60),
    Attack("HTTP/3", "forms of :authority", hostile_authorities, 60),
    *(Attack("HTTP/3", name, flooding(make), 60) for name, make in FRAMES),
)
ATTACKS: tuple[Attack, ...] = (
    *_ATTACKS,
    *(
        replace(attack, name=f"{attack.name}, aioquic", environment={"ZVMD_QUIC__LIBRARY": "aioquic"})
        for attack in _ATTACKS
    ),
)
"""All of them against each QUIC library of the node."""
