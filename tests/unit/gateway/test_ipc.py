"""JSON-RPC on a unix socket: geth's framing, what a peer may hold, and who is let in."""

from __future__ import annotations

import asyncio
import gc
import json
import os
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import uvloop

from node.auth.unix_sockets import open_socket, user_of
from node.doors.doors import Doors
from node.doors.rule import GuardRules
from node.gateway.ipc import IpcLine, IpcListener, serve_ipc
from node.gateway.limits import HttpLimits
from node.gateway.link import ClientLink
from node.gateway.subscriptions import RpcConnection
from node.rpc.limits import RpcLimits
from node.rpc.service import RpcService
from tests.unit.gateway.test_connections import SLOW, Generous, until
from tests.unit.gateway.wire import CALL
from tests.unit.rpc.held_backend import Held
from tests.unit.rpc.memory_backend import MemoryBackend, rpc_service

QUICK = HttpLimits(request_s=0.3, linger_s=0.5, look_every_s=0.05)
BODY_MAX = 100_000
Work = Callable[["Peers", IpcListener, RpcService], Awaitable[None]]


class Peer:
    """A connection of a test."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer

    def send(self, *parts: bytes) -> None:
        for part in parts:
            self.writer.write(part)

    async def answer(self) -> Any:
        """The next line."""
        async with asyncio.timeout(20):
            line = await self.reader.readline()
        assert line.endswith(b"\n"), f"closed behind {line!r}"
        return json.loads(line)

    async def refusal(self) -> tuple[str, int]:
        """Slug and code of an error after which the connection ends."""
        answer = await self.answer()
        assert answer["id"] is None
        async with asyncio.timeout(20):
            assert await self.reader.read() == b""
        self.writer.close()
        return answer["error"]["data"]["code"], answer["error"]["code"]


class Peers:
    """Where they connect."""

    def __init__(self, path: Path) -> None:
        self.path = path

    async def one(self, receive_buffer: int = 0) -> Peer:
        plain = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        plain.setblocking(False)
        if receive_buffer:
            plain.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        await asyncio.get_running_loop().sock_connect(plain, os.fspath(self.path))
        limit = receive_buffer or 2**26
        return Peer(*await asyncio.open_unix_connection(sock=plain, limit=limit))


@asynccontextmanager
async def serving(
    folder: Path, limits: HttpLimits | None, backend: MemoryBackend | None, rpc: RpcLimits | None, user: int | None
) -> AsyncIterator[tuple[Peers, IpcListener, RpcService]]:
    service = rpc_service(backend or MemoryBackend(), rpc or RpcLimits(body_size_max_bytes=BODY_MAX))
    doors = Doors(GuardRules(uid=os.geteuid()))
    file = open_socket(folder / "zvmd.ipc", owned=True)
    whose = user_of if user is None else lambda _: user
    listener = await serve_ipc(service, file, doors, limits or HttpLimits(), whose)
    try:
        yield Peers(file.path), listener, service
    finally:
        await listener.close()
        service.close()
    assert not file.path.exists()


def tried(
    folder: Path,
    work: Work,
    limits: HttpLimits | None = None,
    backend: MemoryBackend | None = None,
    rpc: RpcLimits | None = None,
    user: int | None = None,
) -> None:
    async def run() -> None:
        async with asyncio.timeout(60), serving(folder, limits, backend, rpc, user) as given:
            await work(*given)

    uvloop.run(run())


def call(method: str, *params: Any, request_id: int = 1) -> bytes:
    return json.dumps({"jsonrpc": "2.0", "id": request_id, "method": method, "params": params}).encode()


@pytest.mark.parametrize("between", [b"", b"\n", b"\r\n \t"])
def test_requests_follow_each_other_in_any_pieces(tmp_path: Path, between: bytes) -> None:
    async def work(peers: Peers, listener: IpcListener, service: RpcService) -> None:
        peer = await peers.one()
        sent = between.join(call("eth_chainId", request_id=number) for number in range(40))
        peer.send(sent)
        assert [(await peer.answer())["id"] for _ in range(40)] == list(range(40))
        for byte in call("eth_chainId") + between:
            peer.send(bytes([byte]))
            await asyncio.sleep(0)
        assert (await peer.answer())["result"] == "0x7a69"
        peer.writer.close()
        await until(lambda: not len(listener.connections))

    tried(tmp_path, work)


def test_batches_notifications_and_errors(tmp_path: Path) -> None:
    async def work(peers: Peers, listener: IpcListener, service: RpcService) -> None:
        peer = await peers.one()
        notification = b'{"jsonrpc":"2.0","method":"eth_chainId"}'
        batch = b"[" + call("eth_chainId", request_id=7) + b"," + notification + b"," + call("eth_nope") + b"]"
        peer.send(notification, batch, b"[]", b'{"id":5}', b"{nonsense}", call("eth_chainId", request_id=9))
        answers = {json.dumps(answer): answer for answer in [await peer.answer() for _ in range(5)]}.values()
        found = next(answer for answer in answers if isinstance(answer, list))
        assert [(one["id"], "error" in one) for one in found] == [(7, False), (1, True)]
        codes = sorted(answer["error"]["code"] for answer in answers if isinstance(answer, dict) and "error" in answer)
        assert codes == [-32700, -32600, -32600]
        assert {"jsonrpc": "2.0", "id": 9, "result": "0x7a69"} in list(answers)
        peer.writer.close()

    tried(tmp_path, work)


def test_subscriptions_begin_behind_their_answers_and_end(tmp_path: Path) -> None:
    backend = MemoryBackend()

    async def work(peers: Peers, listener: IpcListener, service: RpcService) -> None:
        peer = await peers.one()
        peer.send(call("eth_subscribe", "newHeads", {"cursor": [0, 0]}))
        await backend.mine()
        name = (await peer.answer())["result"]
        event = (await peer.answer())["params"]
        assert (event["subscription"], event["result"]["number"], event["cursor"]) == (name, "0x1", [1, 2**53 - 1])
        peer.send(call("eth_unsubscribe", name))
        assert (await peer.answer())["result"] is True
        await backend.mine()
        peer.send(call("eth_blockNumber"))
        assert (await peer.answer())["result"] == "0x2"
        peer.writer.close()

    tried(tmp_path, work, backend=backend)


GARBAGE = {
    "a bare word": (b"hello\n", "rpc.parse"),
    "a number": (b"1", "rpc.parse"),
    "NUL bytes": (bytes(100), "rpc.parse"),
    "a request, then NUL bytes": (b'{"jsonrpc":\x00', None),
    "a NUL inside a string": (b'{"a":"\x00"}', "rpc.parse"),
    "HTTP": (b"POST / HTTP/1.1\r\nHost: localhost\r\n\r\n", "rpc.parse"),
    "frames of zvmd/1": (bytes.fromhex("0000000f940001c406736563726574a3646f63"), "rpc.parse"),
    "the wrong bracket": (b'{"a":[}', "rpc.parse"),
    "a string over a line's end": (b'{"method":"eth_\n', "rpc.parse"),
    "too many bytes": (b"[" + b" " * BODY_MAX + b"]", "rpc.too_large"),
    "brackets without end": (b"[" * (BODY_MAX + 1), "rpc.too_large"),
}


@pytest.mark.parametrize("name", GARBAGE)
def test_garbage_is_refused_and_ends_its_connection(tmp_path: Path, name: str) -> None:
    sent, slug = GARBAGE[name]

    async def work(peers: Peers, listener: IpcListener, service: RpcService) -> None:
        healthy, peer = await peers.one(), await peers.one()
        healthy.send(CALL)
        peer.send(sent)
        if slug is None:  # not refused as long as it may become a request
            peer.send(b"]")
        assert (await peer.refusal())[0] == (slug or "rpc.parse")
        assert (await healthy.answer())["result"] == "0x7a69"
        healthy.writer.close()

    tried(tmp_path, work)


def test_deep_nesting_costs_its_request_only(tmp_path: Path) -> None:
    async def work(peers: Peers, listener: IpcListener, service: RpcService) -> None:
        peer = await peers.one()
        peer.send(b"[" * 20_000 + b"]" * 20_000, CALL)
        answers = [await peer.answer() for _ in range(2)]
        assert sorted("result" in answer for answer in answers) == [False, True]
        refused = next(answer for answer in answers if "error" in answer)
        assert refused["error"]["data"]["code"] == "rpc.too_large"
        peer.writer.close()

    tried(tmp_path, work)


def test_a_stream_without_an_end_is_refused_and_its_bytes_are_not_kept(tmp_path: Path) -> None:
    """Whoever sends a gigabyte without a line's end is answered after the first bytes that are too many."""

    async def work(peers: Peers, listener: IpcListener, service: RpcService) -> None:
        peer, sent = await peers.one(), 0
        peer.send(b'["')
        try:
            while sent < 1 << 30:
                peer.send(b"a" * 2**20)
                await peer.writer.drain()
                sent += 2**20
        except ConnectionError:
            pass
        assert sent < 1 << 30
        await until(lambda: not len(listener.connections))
        assert service.held.bound()[0] == 0
        peer.writer.transport.abort()

    tried(tmp_path, work, QUICK)


def test_half_a_request_and_then_silence(tmp_path: Path) -> None:
    async def work(peers: Peers, listener: IpcListener, service: RpcService) -> None:
        idle, peer, served = await peers.one(), await peers.one(), await peers.one()
        served.send(CALL)
        await served.answer()
        peer.send(CALL[:-3])
        assert await peer.refusal() == ("rpc.parse", -32700)
        for other in (idle, served):  # nobody is asked to talk
            other.send(CALL)
            assert (await other.answer())["result"] == "0x7a69"
            other.writer.close()

    tried(tmp_path, work, QUICK)


def test_who_sends_no_more_gets_the_answers(tmp_path: Path) -> None:
    async def work(peers: Peers, listener: IpcListener, service: RpcService) -> None:
        peer = await peers.one()
        peer.send(call("eth_subscribe", "newHeads"), SLOW, CALL * 30)
        peer.writer.write_eof()
        lines = (await peer.reader.read()).splitlines()
        assert len(lines) == 32
        assert max(map(len, lines)) > 6_000_000
        await until(lambda: not len(listener.connections))

    tried(tmp_path, work, backend=Generous(), rpc=RpcLimits())


def test_a_stream_that_ends_inside_a_request(tmp_path: Path) -> None:
    async def work(peers: Peers, listener: IpcListener, service: RpcService) -> None:
        peer = await peers.one()
        peer.send(CALL, CALL[:-1])
        peer.writer.write_eof()
        assert (await peer.answer())["result"] == "0x7a69"
        assert await peer.refusal() == ("rpc.parse", -32700)

    tried(tmp_path, work)


def test_nothing_is_done_for_who_has_gone(tmp_path: Path) -> None:
    backend = Held()

    async def work(peers: Peers, listener: IpcListener, service: RpcService) -> None:
        peer = await peers.one()
        peer.send(SLOW)
        await until(lambda: backend.begun > 0)
        peer.writer.close()
        await until(lambda: not len(listener.connections))
        await until(lambda: service.readers.status()["busy"] == 0)
        assert service.readers.status()["stopped"] == 1

    tried(tmp_path, work, backend=backend)


async def entered(listener: IpcListener) -> list[ClientLink]:
    """The connections, of which there is one or more."""
    await until(lambda: len(listener.connections) > 0)
    return [link for link in listener.connections._members if isinstance(link, ClientLink)]


def test_who_reads_late_gets_each_answer_once(tmp_path: Path) -> None:
    """More answers than the socket takes: some begin to wait when they have been handed over already."""

    async def work(peers: Peers, listener: IpcListener, service: RpcService) -> None:
        peer, count = await peers.one(receive_buffer=4_096), 3_000
        sending = asyncio.create_task(send(peer, count))
        (link,) = await entered(listener)
        await until(lambda: link.is_behind)
        answers = [await peer.answer() for _ in range(count)]
        assert sorted(answer["id"] for answer in answers) == list(range(count))
        await sending
        peer.writer.write_eof()
        assert await peer.reader.read() == b""

    async def send(peer: Peer, count: int) -> None:
        for number in range(count):
            peer.send(call("rpc_modules", request_id=number))
            await peer.writer.drain()

    tried(tmp_path, work)


def test_who_does_not_read_is_not_read_and_ends(tmp_path: Path) -> None:
    async def work(peers: Peers, listener: IpcListener, service: RpcService) -> None:
        peer = await peers.one(receive_buffer=4_096)
        try:
            async with asyncio.timeout(20):
                while True:
                    peer.send(CALL * 1_000)
                    await peer.writer.drain()
        except ConnectionError:
            pass
        await until(lambda: not len(listener.connections))
        assert service.held.bound()[0] == 0
        peer.writer.transport.abort()

    tried(tmp_path, work, HttpLimits(take_answer_s=0.5, look_every_s=0.05))


def test_unread_answers_of_one_connection_leave_room_for_others(tmp_path: Path) -> None:
    async def work(peers: Peers, listener: IpcListener, service: RpcService) -> None:
        peer = await peers.one(receive_buffer=4_096)
        peer.send(SLOW * 20)
        await until(lambda: service.held.bound()[0] > 0)
        await until(lambda: service.readers.bound()[0] == 0)
        used_bytes, most = service.held.bound()
        assert 0 < used_bytes <= most / 2
        peer.writer.transport.abort()
        await until(lambda: service.held.bound()[0] == 0)

    tried(tmp_path, work, backend=Generous(), rpc=RpcLimits(held_max_bytes=40_000_000))


def test_no_more_is_read_than_can_be_answered(tmp_path: Path) -> None:
    backend = Held()

    async def work(peers: Peers, listener: IpcListener, service: RpcService) -> None:
        peer = await peers.one()
        peer.send(SLOW.ljust(90_000) * 20)
        await until(lambda: backend.begun > 0)
        assert service.held.bound()[0] < 400_000
        backend.free.set()
        for _ in range(20):
            assert (await peer.answer())["result"] == "0x2a"
        await until(lambda: service.held.bound()[0] == 0)
        peer.writer.close()

    tried(tmp_path, work, HttpLimits(messages_unanswered_bytes_max=200_000), backend)


def test_more_connections_than_places(tmp_path: Path) -> None:
    """The one that is idle for the longest makes room; if all are at work, the newcomer is answered so."""
    backend = Held()

    async def work(peers: Peers, listener: IpcListener, service: RpcService) -> None:
        busy = [await peers.one() for _ in range(2)]
        for count, peer in enumerate(busy, 1):
            peer.send(SLOW)
            await until(lambda count=count: backend.begun == count)  # type: ignore[misc]
        idle, newcomer = await peers.one(), await peers.one()
        newcomer.send(CALL)
        assert (await newcomer.answer())["result"] == "0x7a69"
        assert await idle.reader.read() == b""
        newcomer.send(SLOW)
        await until(lambda: backend.begun == 3)
        surplus = await peers.one()
        surplus.send(CALL)
        assert await surplus.refusal() == ("rpc.busy", -32005)
        backend.free.set()
        for peer in (*busy, newcomer):
            assert (await peer.answer())["result"] == "0x2a"
            peer.writer.close()

    tried(tmp_path, work, HttpLimits(connections_max=3), backend)


def test_another_user_is_refused_and_told_so(tmp_path: Path) -> None:
    async def work(peers: Peers, listener: IpcListener, service: RpcService) -> None:
        peer = await peers.one()
        peer.send(CALL)
        assert await peer.refusal() == ("ipc.user", -32001)
        silent = await peers.one()
        assert await silent.reader.read() == b""

    tried(tmp_path, work, QUICK, user=os.geteuid() + 12_345)


def test_root_may_do_everything(tmp_path: Path) -> None:
    async def work(peers: Peers, listener: IpcListener, service: RpcService) -> None:
        peer = await peers.one()
        peer.send(call("evm_mine"))
        assert (await peer.answer())["result"] == "0x0"
        peer.writer.close()

    tried(tmp_path, work, user=0)


def test_a_connection_leaves_nothing_that_only_the_garbage_collector_finds(tmp_path: Path) -> None:
    async def work(peers: Peers, listener: IpcListener, service: RpcService) -> None:
        gc.collect()
        gc.disable()
        try:
            for end in (b"", b"oops"):
                peer = await peers.one()
                peer.send(call("eth_subscribe", "newHeads"), CALL, SLOW)
                assert len([await peer.answer() for _ in range(3)]) == 3
                peer.send(end)
                peer.writer.close()
            kinds = (ClientLink, IpcLine, RpcConnection)
            await until(lambda: not [one for one in gc.get_objects() if isinstance(one, kinds)])
        finally:
            gc.enable()

    tried(tmp_path, work, QUICK, Generous(), RpcLimits())


def test_a_stop_lets_what_is_under_way_be_answered(tmp_path: Path) -> None:
    backend = Held()

    async def work(peers: Peers, listener: IpcListener, service: RpcService) -> None:
        peer, idle = await peers.one(), await peers.one()
        idle.send(call("eth_subscribe", "newHeads"))
        await idle.answer()
        peer.send(SLOW)
        await until(lambda: backend.begun > 0)
        closing = asyncio.create_task(listener.close())
        assert await idle.reader.read() == b""
        backend.free.set()
        assert (await peer.answer())["result"] == "0x2a"
        assert await peer.reader.read() == b""
        await closing
        with pytest.raises(OSError, match=r"No such file|refused"):
            await peers.one()

    tried(tmp_path, work, QUICK, backend)
