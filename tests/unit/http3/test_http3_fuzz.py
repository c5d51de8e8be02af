"""Streams of random frames, good ones among them: each connection ends or answers, and no bug of ours ends it."""

from __future__ import annotations

import asyncio
import random
from pathlib import Path

import pytest
from aioquic.buffer import encode_uint_var

from tests.effort import tries
from tests.unit.http3.clients import CALL, Http3Client, Limits, Server, connected, h3_frame, head, run
from tests.unit.http3.test_http3_endings import INTERNAL, until
from tests.unit.http3.test_http3_faults import CONTROL, GREASE, REQUEST, TRAILERS, section

SEEDS = tries(25, 1_000)
AT_ONCE = 50
"""Seeds tried on one node."""
FRAMES = (
    REQUEST,
    TRAILERS,
    h3_frame(0, CALL),
    h3_frame(0, b""),
    h3_frame(GREASE, b"xyz"),
    h3_frame(1, section(head(b"GET", b"/healthz"))),
    h3_frame(1, section(head(b"GET", b"/healthz", (b"content-length", b"3")))),
    h3_frame(1, section([(b":path", b"/")])),
    h3_frame(1, b"\0\0\xff\xff"),
    h3_frame(4, b"\6\1"),
    h3_frame(7, b"\0"),
    h3_frame(13, b"\7"),
    b"\x40\x41\0",
)
STREAMS = (0, 0, 0, 4, 4, 8, 2, 6, 10, 14)
BEGINNINGS = (b"", b"\0", b"\1\0", b"\2", b"\3", b"\x40\x54", b"\x21")


def said(choose: random.Random) -> bytes:
    """Some frames, perhaps broken."""
    data = b"".join(choose.choices(FRAMES, k=choose.randrange(1, 5)))
    for _ in range(choose.choice((0, 0, 0, 1, 3))):
        at = choose.randrange(len(data))
        broken = (
            data[:at] + bytes((data[at] ^ 1 << choose.randrange(8),)) + data[at + 1 :],
            data[:at] + data[at + choose.randrange(1, 9) :],
            data[:at] + choose.randbytes(choose.randrange(1, 9)) + data[at:],
            data[:at] + bytes(encode_uint_var(choose.randrange(2**62))) + data[at:],
        )
        data = choose.choice(broken) or b"\0"
    return data


async def talk(client: Http3Client, choose: random.Random) -> None:
    """Say something on several streams, in pieces."""
    if choose.random() < 0.9:
        client.say(2, CONTROL)
    ended: set[int] = set()
    begun: set[int] = {2}
    for _ in range(choose.randrange(1, 12)):
        stream_id = choose.choice(STREAMS)
        if stream_id in ended or client.ended.done():
            continue
        data = said(choose)
        if stream_id % 4 == 2 and stream_id not in begun:
            data = choose.choice(BEGINNINGS) + data
        begun.add(stream_id)
        cut = choose.randrange(len(data) + 1)
        ends = choose.random() < 0.4
        try:
            client.say(stream_id, data[:cut])
            if choose.random() < 0.5:
                await asyncio.sleep(0)
            client.say(stream_id, data[cut:], ends)
        except (ValueError, RuntimeError):  # aioquic's: the node has stopped this stream
            ended.add(stream_id)
            continue
        if ends:
            ended.add(stream_id)
        elif choose.random() < 0.2:
            client.quic.reset_stream(stream_id, 0x10C)
            client.transmit()
            ended.add(stream_id)


@pytest.mark.parametrize("first", range(0, SEEDS, AT_ONCE))
def test_random_frames(first: int, library: str, tmp_path: Path) -> None:
    async def work(server: Server) -> None:
        sdk = await server.sdk()
        for seed in range(first, min(SEEDS, first + AT_ONCE)):
            async with connected(server, plain=True) as client:
                await talk(client, random.Random(seed))
                await client.heard_out()
                assert await sdk.rpc("eth_chainId") == "0x7a69"
                if client.ended.done():
                    assert client.ended.result().error_code != INTERNAL, seed
        async with connected(server) as client:
            assert (await client.ask(head(), CALL)).status == 200
        await sdk.close()
        await until(lambda: not server.listener.connections)
        assert server.service.held.used == 0

    run(tmp_path, library, work, Limits())
