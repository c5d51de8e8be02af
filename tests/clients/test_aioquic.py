"""aioquic, an independent QUIC implementation, speaks the wire protocol with frames written by hand."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable, Coroutine
from importlib import metadata
from typing import Any, TypeVar

import msgspec
import pytest
from aioquic.asyncio import QuicConnectionProtocol, connect
from aioquic.quic.configuration import QuicConfiguration

from tests.daemon import Daemon

T = TypeVar("T")
Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]


@pytest.fixture
def daemon(quic_daemon: Daemon) -> Daemon:
    return quic_daemon


def run(daemon: Daemon, work: Callable[[QuicConnectionProtocol], Coroutine[Any, Any, T]]) -> T:
    async def connected() -> T:
        configuration = QuicConfiguration(is_client=True, alpn_protocols=["zvmd/1"], server_name="zvmd")
        configuration.verify_mode = ssl.CERT_REQUIRED
        configuration.load_verify_locations(cafile=str(daemon.data_dir / "tls" / "authority.pem"))
        async with connect("127.0.0.1", daemon.quic_port, configuration=configuration) as protocol:
            return await asyncio.wait_for(work(protocol), 30)

    return asyncio.run(connected())


def frame(*fields: Any) -> bytes:
    body = msgspec.msgpack.encode(fields)
    return len(body).to_bytes(4, "big") + body


async def read(reader: asyncio.StreamReader) -> list[Any]:
    length = int.from_bytes(await reader.readexactly(4), "big")
    answer: list[Any] = msgspec.msgpack.decode(await reader.readexactly(length))
    return answer


async def greeted(daemon: Daemon, protocol: QuicConnectionProtocol) -> Streams:
    reader, writer = await protocol.create_stream()
    token = (daemon.data_dir / "token").read_text().strip().encode()
    writer.write(frame(0, 1, token, "aioquic"))
    tag, version, chain_id, *_ = await read(reader)
    assert (tag, version, chain_id) == (64, 1, 31337)
    return reader, writer


def test_requests_on_one_stream_and_on_many(daemon: Daemon) -> None:
    async def work(protocol: QuicConnectionProtocol) -> None:
        reader, writer = await greeted(daemon, protocol)
        for number in range(1, 201):
            writer.write(frame(1, number, "eth_chainId", []))
        answers = [await read(reader) for _ in range(200)]
        assert sorted(answers) == [[65, number, "0x7a69"] for number in range(1, 201)]
        for number in range(100):  # more streams in a row than may be open at once: ends must be answered
            other_reader, other_writer = await protocol.create_stream()
            other_writer.write(frame(1, number, "eth_blockNumber", []))
            other_writer.write_eof()
            tag, answered, _ = await read(other_reader)
            assert (tag, answered) == (65, number)
            assert await other_reader.read() == b""

    run(daemon, work)


def test_bad_frames_get_typed_errors_and_the_connection_goes_on(daemon: Daemon) -> None:
    async def work(protocol: QuicConnectionProtocol) -> list[str]:
        reader, writer = await greeted(daemon, protocol)
        codes = []
        for bad in (b"\0\0\0\x01\xc1", frame(99, 1), frame(1, "x", "eth_chainId"), frame(2, 5, b"short")):
            writer.write(bad)
            codes.append((await read(reader))[2])
        other_reader, other_writer = await protocol.create_stream()
        other_writer.write(b"\xff\xff\xff\xff")
        codes.append((await read(other_reader))[2])
        assert await other_reader.read() == b""
        writer.write(frame(1, 7, "net_version", []))
        assert await read(reader) == [65, 7, "31337"]
        return codes

    assert run(daemon, work) == ["wire.malformed"] * 3 + ["rpc.params", "wire.frame_size"]


@pytest.mark.parametrize(
    ("first", "code"),
    [
        (frame(0, 1, b"wrong", ""), "wire.token"),
        (frame(0, 2, b"", ""), "wire.version"),
        (frame(1, 1, "eth_chainId", []), "wire.hello_missing"),
        (b"GET / HTTP/1.1\r\n\r\n", "wire.frame_size"),
        (b"", "wire.hello_late"),
    ],
)
def test_strangers_are_told_why_and_shown_out(daemon: Daemon, first: bytes, code: str) -> None:
    async def work(protocol: QuicConnectionProtocol) -> str:
        reader, writer = await protocol.create_stream()
        writer.write(first or b"\0")
        told: str = (await read(reader))[2]
        await protocol.wait_closed()
        return told

    assert run(daemon, work) == code


def test_the_status_names_the_library_of_the_listener(daemon: Daemon) -> None:
    told = daemon.rpc().call("zvmd_status")["quic"]
    library = daemon._environment.get("ZVMD_QUIC__LIBRARY", "qh3")
    assert told == {"library": library, "version": metadata.version(library)}
