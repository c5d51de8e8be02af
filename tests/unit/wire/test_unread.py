"""Answers that a peer does not take count for all connections together, and end its connection after a time."""

from __future__ import annotations

import asyncio
import ssl
from pathlib import Path
from typing import Any

from aioquic.asyncio.protocol import QuicConnectionProtocol
from aioquic.quic.configuration import QuicConfiguration
from aioquic.quic.connection import QuicConnection
from aioquic.quic.events import ConnectionTerminated

from node.api.types import CallResult
from tests.jumping_loop import skip, until
from tests.unit.wire.listening import Server, frame, hello, run
from zvmd.frames import ALPN

ANSWER_BYTES = 200_000
WINDOW_BYTES = 20_000


class Stingy(QuicConnection):
    """Acknowledges every packet and lets no more data come than at the beginning."""

    def _write_connection_limits(self, *_: Any, **__: Any) -> None: ...

    def _write_stream_limits(self, *_: Any, **__: Any) -> None: ...


class Deaf(QuicConnectionProtocol):
    """Its client, which remembers why it was closed."""

    reason = ""

    def quic_event_received(self, event: Any) -> None:
        if isinstance(event, ConnectionTerminated):
            self.reason = event.reason_phrase


async def deaf(server: Server) -> Deaf:
    """A client that has asked for an answer and takes the first tenth of it."""
    configuration = QuicConfiguration(
        is_client=True, alpn_protocols=[ALPN], server_name="zvmd", verify_mode=ssl.CERT_NONE,
        max_data=WINDOW_BYTES, max_stream_data=WINDOW_BYTES,
    )  # fmt: skip
    server.backend.call = lambda *_, **__: CallResult(True, False, "return", bytes(ANSWER_BYTES), 21_000)  # type: ignore[method-assign]
    address = ("127.0.0.1", server.port)
    make = lambda: Deaf(Stingy(configuration=configuration))  # noqa: E731
    _, client = await asyncio.get_running_loop().create_datagram_endpoint(make, remote_addr=address)
    client.connect(address)
    await client.wait_connected()
    client._quic.send_stream_data(0, hello(server) + frame(2, 9, b"\x01" * 20, b""))
    client.transmit()
    return client


def test_a_peer_that_takes_nothing_is_disconnected(library: str, tmp_path: Path) -> None:
    """It kept its answers for as long as it liked."""

    async def work(server: Server) -> None:
        client = await deaf(server)
        held = server.service.held
        await until(lambda: ANSWER_BYTES - 2 * WINDOW_BYTES < held.used < ANSWER_BYTES)
        skip(29.0)
        other = await server.client()
        assert await other.rpc("eth_chainId") == "0x7a69"
        assert server.listener.connections == 2
        skip(2.0)
        await until(lambda: server.listener.connections == 1)
        assert held.used == 0
        assert client.reason in ("", "wire.slow_reader")  # the datagram that says so may be lost
        assert await other.rpc("eth_chainId") == "0x7a69"

    run(tmp_path, library, work)


def test_all_that_is_not_taken_has_one_limit(library: str, tmp_path: Path) -> None:
    """15 connections held 900 MB."""

    async def work(server: Server) -> None:
        held = server.service.held
        held.most = 3 * ANSWER_BYTES
        clients = [await deaf(server) for _ in range(3)]
        await until(lambda: held.used > 2 * ANSWER_BYTES)
        clients.append(await deaf(server))
        await until(lambda: server.listener.connections == 3)
        assert [client.reason for client in clients[:3]] == [""] * 3
        assert held.used <= held.most
        for client in clients:
            client.close()
        await until(lambda: not held.used, step_s=0.5)

    run(tmp_path, library, work)
