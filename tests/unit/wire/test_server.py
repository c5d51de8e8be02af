"""The QUIC listener on loopback sockets: caps on connections, wrong tokens, a stranger's garbage."""

from __future__ import annotations

import asyncio
import os
import socket
import threading
from pathlib import Path
from typing import Any

import msgspec
import pytest
from qh3.asyncio import QuicConnectionProtocol, serve
from qh3.quic.configuration import QuicConfiguration
from qh3.quic.connection import QuicConnection
from qh3.quic.events import QuicEvent, StreamDataReceived

import zvmd
from chain.brief import TakesLong
from node.auth.tls import load_or_create_certificate, rotate_certificate
from node.auth.tokens import load_or_create_token
from node.doors.limits import DoorLimits
from node.rpc.errors import NodeBusy
from node.rpc.readers import Readers
from node.wire.limits import WireLimits
from node.wire.server import open_socket
from tests.jumping_loop import skip, until
from tests.unit.wire.listening import NOW, Puppet, Server, frame, hello, puppet, run
from zvmd.frames import ALPN, FrameBuffer


def test_connections_are_capped_and_room_returns(library: str, tmp_path: Path) -> None:
    async def work(server: Server) -> None:
        first, second = await server.client(), await server.client()
        with pytest.raises(zvmd.ConnectionFailed):
            await server.client(timeout=1.0)
        assert await first.rpc("eth_chainId") == "0x7a69"
        await second.close()
        await until(lambda: server.listener.connections == 1)
        third = await server.client()
        assert await third.rpc("eth_chainId") == "0x7a69"

    run(tmp_path, library, work, WireLimits(connections_per_address_max=2))


def test_guessing_tokens_is_slowed_down(library: str, tmp_path: Path) -> None:
    async def work(server: Server) -> None:
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(server.client("guess"), 0.5)

    run(tmp_path, library, work, door_limits=DoorLimits(failures_per_s=0, failure_delay_s=60.0))


def test_a_wrong_token_is_told_so(library: str, tmp_path: Path) -> None:
    async def work(server: Server) -> None:
        with pytest.raises(zvmd.ConnectionFailed) as caught:
            await server.client("guess")
        assert caught.value.code == "wire.token"

    run(tmp_path, library, work)


def test_addresses_are_validated_when_many_handshakes_are_open(library: str, tmp_path: Path) -> None:
    async def work(server: Server) -> None:
        client = await server.client()
        assert await client.rpc("eth_chainId") == "0x7a69"

    run(tmp_path, library, work, WireLimits(half_open_before_retry=0))


def test_a_client_with_too_much_under_way_is_told_so(
    library: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> float:
        raise NodeBusy("too much is waiting", 2.5)

    async def work(server: Server) -> None:
        client = await server.client()
        monkeypatch.setattr(Readers, "admit", refuse)
        for method, params in (
            ("debug_traceBlockByNumber", ["0x0"]),
            ("zvmd_read", ["0x0", "eth_blockNumber", []]),
            ("eth_getLogs", [{"topics": ["x" * 70_000]}]),
        ):
            with pytest.raises(zvmd.NodeBusy, match="too much is waiting"):
                await client.rpc(method, *params)
        monkeypatch.undo()
        assert await client.rpc("eth_chainId") == "0x7a69"

    run(tmp_path, library, work)


def test_garbage_datagrams_are_ignored(library: str, tmp_path: Path) -> None:
    async def work(server: Server) -> None:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as stranger:
            for size in (0, 1, 5, 6, 7, 20, 1200, 1400):
                for first in (b"", b"\x00", b"\x40", b"\xc0", b"\xff", b"\xc0\0\0\0\x01\x14"):
                    stranger.sendto(first + os.urandom(size), ("127.0.0.1", server.port))
        client = await server.client()  # whose datagrams are behind them in the socket
        assert await client.rpc("eth_chainId") == "0x7a69"

    run(tmp_path, library, work)


def test_a_new_certificate_serves_new_connections_with_the_same_trust(library: str, tmp_path: Path) -> None:
    async def work(server: Server) -> None:
        old = await server.client()
        server.listener.use_certificate(rotate_certificate(tmp_path / "tls", NOW))
        new = await server.client()
        assert [await client.rpc("eth_chainId") for client in (old, new)] == ["0x7a69"] * 2

    run(tmp_path, library, work)


def test_subscriptions_are_capped_and_end_with_their_connection(library: str, tmp_path: Path) -> None:
    async def work(server: Server) -> None:
        client = await server.client()
        streams = [client.events("heads", cursor=(0, 0)) for _ in range(3)]
        await server.backend.mine(1)
        assert [(await anext(stream)).cursor[0] for stream in streams[:2]] == [1, 1]
        with pytest.raises(zvmd.ZvmdError) as caught:
            await anext(streams[2])
        assert caught.value.code == "wire.subscriptions"
        await client.close()
        await until(lambda: not server.listener.connections)

    run(tmp_path, library, work, WireLimits(subscriptions_max=2))


def test_answers_larger_than_a_window_arrive_whole(library: str, tmp_path: Path) -> None:
    async def work(server: Server) -> None:
        client = await server.client()
        data = os.urandom(1_500_000)
        outputs = await asyncio.gather(*(client.call_raw(b"\x01" * 20, data) for _ in range(4)))
        assert outputs == [data] * 4

    run(tmp_path, library, work)


async def heard_frames(client: Puppet, count: int) -> list[list[Any]]:
    """So many frames, whole and decoded."""
    while len(bodies := FrameBuffer(10_000).feed(bytes(client.heard))) < count:
        await asyncio.sleep(0.002)
    return [msgspec.msgpack.decode(body) for body in bodies]


def test_large_requests_are_answered_also_behind_the_end_of_their_stream(library: str, tmp_path: Path) -> None:
    large, params = 400_000, ["0x" + "00" * 200_000]

    async def work(server: Server) -> None:
        client = await puppet(server)
        client.say(0, hello(server))
        await client.hear()
        client.heard.clear()
        client.say(4, frame(1, 7, "web3_sha3", params) + frame(1, 8, "eth_chainId"), end=True)
        answers = await heard_frames(client, 2)
        assert {answer[1]: answer[2] for answer in answers}[8] == "0x7a69"
        assert sorted(answer[1] for answer in answers) == [7, 8]
        client.heard.clear()
        client.say(8, (large).to_bytes(4, "big") + b"\xc1" * large)
        (refused,) = await heard_frames(client, 1)
        assert "wire.malformed" in refused
        client.vanish()

    run(tmp_path, library, work)


def test_a_client_that_closes_leaves_nobody_waiting(library: str, tmp_path: Path) -> None:
    free = threading.Event()

    async def work(server: Server) -> None:
        answer = server.backend.call

        def held(*given: Any, **named: Any) -> Any:
            if threading.current_thread() is threading.main_thread():  # the event loop, which may not be held
                raise TakesLong
            free.wait(60)
            return answer(*given, **named)

        server.backend.call = held  # type: ignore[method-assign]
        client = await server.client()
        calls = [asyncio.ensure_future(client.call_raw(b"\x01" * 20, bytes(1000))) for _ in range(500)]
        await until(lambda: server.service.readers.status()["busy"])
        await client.close()
        free.set()
        outcomes = await asyncio.gather(*calls, return_exceptions=True)
        assert {type(outcome) for outcome in outcomes} <= {bytes, zvmd.ConnectionFailed}
        assert any(isinstance(outcome, zvmd.ConnectionFailed) for outcome in outcomes)

    run(tmp_path, library, work)


def test_handshakes_that_never_finish_are_forgotten(library: str, tmp_path: Path) -> None:
    async def work(server: Server) -> None:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as stranger:
            for _ in range(8):
                configuration = QuicConfiguration(is_client=True, alpn_protocols=["zvmd/1"], server_name="zvmd")
                connection = QuicConnection(configuration=configuration)
                connection.connect(("127.0.0.1", server.port), now=0.0)
                for datagram, _ in connection.datagrams_to_send(now=0.0):
                    stranger.sendto(datagram, ("127.0.0.1", server.port))
            await until(lambda: server.listener.connections == 8)
        skip(21.0)
        await until(lambda: server.listener.connections == 0)
        client = await server.client()
        assert await client.rpc("eth_chainId") == "0x7a69"

    run(tmp_path, library, work, WireLimits(hello_within_s=20.0))


class Mute(QuicConnectionProtocol):
    """Acknowledges what it receives, answers nothing, and is gone a moment later without a word."""

    def quic_event_received(self, event: QuicEvent) -> None:
        if isinstance(event, StreamDataReceived):
            assert self._transport is not None
            self._loop.call_later(0.2, self._transport.close)


def test_a_node_that_dies_before_its_welcome_is_noticed(tmp_path: Path) -> None:
    """Found by kill -9 in the middle of a handshake: nothing was left to send again, so nothing told the client."""
    tls = load_or_create_certificate(tmp_path / "tls", NOW)
    load_or_create_token(tmp_path)

    async def die() -> None:
        configuration = QuicConfiguration(is_client=False, alpn_protocols=[ALPN])
        configuration.load_cert_chain(str(tls.certificate), str(tls.key))
        bound = open_socket("127.0.0.1", 0)
        port = bound.getsockname()[1]
        bound.close()
        await serve("127.0.0.1", port, configuration=configuration, create_protocol=Mute)
        with pytest.raises(zvmd.ConnectionFailed) as lost:
            await zvmd.connect(f"quic://127.0.0.1:{port}", data_dir=tmp_path, timeout=20)
        assert lost.value.code == "client.refused"

    asyncio.run(die())


def test_a_node_that_stops_in_order_is_noticed_without_noise(library: str, tmp_path: Path) -> None:
    """Found by SIGTERM under load: what was sent between the node's farewell and its end raised in the event loop."""

    async def work(server: Server) -> None:
        client, errors = await server.client(), []
        asyncio.get_running_loop().set_exception_handler(lambda _, context: errors.append(context))
        server.listener.close()
        await asyncio.sleep(0.02)
        with pytest.raises(zvmd.ConnectionFailed):
            await client.rpc("eth_chainId")
        assert errors == []

    run(tmp_path, library, work)
