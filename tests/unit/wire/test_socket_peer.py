"""The frames of zvmd/1 on a unix socket: the same answers and limits as over QUIC, and ends that free their places."""

from __future__ import annotations

import asyncio
import gc
import os
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import msgspec
import pytest
import uvloop

import zvmd
from node.auth.unix_sockets import open_socket, user_of
from node.doors.doors import Doors
from node.doors.limits import DoorLimits
from node.doors.rule import GuardRules
from node.rpc.service import RpcService
from node.wire.connection import ServerConnection
from node.wire.limits import WireLimits
from node.wire.socket_peer import SocketListener, SocketPeer, serve_socket
from tests.unit.gateway.test_connections import Generous, until
from tests.unit.rpc.held_backend import Held
from tests.unit.rpc.memory_backend import MemoryBackend, rpc_service
from tests.unit.wire.listening import frame
from zvmd.frames import Answer, FrameBuffer, decode_answer

TOKEN = "the node's own"
SHARE = "zvs-share"
HELLO = frame(0, 1, b"", "test")
CHAIN_ID = frame(1, 7, "eth_chainId", [])
CALL = frame(2, 9, b"\x01" * 20)
PATIENT = WireLimits(hello_within_s=60.0)
"""For clients on a machine that does other work."""
OTHER_USER = os.geteuid() + 12_345


class Server(msgspec.Struct):
    """A listener over a memory backend."""

    listener: SocketListener
    service: RpcService
    backend: MemoryBackend
    path: Path

    async def client(self, token: str | None = None, timeout: float = 20.0) -> zvmd.Client:
        return await zvmd.connect(f"unix://{self.path}", token=token, timeout=timeout)

    async def peer(self, *frames: bytes, receive_buffer: int = 0) -> Peer:
        plain = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        plain.setblocking(False)
        if receive_buffer:
            plain.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        await asyncio.get_running_loop().sock_connect(plain, os.fspath(self.path))
        peer = Peer(*await asyncio.open_unix_connection(sock=plain, limit=receive_buffer or 2**16))
        peer.send(*frames)
        return peer


class Peer:
    """A client without manners."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer
        self._buffer = FrameBuffer(2**30)
        self._heard: list[Answer] = []

    def send(self, *frames: bytes) -> None:
        for part in frames:
            self.writer.write(part)

    async def answer(self) -> Any:
        """The next message."""
        async with asyncio.timeout(20):
            while not self._heard:
                data = await self.reader.read(65_536)
                assert data, "closed without a word"
                self._heard += map(decode_answer, self._buffer.feed(data))
        return self._heard.pop(0)

    async def ended(self) -> str:
        """The slug with which the node ends the connection."""
        async with asyncio.timeout(20):
            rest = await self.reader.read()
        self.writer.close()
        got = [*self._heard, *map(decode_answer, self._buffer.feed(rest))][-1]
        assert isinstance(got, zvmd.frames.Failure)
        assert got.id == 0
        return got.code


@asynccontextmanager
async def serving(
    folder: Path, limits: WireLimits | None, backend: MemoryBackend, user: int | None
) -> AsyncIterator[Server]:
    service = rpc_service(backend)
    rules, quick = GuardRules(uid=os.geteuid()), DoorLimits(failure_delay_s=0.05)
    doors = Doors(rules, TOKEN.__eq__, SHARE.__eq__, quick)
    file = open_socket(folder / "zvmd.sock", owned=True)
    whose = user_of if user is None else lambda _: user
    listener = await serve_socket(service, file, limits or PATIENT, doors, whose)
    try:
        yield Server(listener, service, backend, file.path)
        await until(lambda: not listener.connections)
    finally:
        listener.close()
        service.close()
    assert not file.path.exists()


def tried(
    folder: Path,
    work: Callable[[Server], Awaitable[None]],
    limits: WireLimits | None = None,
    backend: MemoryBackend | None = None,
    user: int | None = None,
) -> None:
    async def run() -> None:
        async with asyncio.timeout(60), serving(folder, limits, backend or MemoryBackend(), user) as server:
            await work(server)

    uvloop.run(run())


def test_large_frames_are_decoded_elsewhere_and_answered_also_behind_the_end(tmp_path: Path) -> None:
    size = 400_000

    async def work(server: Server) -> None:
        large = frame(1, 7, "web3_sha3", ["0x" + "00" * 200_000])
        peer = await server.peer(HELLO, size.to_bytes(4, "big") + b"\xc1" * size, HELLO)
        peer.send(frame(2, 9, b"\x01" * 20, bytes(size)), large, frame(1, 8, "eth_chainId", []))
        await peer.answer()
        (line,) = server.listener._places
        answers = [await peer.answer() for _ in range(5)]
        assert {getattr(answer, "code", "") for answer in answers} == {"", "wire.malformed", "wire.hello_again"}
        assert sorted(answer.id for answer in answers) == [0, 0, 7, 8, 9]
        await until(lambda: not line._in_flight_bytes)
        assert not line._state.in_flight
        peer.send(large)
        peer.writer.write_eof()
        assert (await peer.answer()).id == 7
        assert await peer.reader.read() == b""
        peer.writer.close()

    tried(tmp_path, work)


@pytest.mark.parametrize("token", [None, TOKEN])
def test_the_sdk_calls_and_hears_events(tmp_path: Path, token: str | None) -> None:
    async def work(server: Server) -> None:
        client = await server.client(token)
        assert (client.chain_id, await client.rpc("eth_chainId")) == (31337, "0x7a69")
        events = client.events("heads", cursor=(0, 0))
        await server.backend.mine(3)
        assert [(await anext(events)).cursor[0] for _ in range(3)] == [1, 2, 3]
        data = os.urandom(1_500_000)
        assert await asyncio.gather(*(client.call_raw(b"\x01" * 20, data) for _ in range(4))) == [data] * 4
        assert len(set(await asyncio.gather(*(client.rpc("eth_blockNumber") for _ in range(3_000))))) == 1
        await events.aclose()  # type: ignore[attr-defined]
        await client.close()
        with pytest.raises(zvmd.ConnectionFailed):
            await client.rpc("eth_chainId")

    tried(tmp_path, work)


def test_a_wrong_token_counts_although_none_is_needed(tmp_path: Path) -> None:
    async def work(server: Server) -> None:
        for _ in range(8):  # of which the last ones are answered a little later
            with pytest.raises(zvmd.WrongToken):
                await server.client("guess")

    tried(tmp_path, work)


def test_a_share_token_opens_its_session_only(tmp_path: Path) -> None:
    async def work(server: Server) -> None:
        client = await server.client(SHARE)
        with pytest.raises(zvmd.GuestRefused):
            await client.rpc("eth_chainId")
        await client.close()

    tried(tmp_path, work)


def test_another_user_is_refused_and_told_so(tmp_path: Path) -> None:
    async def work(server: Server) -> None:
        with pytest.raises(zvmd.errors.IpcUserRefused) as caught:
            await server.client()
        assert caught.value.hint

    tried(tmp_path, work, PATIENT, user=OTHER_USER)


@pytest.mark.parametrize("user", [None, OTHER_USER])
def test_silence_ends(tmp_path: Path, user: int | None) -> None:
    async def work(server: Server) -> None:
        assert await (await server.peer()).ended() == "wire.hello_late"

    tried(tmp_path, work, WireLimits(hello_within_s=0.2), user=user)


def test_root_comes_in(tmp_path: Path) -> None:
    async def work(server: Server) -> None:
        client = await server.client()
        assert await client.rpc("eth_chainId") == "0x7a69"
        await client.close()

    tried(tmp_path, work, user=0)


ENDS = {
    "a call before Hello": (CHAIN_ID, "wire.hello_missing"),
    "JSON": (b'{"jsonrpc":"2.0","id":1,"method":"eth_chainId"}', "wire.frame_size"),
    "NUL bytes": (bytes(64), "wire.hello_missing"),
    "another version": (frame(0, 2, b"", "test"), "wire.version"),
    "a large Hello": (frame(0, 1, b"t" * 5_000, "test")[:4_000], "wire.hello_missing"),
    "a frame too large": (HELLO + (2**31).to_bytes(4, "big"), "wire.frame_size"),
    "no frame": (HELLO + frame(99) * 17, "wire.malformed_often"),
}


@pytest.mark.parametrize("name", ENDS)
def test_an_end_has_its_reason(tmp_path: Path, name: str) -> None:
    sent, slug = ENDS[name]

    async def work(server: Server) -> None:
        healthy = await server.client()
        assert await (await server.peer(sent)).ended() == slug
        assert await healthy.rpc("eth_chainId") == "0x7a69"
        await healthy.close()

    tried(tmp_path, work, PATIENT)


def test_a_timer_that_is_early_ends_a_silent_peer_all_the_same(tmp_path: Path) -> None:
    """uvloop's timers may come a millisecond before their time: the peer was then never looked at again."""

    async def work(server: Server) -> None:
        peer = await server.peer()
        await until(lambda: server.listener.connections == 1)
        (served,) = server.listener._places
        served._hello_expired()
        assert await peer.ended() == "wire.hello_late"

    tried(tmp_path, work, PATIENT)


def test_frames_in_single_bytes_and_what_cannot_be_read_between_them(tmp_path: Path) -> None:
    async def work(server: Server) -> None:
        peer = await server.peer()
        for byte in HELLO + CHAIN_ID + frame(99) + CHAIN_ID:
            peer.send(bytes([byte]))
            await asyncio.sleep(0)
        assert (await peer.answer()).chain_id == 31337
        assert [getattr(await peer.answer(), "value", "refused") for _ in range(3)] == ["0x7a69", "refused", "0x7a69"]
        peer.writer.close()

    tried(tmp_path, work)


def test_who_sends_no_more_gets_the_answers(tmp_path: Path) -> None:
    backend = Held()

    async def work(server: Server) -> None:
        peer = await server.peer(HELLO, frame(7, 5, "heads"), CALL, CHAIN_ID)
        await until(lambda: backend.begun > 0)
        peer.writer.write_eof()
        await until(lambda: not next(iter(server.listener._places)).subscriptions)
        backend.free.set()
        kinds = [type(await peer.answer()).__name__ for _ in range(4)]
        assert kinds == ["Welcome", "Subscribed", "Result", "CallOutcome"]
        assert await peer.reader.read() == b""
        peer.writer.close()

    tried(tmp_path, work, backend=backend)


def test_a_stream_that_ends_inside_a_frame(tmp_path: Path) -> None:
    async def work(server: Server) -> None:
        peer = await server.peer(HELLO, CHAIN_ID[:-1])
        peer.writer.write_eof()
        assert await peer.ended() == "wire.truncated"

    tried(tmp_path, work)


def test_nothing_is_done_for_who_has_gone(tmp_path: Path) -> None:
    backend = Held()

    async def work(server: Server) -> None:
        peer = await server.peer(HELLO, frame(7, 5, "heads"), CALL)
        await until(lambda: backend.begun > 0)
        peer.writer.close()
        await until(lambda: server.service.readers.status()["busy"] == 0)
        assert server.service.readers.status()["stopped"] == 1

    tried(tmp_path, work, backend=backend)


def test_who_does_not_read_is_read_no_more(tmp_path: Path) -> None:
    """Requests are taken as fast as their answers are: nothing piles up for a peer that takes none."""
    sent = 0

    async def work(server: Server) -> None:
        peer = await server.peer(HELLO, receive_buffer=4_096)

        async def flood() -> None:
            nonlocal sent
            while sent < 2**28:
                peer.send(CALL * 100)
                await peer.writer.drain()
                sent += len(CALL) * 100

        flooding = asyncio.create_task(flood())
        await until(lambda: server.listener.connections > 0)
        (served,) = server.listener._places
        await until(lambda: not served._drained.is_set() and not served._is_reading)
        waiting = served._transport.get_write_buffer_size()
        assert waiting < 64 * 2**20
        flooding.cancel()
        peer.writer.transport.abort()

    tried(tmp_path, work, WireLimits(in_flight_max=8, hello_within_s=60.0), Generous())
    assert sent < 2**28


def test_a_reader_that_falls_too_far_behind_ends(tmp_path: Path) -> None:
    async def work(server: Server) -> None:
        peer = await server.peer(HELLO, CALL * 8, receive_buffer=4_096)
        await until(lambda: server.listener.connections > 0)
        await until(lambda: not server.listener.connections)
        peer.writer.transport.abort()

    tried(tmp_path, work, WireLimits(unconfirmed_max_bytes=2**20, hello_within_s=60.0), Generous())


def test_many_requests_at_once_wait_instead_of_being_refused(tmp_path: Path) -> None:
    async def work(server: Server) -> None:
        peer = await server.peer(HELLO, CALL * 5_000)
        await peer.answer()
        kinds = {type(await peer.answer()).__name__ for _ in range(5_000)}
        assert kinds == {"CallOutcome"}
        peer.writer.close()

    tried(tmp_path, work, WireLimits(in_flight_max=2_048, hello_within_s=60.0))


def test_a_peer_without_hello_makes_room_and_one_with_it_does_not(tmp_path: Path) -> None:
    async def work(server: Server) -> None:
        silent = await server.peer()
        await until(lambda: server.listener.connections == 1)
        clients = [await server.client() for _ in range(2)]
        assert await silent.ended() == "wire.place"
        with pytest.raises(zvmd.ConnectionFailed) as caught:
            await server.client()
        assert caught.value.code == "wire.place"
        for client in clients:
            assert await client.rpc("eth_chainId") == "0x7a69"
            await client.close()

    tried(tmp_path, work, WireLimits(connections_max=2, connections_per_address_max=2, hello_within_s=60.0))


def test_an_ended_connection_leaves_nothing_that_only_the_garbage_collector_finds(tmp_path: Path) -> None:
    async def work(server: Server) -> None:
        gc.collect()
        gc.disable()
        try:
            client = await server.client()
            events = client.events("heads", cursor=(0, 0))
            await server.backend.mine()
            await anext(events)
            assert await client.rpc("eth_chainId") == "0x7a69"
            await client.close()
            peer = await server.peer(HELLO, CALL)
            await peer.answer()
            peer.writer.transport.abort()
            kinds = (SocketPeer, ServerConnection)
            await until(lambda: not [one for one in gc.get_objects() if isinstance(one, kinds)])
        finally:
            gc.enable()

    tried(tmp_path, work, backend=Generous())


def test_a_client_of_the_json_socket_is_told_which_one_to_take(tmp_path: Path) -> None:
    async def run() -> None:
        async def answer(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            writer.write(b'{"jsonrpc":"2.0","id":null,"error":{}}\n')
            writer.close()

        async with await asyncio.start_unix_server(answer, tmp_path / "zvmd.ipc"):
            with pytest.raises(zvmd.ConnectionFailed) as caught:
                await zvmd.connect(f"unix:{tmp_path}/zvmd.ipc", timeout=20.0)
        assert (caught.value.code, ".sock" in caught.value.hint) == ("client.protocol", True)

    asyncio.run(run())


def test_answers_that_nobody_takes_are_counted_and_end_the_connection(tmp_path: Path) -> None:
    """They were neither: a connection held 64 MB for as long as it liked."""

    async def work(server: Server) -> None:
        peer = await server.peer(HELLO, CALL, receive_buffer=4_096)
        held = server.service.held
        await until(lambda: held.used > 2_000_000)
        other = await server.client()
        assert await other.rpc("eth_chainId") == "0x7a69"
        await until(lambda: server.listener.connections == 1)
        assert held.used == 0
        assert await other.rpc("eth_chainId") == "0x7a69"
        await other.close()
        peer.writer.transport.abort()

    tried(tmp_path, work, WireLimits(hello_within_s=60.0, take_answer_s=0.5), Generous())
