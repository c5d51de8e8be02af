"""Floods of QUIC frames, and of streams and requests, on a connection that has said Hello with the node's token."""

from __future__ import annotations

import asyncio
import os
import socket
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import suppress
from dataclasses import replace
from typing import Any

import msgspec
from aioquic.asyncio import QuicConnectionProtocol
from aioquic.quic.connection import QuicConnection
from aioquic.quic.packet import QuicPacketType
from aioquic.tls import Epoch

from benchmarks.attacks.attack import Attack, Target
from benchmarks.attacks.quic import SECONDS, builder, good_connections, greeted

PAUSE_SECONDS = 0.0005
PINGS, CHALLENGES = 1_000, 110
"""Frames that fit into a datagram."""
LOOP = {"code": "0x5b600056"}
ACCOUNT = "0x00000000000000000000000000000000000000fe"

def token_of(target: Target) -> bytes:
    """The node's token."""
    return (target.data_dir / "token").read_text().strip().encode()


def packet(quic: QuicConnection, frames: list[bytes]) -> bytes:
    """One datagram of these frames, whatever the library thinks of them."""
    made = builder(quic)
    made.start_packet(QuicPacketType.ONE_RTT, quic._cryptos[Epoch.ONE_RTT])
    for frame in frames:
        made.start_frame(frame[0], capacity=len(frame)).push_bytes(frame[1:])
    (datagram,) = made.flush()[0]
    quic._packet_number = made.packet_number
    return datagram


def flooding_frames(make: Callable[[], list[bytes]]) -> Callable[[Target], Awaitable[str]]:
    """An attack that sends datagrams of those frames as fast as one process can."""

    async def run(target: Target) -> str:
        async with greeted(target, token_of(target)) as protocol:
            good = asyncio.create_task(good_connections(target))
            sent, begun = 0, time.perf_counter()
            while time.perf_counter() - begun < SECONDS and not protocol._quic._close_event:
                for _ in range(4):
                    sent += len(frames := make())
                    protocol._transport.sendto(packet(protocol._quic, frames), protocol._quic._network_paths[0].addr)
                await asyncio.sleep(PAUSE_SECONDS)
            return f"{sent:,} frames; {await good}"

    return run


def pings() -> list[bytes]:
    """PING frames, each a byte."""
    return [b"\x01"] * PINGS


def challenges() -> list[bytes]:
    """PATH_CHALLENGE frames."""
    return [b"\x1a" + os.urandom(8) for _ in range(CHALLENGES)]


def window_updates() -> list[bytes]:
    """MAX_STREAMS and DATA_BLOCKED frames."""
    return [b"\x12\x10", b"\x14\x10"] * 200


async def migrations(target: Target) -> str:
    """Send each packet from another port."""
    async with greeted(target, token_of(target)) as protocol:
        address = (target.host, target.quic_port)
        good = asyncio.create_task(good_connections(target))
        ports = [socket.socket(socket.AF_INET, socket.SOCK_DGRAM) for _ in range(400)]
        sent, begun = 0, time.perf_counter()
        while time.perf_counter() - begun < SECONDS and not protocol._quic._close_event:
            ports[sent % len(ports)].sendto(packet(protocol._quic, [b"\x01"]), address)
            sent += 1
            if sent % 4 == 0:
                await asyncio.sleep(PAUSE_SECONDS)
        for port in ports:
            port.close()
        return f"{sent:,} packets from 400 ports; {await good}"


def request(number: int, method: str, *params: Any) -> bytes:
    """A frame of the protocol that calls a method."""
    body = msgspec.msgpack.encode([1, number, method, params])
    return len(body).to_bytes(4, "big") + body


def streams(quic: QuicConnection) -> Iterator[int]:
    """Numbers of streams that may be opened."""
    while not quic._close_event:
        yield quic.get_next_available_stream_id()


async def rapid_reset(target: Target) -> str:
    """Ask for a call that runs for long on a new stream and reset it at once (HTTP/2's attack of 2023)."""
    async with greeted(target, token_of(target)) as protocol:
        quic: QuicConnection = protocol._quic
        good = asyncio.create_task(good_connections(target))
        made, begun = 0, time.perf_counter()
        for stream in streams(quic):
            if time.perf_counter() - begun > SECONDS:
                break
            call = request(made, "eth_call", {"to": ACCOUNT, "gas": "0x2faf080"}, "latest", {ACCOUNT: LOOP})
            quic.send_stream_data(stream, call)
            protocol.transmit()
            with suppress(ValueError):
                quic.reset_stream(stream, 0)
            protocol.transmit()
            made += 1
            await asyncio.sleep(PAUSE_SECONDS)
        readers = (await target.rpc("zvmd_status"))["readers"]
        return f"{made:,} calls reset; then {readers['busy'] - 1} readers busy, {readers['waiting']} wait; {await good}"


async def requests(target: Target) -> str:
    """Small requests without a pause on four connections, whose answers are read."""
    asked = 0

    async def ask(protocol: QuicConnectionProtocol) -> None:
        nonlocal asked
        reader, writer = await protocol.create_stream()
        reading = asyncio.create_task(reader.read(-1))
        burst = b"".join(request(number, "eth_chainId") for number in range(200))
        begun = time.perf_counter()
        while time.perf_counter() - begun < SECONDS:
            writer.write(burst)
            asked += 200
            await asyncio.sleep(0.002)
        reading.cancel()

    async def connected() -> None:
        async with greeted(target, token_of(target)) as protocol:
            await ask(protocol)

    good, *_ = await asyncio.gather(good_connections(target), *(connected() for _ in range(4)))
    return f"{asked:,} requests written; {good}"


async def large_frames(target: Target) -> str:
    """Requests of two megabytes of small values, one after the other."""
    async with greeted(target, token_of(target)) as protocol:
        reader, writer = await protocol.create_stream()
        frame = request(1, "eth_getLogs", [[0] * 1_900_000])
        answers, begun = 0, time.perf_counter()
        while time.perf_counter() - begun < SECONDS:
            writer.write(frame)
            size = int.from_bytes(await reader.readexactly(4), "big")
            await reader.readexactly(size)
            answers += 1
        return f"{answers} requests of {len(frame):,} bytes, all answered"


_ATTACKS = (
    Attack("9", "QUIC PING frames", flooding_frames(pings), 60),
    Attack("9", "QUIC PATH_CHALLENGE frames", flooding_frames(challenges), 60),
    Attack("9", "QUIC MAX_STREAMS and DATA_BLOCKED frames", flooding_frames(window_updates), 60),
    Attack("9", "QUIC connection that moves", migrations, 60),
    Attack("9", "QUIC calls reset at once", rapid_reset, 60),
    Attack("9", "QUIC small requests without a pause", requests, 60),
    Attack("9", "QUIC frames of two megabytes", large_frames, 60),
)
ATTACKS: tuple[Attack, ...] = (
    *_ATTACKS,
    *(
        replace(attack, name=f"{attack.name}, aioquic", environment={"ZVMD_QUIC__LIBRARY": "aioquic"})
        for attack in _ATTACKS
    ),
)
"""All of them against each QUIC library of the node."""
