"""WebSocket frames by hand: what a peer may send is counted, what it leaves unread bounded, and each end has a code."""

from __future__ import annotations

import asyncio
import gc
import json
import socket
import tracemalloc
import warnings
import weakref
import zlib
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import replace
from typing import Any

import pytest
import uvloop
import websockets
from websockets.frames import Frame, Opcode
from websockets.streams import StreamReader

from chain.brief import before_long_work
from node.api.types import CallResult
from node.gateway.exchange import HttpExchange
from node.gateway.kinds import Notification
from node.gateway.limits import HttpLimits
from node.gateway.link import ClientLink
from node.gateway.listener import Gateway
from node.gateway.subscriptions import RpcConnection, _sent
from node.gateway.websocket import FrameAllowance, WebSocketLine
from node.rpc.caller import NODE
from node.rpc.limits import RpcLimits
from node.rpc.service import RpcService
from node.rpc.work import ConnectedClient, Work, current_work
from tests.jumping_loop import JumpingLoop, skip
from tests.unit.gateway.test_connections import SLOW, Generous, HeldGenerous, until, used
from tests.unit.gateway.wire import CALL, LATER, pass_time, serving
from tests.unit.rpc.held_backend import Held
from tests.unit.rpc.memory_backend import MemoryBackend

UPGRADE = (
    b"GET /ws HTTP/1.1\r\nHost: localhost\r\nConnection: keep-alive, Upgrade\r\nUpgrade: websocket\r\n"
    b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
)


def frame(opcode: Opcode, data: bytes = b"", fin: bool = True, rsv1: bool = False) -> bytes:
    return Frame(opcode, data, fin, rsv1).serialize(mask=True) if not rsv1 else _raw(opcode, data, fin)


def _raw(opcode: Opcode, data: bytes, fin: bool) -> bytes:
    """A compressed frame."""
    assert len(data) < 65_536
    length = bytes([0x80 | len(data)]) if len(data) < 126 else b"\xfe" + len(data).to_bytes(2, "big")
    return bytes([0x40 | opcode | (0x80 if fin else 0)]) + length + bytes(4) + data


class Peer:
    """A WebSocket by hand."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer
        self._received = StreamReader()

    @classmethod
    async def of(cls, gateway: Gateway, *headers: bytes, behind: bytes = b"", receive_buffer: int = 0) -> Peer:
        """Connected; ``behind`` is sent with the handshake at once."""
        plain = socket.socket()
        if receive_buffer:
            plain.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        plain.setblocking(False)
        await asyncio.get_running_loop().sock_connect(plain, gateway.address)
        reader, writer = await asyncio.open_connection(sock=plain, limit=2_048 if receive_buffer else 2**16)
        writer.write(UPGRADE + b"".join(header + b"\r\n" for header in headers) + b"\r\n" + behind)
        head = await reader.readuntil(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 101 "), head
        return cls(reader, writer)

    def send(self, data: bytes) -> None:
        self.writer.write(data)

    async def frame(self) -> Frame:
        """The next frame."""
        parsing = Frame.parse(self._received.read_exact, mask=False)
        while True:
            try:
                next(parsing)
            except StopIteration as done:
                result: Frame = done.value
                return result
            more = await self.reader.read(65_536)
            assert more, "closed without a word"
            self._received.feed_data(more)

    async def close_code(self) -> int:
        """The code with which the node closes, whatever it sends before."""
        while (got := await self.frame()).opcode is not Opcode.CLOSE:
            pass
        assert await self.reader.read() == b""
        self.writer.close()
        return int.from_bytes(got.data[:2], "big")


def tried(
    work: Callable[[Gateway, RpcService], Awaitable[None]],
    limits: HttpLimits | None = None,
    backend: MemoryBackend | None = None,
    rpc: RpcLimits | None = None,
) -> None:
    async def run() -> None:
        rpc_limits = rpc or RpcLimits(body_size_max_bytes=100_000)
        async with asyncio.timeout(60), serving(limits, backend, rpc=rpc_limits) as (gateway, service):
            await work(gateway, service)

    uvloop.run(run())


TEXT, BINARY, CONT, PING, PONG = Opcode.TEXT, Opcode.BINARY, Opcode.CONT, Opcode.PING, Opcode.PONG
ENDS: dict[str, tuple[bytes, int]] = {
    "empty fragments": (frame(TEXT, b"", fin=False) + frame(CONT, b"", fin=False) * 3_000, 1008),
    "fragments of a byte": (frame(TEXT, b"[", fin=False) + frame(CONT, b" ", fin=False) * 3_000, 1008),
    "pings": (frame(PING, b"a" * 125) * 3_000, 1008),
    "pongs": (frame(PONG) * 3_000, 1008),
    "empty final fragments": ((frame(TEXT, b"", fin=False) + frame(CONT, CALL)) * 3_000, 1008),
    "a message too large": (frame(TEXT, bytes(100_001)), 1009),
    "too large in fragments": (frame(TEXT, bytes(60_000), fin=False) + frame(CONT, bytes(60_000)), 1009),
    "a length of 2**63": (b"\x81\xff" + b"\x7f" * 8 + bytes(4), 1009),
    "no mask": (b"\x81\x02{}", 1002),
    "an unknown opcode": (b"\x83\x80" + bytes(4), 1002),
    "reserved bits": (b"\xb1\x80" + bytes(4), 1002),
    "a continuation of nothing": (frame(CONT, b"a"), 1002),
    "a message within a message": (frame(TEXT, b"[", fin=False) + frame(TEXT, b"]"), 1002),
    "a fragmented ping": (b"\x09\x80" + bytes(4), 1002),
    "a long ping": (b"\x89\xfe\x00\x7e" + bytes(4) + bytes(126), 1002),
    "compression that was not agreed on": (frame(TEXT, b"a", rsv1=True), 1002),
    "a message that does not end": (frame(TEXT, b"[", fin=False), 1008),
    "a frame that does not end": (frame(TEXT, CALL)[:-3], 1008),
    "a frame of a byte": (b"\x81", 1008),
    "a close of a byte": (b"\x88\x81" + bytes(4) + b"\x03", 1002),
    "a close that no peer may send": (frame(Opcode.CLOSE, (1005).to_bytes(2, "big")), 1002),
    "a close whose reason is no text": (frame(Opcode.CLOSE, b"\x03\xe8\xff"), 1007),
    "a close, then a call": (frame(Opcode.CLOSE, b"\x03\xe8") + frame(TEXT, CALL), 1000),
    "a close with a bad code": (frame(Opcode.CLOSE, b"\x00\x01"), 1002),
    "a close": (frame(Opcode.CLOSE, (1000).to_bytes(2, "big")), 1000),
}  # fmt: skip

UNFINISHED = ("a message that does not end", "a frame that does not end", "a frame of a byte")


@pytest.mark.parametrize("name", ENDS)
def test_what_ends_a_websocket(name: str) -> None:
    sent, code = ENDS[name]

    async def work(gateway: Gateway, service: RpcService) -> None:
        peer = await Peer.of(gateway)
        peer.send(sent)
        if name in UNFINISHED:
            link: Any = next(iter(gateway.connections._members))
            await until(lambda: link._speaker._is_partial)
            pass_time(gateway, 16.0)
        assert await peer.close_code() == code
        await until(lambda: not len(gateway.connections))
        assert service.held.bound()[0] == 0

    tried(work, LATER)



@pytest.mark.parametrize("opcode", [TEXT, BINARY])
def test_messages_in_pieces_and_behind_the_handshake(opcode: Opcode) -> None:
    async def work(gateway: Gateway, service: RpcService) -> None:
        whole = frame(opcode, CALL[:5], fin=False) + frame(PING, b"p") + frame(CONT, CALL[5:])
        peer = await Peer.of(gateway, behind=whole + whole[:9])
        assert (await peer.frame()).data == b"p"
        assert json.loads((await peer.frame()).data)["result"] == "0x7a69"
        for byte in whole[9:]:
            peer.send(bytes([byte]))
            await asyncio.sleep(0)
        assert (await peer.frame()).data == b"p"
        assert json.loads((await peer.frame()).data)["result"] == "0x7a69"
        peer.writer.close()

    tried(work)


def test_an_allowance_comes_back_with_time() -> None:
    allowance = FrameAllowance(burst=3, per_second=2.0, now=0.0)
    assert [allowance.take(1, 0.0) for _ in range(4)] == [True, True, True, False]
    assert allowance.take(1, 1.0)
    assert not allowance.take(3, 1.5)


def test_a_silent_peer_is_asked_once_whether_it_is_there() -> None:
    async def work(gateway: Gateway, service: RpcService) -> None:
        peer = await Peer.of(gateway)
        for _ in range(3):
            pass_time(gateway, 21.0)
            ping = await peer.frame()
            assert ping.opcode is PING
            peer.send(frame(PONG, bytes(ping.data)) + frame(PING, b"p"))
            assert (await peer.frame()).data == b"p", "the node has had both"
        pass_time(gateway, 21.0)
        pass_time(gateway, 42.0)
        assert await peer.close_code() == 1011

    tried(work, LATER)


def test_a_peer_that_does_not_read_its_pongs_is_not_read_either() -> None:
    async def work(gateway: Gateway, service: RpcService) -> None:
        peer = await Peer.of(gateway, receive_buffer=4_096)
        pings = frame(PING, b"a" * 125) * 1_000
        try:
            async with asyncio.timeout(20):
                for _ in range(1_000):
                    peer.send(pings)
                    await peer.writer.drain()
        except ConnectionError:
            pass
        await until(lambda: not len(gateway.connections))
        peer.writer.transport.abort()

    tried(work, HttpLimits(take_answer_s=0.5, look_every_s=0.05, overhead_frames_burst=10**9))


def test_unread_answers_of_one_connection_leave_room_for_others() -> None:
    """They could hold as much as all connections together may."""

    async def work(gateway: Gateway, service: RpcService) -> None:
        peer = await Peer.of(gateway, receive_buffer=4_096)
        peer.send(frame(TEXT, SLOW) * 20)
        await until(lambda: service.held.bound()[0] > 6_000_000 and service.readers.bound()[0] == 0)
        used_bytes, most = service.held.bound()
        assert 0 < used_bytes <= most / 2
        peer.writer.transport.abort()
        await until(lambda: service.held.bound()[0] == 0)

    tried(work, backend=Generous(), rpc=RpcLimits(held_max_bytes=40_000_000))


def test_an_answer_for_which_there_is_no_room_is_not_kept() -> None:
    """The refusal waited behind what the peer did not read, and the answer with it: 1.5 GB beside 256 MB of limit."""
    backend = HeldGenerous()

    async def work(gateway: Gateway, service: RpcService) -> None:
        peers = [await Peer.of(gateway, receive_buffer=4_096) for _ in range(3)]
        for peer in peers:
            peer.send(frame(TEXT, SLOW) * 10)
        lines: list[Any] = [link._speaker for link in list[Any](gateway.connections._members)]
        await until(lambda: sum(line._requests.unanswered for line in lines) == 30)
        backend.free.set()
        await until(lambda: service.readers.bound()[0] == 0 and service.held.used > 15_000_000)
        await until(lambda: tracemalloc.get_traced_memory()[0] < 100_000_000)  # of 180 million
        for peer in peers:
            peer.writer.transport.abort()

    tracemalloc.start()
    try:
        tried(work, backend=backend, rpc=RpcLimits(held_max_bytes=20_000_000))
    finally:
        tracemalloc.stop()


def test_no_more_is_read_than_can_be_answered() -> None:
    """Messages of a few KB, compressed, became gigabytes."""
    backend = Held()

    async def work(gateway: Gateway, service: RpcService) -> None:
        peer = await Peer.of(gateway)
        peer.send(frame(TEXT, SLOW.ljust(90_000)) * 20)
        await until(lambda: service.held.bound()[0] > 100_000)
        await asyncio.sleep(0.2)
        assert service.held.bound()[0] < 400_000
        backend.free.set()
        for _ in range(20):
            assert json.loads((await peer.frame()).data)["result"] == "0x2a"
        await until(lambda: service.held.bound()[0] == 0)
        peer.writer.close()

    tried(work, HttpLimits(messages_unanswered_bytes_max=200_000), backend)


def test_a_message_that_waits_for_answers_before_it_is_not_late_and_its_peer_not_silent() -> None:
    backend = Held()

    async def work(gateway: Gateway, service: RpcService) -> None:
        peer = await Peer.of(gateway)
        last = frame(TEXT, CALL)
        peer.send(frame(TEXT, SLOW) + last[:-3])
        await until(lambda: backend.begun > 0)
        pass_time(gateway, 1_000.0)
        backend.free.set()
        assert json.loads((await peer.frame()).data)["result"] == "0x2a"
        peer.send(last[-3:])
        assert json.loads((await peer.frame()).data)["result"] == "0x7a69"
        peer.writer.close()

    tried(work, replace(LATER, messages_unanswered_max=1), backend)


class Nobody:
    """A channel to a peer that has gone."""

    def send_at_once(self, message: bytes) -> bool:
        return False

    async def send(self, message: bytes) -> None: ...


def test_nothing_is_held_for_a_message_whose_peer_goes_before_it_is_looked_at() -> None:
    """A task that is cancelled before its first step does not run its ``finally``."""

    async def work(gateway: Gateway, service: RpcService) -> None:
        session = RpcConnection(service, Nobody(), NODE, 10**9, lambda: None)
        session.receive(CALL.ljust(90_000))
        assert service.held.bound()[0] == 90_000
        session.close()
        await until(lambda: session.unanswered == 0)
        assert service.held.bound()[0] == session.unanswered_bytes == 0
        gc.collect()

    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        tried(work)
    assert "never awaited" not in str([one.message for one in warned])


def test_a_subscription_is_not_limited_by_the_time_of_the_request_that_began_it() -> None:
    """Found by reading: five seconds after it began, its first read of some length ended it with a time-out."""

    async def work(gateway: Gateway, service: RpcService) -> None:
        seen: list[Work | None] = []

        async def pages() -> AsyncIterator[list[Any]]:
            seen.append(current_work.get())
            yield []

        session = RpcConnection(service, Nobody(), NODE, 10**9, lambda: None)
        _sent.set(asyncio.Event())
        with ConnectedClient().working(service.context.limits):
            session._subscribed(pages(), "eth_subscription")
        await until(lambda: bool(seen))
        assert seen == [None]
        session.close()

    tried(work)


def test_what_was_sent_of_a_page_is_freed_before_the_rest_is_sent() -> None:
    """To free a thousand notifications at once held the event loop for milliseconds."""

    class Result(dict[str, int]):
        """A result that is counted."""

    class Counting(Nobody):
        async def send(self, message: bytes) -> None:
            sent.append(json.loads(message)["params"]["result"]["number"])
            kept.append(sum(item() is not None for item in results))

    sent: list[int] = []
    kept: list[int] = []
    results: list[weakref.ref[Result]] = []

    async def work(gateway: Gateway, service: RpcService) -> None:
        def page() -> list[Notification]:
            made = [Result(number=number) for number in range(20)]
            results.extend(map(weakref.ref, made))
            return [Notification(item) for item in made]

        async def pages() -> AsyncIterator[list[Notification]]:
            yield page()

        session = RpcConnection(service, Counting(), NODE, 10**9, lambda: None)
        answered = asyncio.Event()
        answered.set()
        _sent.set(answered)
        session._subscribed(pages(), "eth_subscription")
        await until(lambda: len(sent) == 20)
        session.close()

    tried(work)
    assert sent == list(range(20))
    assert kept == list(range(19, -1, -1))


@pytest.mark.parametrize("over", ["HTTP", "WebSocket"])
def test_a_connection_leaves_nothing_that_only_the_garbage_collector_finds(over: str) -> None:
    """Which a node that only reads runs once in half an hour."""

    async def work(gateway: Gateway, service: RpcService) -> None:
        gc.collect()
        gc.disable()
        try:
            if over == "HTTP":
                client = await used(gateway)
                client.writer.transport.abort()
            else:
                peer = await Peer.of(gateway)
                peer.send(frame(TEXT, CALL) + frame(TEXT, SLOW))
                assert json.loads((await peer.frame()).data)["result"] == "0x7a69"
                assert len((await peer.frame()).data) > 6_000_000
                peer.writer.transport.abort()
            await until(lambda: not len(gateway.connections))
            kinds = (ClientLink, HttpExchange, WebSocketLine, RpcConnection)
            await until(lambda: not [one for one in gc.get_objects() if isinstance(one, kinds)])
        finally:
            gc.enable()

    tried(work, backend=Generous(), rpc=RpcLimits())


def test_answers_come_whole_and_in_any_number_once_they_are_read() -> None:
    async def work(gateway: Gateway, service: RpcService) -> None:
        peer = await Peer.of(gateway)
        peer.send(frame(TEXT, SLOW) * 5 + frame(TEXT, CALL) * 100)
        got = [json.loads((await peer.frame()).data)["result"] for _ in range(105)]
        assert sorted(map(len, got)) == [6] * 100 + [6_000_002] * 5
        peer.writer.close()

    tried(work, backend=Generous(), rpc=RpcLimits())


def test_unfinished_messages_count_as_held() -> None:
    """60 of 5 MB were 300 MB that no limit knew of."""

    async def work(gateway: Gateway, service: RpcService) -> None:
        peers = [await Peer.of(gateway) for _ in range(4)]
        for peer in peers[:3]:
            peer.send(frame(TEXT, bytes(90_000))[:-1])
        await until(lambda: service.held.bound()[0] > 3 * 89_000)
        peers[3].send(frame(TEXT, bytes(90_000))[:-1])
        assert await peers[3].close_code() == 1013
        for peer in peers[:3]:
            peer.writer.close()
        await until(lambda: service.held.bound()[0] == 0)

    tried(work, rpc=RpcLimits(body_size_max_bytes=100_000, held_max_bytes=300_000))


def test_an_offer_to_compress_is_declined() -> None:
    """What a client then compresses nevertheless ends its connection, whatever it would become."""

    async def work(gateway: Gateway, service: RpcService) -> None:
        async with websockets.connect("ws://{}:{}/ws".format(*gateway.address)) as client:
            assert client.protocol.extensions == []
            await client.send(CALL.decode() + " " * 90_000)
            assert json.loads(await client.recv())["result"] == "0x7a69"
        peer = await Peer.of(gateway, b"Sec-WebSocket-Extensions: permessage-deflate")
        packer = zlib.compressobj(wbits=-12)
        bomb = packer.compress(bytes(1_000_000)) + packer.flush(zlib.Z_SYNC_FLUSH)
        peer.send(frame(TEXT, bomb[:-4], rsv1=True))
        assert await peer.close_code() == 1002

    tried(work)


def test_who_is_idle_for_the_longest_makes_room_and_is_told() -> None:
    async def work(gateway: Gateway, service: RpcService) -> None:
        peer = await Peer.of(gateway)
        await used(gateway)
        await used(gateway)
        assert await peer.close_code() == 1013

    tried(work, HttpLimits(connections_max=2))


SUBSCRIBE = json.dumps({"jsonrpc": "2.0", "id": 1, "method": "eth_subscribe", "params": ["newHeads"]}).encode()


async def subscriber(gateway: Gateway) -> Peer:
    peer = await Peer.of(gateway)
    peer.send(frame(TEXT, SUBSCRIBE))
    assert "result" in json.loads((await peer.frame()).data)
    return peer


def test_a_handshake_alone_takes_no_place_from_a_connection_that_was_of_use() -> None:
    """300 WebSockets that never asked anything closed a connection that asks every 50 ms."""

    async def work(gateway: Gateway, service: RpcService) -> None:
        asked, subscribed = await used(gateway), await subscriber(gateway)
        silent = [await Peer.of(gateway) for _ in range(6)]
        for peer in silent[:-1]:
            assert await peer.close_code() == 1013
        assert not await asked.is_closed()
        subscribed.send(frame(TEXT, CALL))
        assert json.loads((await subscribed.frame()).data)["result"] == "0x7a69"

    tried(work, HttpLimits(connections_max=3))


def test_a_subscriber_that_answers_pings_is_in_use() -> None:
    """On a quiet chain it hears nothing else for hours."""

    async def run() -> None:
        async with serving(HttpLimits(connections_max=3)) as (gateway, _):
            subscribed = await subscriber(gateway)
            (link,) = gateway.connections._members
            skip(21.0)
            ping = await subscribed.frame()
            assert ping.opcode is PING
            before = link.standing
            subscribed.send(frame(PONG, bytes(ping.data)))
            await until(lambda: link.standing > before + 21.0)
            burst = [await used(gateway) for _ in range(6)]
            assert link in gateway.connections._members
            for client in burst:
                client.close()
            subscribed.writer.close()

    with asyncio.Runner(loop_factory=JumpingLoop) as runner:
        runner.run(run())


def test_a_stop_is_told_and_ends_the_work() -> None:
    backend = Held()

    async def run() -> None:
        async with serving(None, backend) as (gateway, service):
            peer = await Peer.of(gateway)
            peer.send(frame(TEXT, SLOW))
            await until(lambda: backend.begun > 0)
            stopping = asyncio.create_task(gateway.close())
            assert await peer.close_code() == 1012
            await asyncio.wait_for(stopping, 30)
            await until(lambda: service.readers.status()["busy"] == 0)

    uvloop.run(run())


@pytest.mark.parametrize(
    ("change", "status"),
    [
        ((b"Version: 13", b"Version: 12"), 400),
        ((b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==", b"Sec-WebSocket-Key: short"), 400),
        ((b"Sec-WebSocket-Key", b"Other"), 400),
        ((b"GET", b"POST"), 426),
        ((b"HTTP/1.1", b"HTTP/1.0"), 426),
        ((b"Connection: keep-alive, Upgrade", b"Connection: keep-alive"), 426),
        ((b"Upgrade: websocket", b"Upgrade: websocket, h2c"), 426),
        ((b"Version: 13", b"Version: 13\r\nContent-Length: 1"), 426),
        ((b"Version: 13", b"Version: 13\r\nTransfer-Encoding: chunked"), 426),
        ((b"/ws", b"/healthz"), 200),
    ],
)
def test_handshakes_that_are_none(change: tuple[bytes, bytes], status: int) -> None:
    async def work(gateway: Gateway, service: RpcService) -> None:
        reader, writer = await asyncio.open_connection(*gateway.address)
        writer.write(UPGRADE.replace(*change) + b"\r\nx")
        head = await reader.readuntil(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 %d " % status)
        writer.close()

    tried(work)


def test_subscriptions_come_behind_their_answer_and_end_with_the_connection() -> None:
    async def work(gateway: Gateway, service: RpcService) -> None:
        backend: Any = service.backend
        peer = await Peer.of(gateway)
        request = {"jsonrpc": "2.0", "id": 1, "method": "eth_subscribe", "params": ["newHeads"]}
        peer.send(frame(TEXT, json.dumps(request).encode()))
        name = json.loads((await peer.frame()).data)["result"]
        await backend.mine()
        event = json.loads((await peer.frame()).data)
        assert event["params"]["subscription"] == name
        before = len(asyncio.all_tasks())
        peer.writer.transport.abort()
        await until(lambda: len(asyncio.all_tasks()) < before)

    tried(work)


def slow(padding: int) -> bytes:
    """`SLOW`, longer by so many bytes."""
    return SLOW.replace(b"{", b"{" + b" " * padding, 1)


def test_many_small_messages_that_wait_count_together() -> None:
    """A hundred connections with 4 MB each of messages below 64 KB held 400 MB that nobody counted."""
    backend = Held()

    async def work(gateway: Gateway, service: RpcService) -> None:
        peer = await Peer.of(gateway)
        peer.send(frame(TEXT, slow(50_000)) * 10)
        await until(lambda: 500_000 < service.held.used < 510_000)
        other = await Peer.of(gateway)
        other.send(frame(TEXT, slow(50_000)) * 12)  # there is room for nine of them
        assert {json.loads((await other.frame()).data)["error"]["data"]["code"] for _ in range(3)} == {"rpc.busy"}
        other.send(frame(TEXT, CALL))
        assert json.loads((await other.frame()).data)["result"] == "0x7a69"
        for one in (peer, other):
            one.writer.transport.abort()
        backend.free.set()
        await until(lambda: service.held.used == 0)

    tried(work, backend=backend, rpc=RpcLimits(body_size_max_bytes=100_000, held_max_bytes=1_000_000))


class Medium(MemoryBackend):
    """Calls return 25 KB, which are 50 KB of JSON."""

    def call(self, *_: Any, **__: Any) -> CallResult:
        before_long_work()  # on a reader thread: what the event loop answers itself waits for the peer one by one
        return CallResult(True, False, "return", bytes(25_000), 21_000)


def test_many_small_answers_that_nobody_reads_count_together() -> None:
    async def work(gateway: Gateway, service: RpcService) -> None:
        peer = await Peer.of(gateway, receive_buffer=4_096)
        peer.send(frame(TEXT, SLOW) * 200)
        await until(lambda: service.held.used > 400_000)  # of the half that one connection may have
        other = await Peer.of(gateway)
        other.send(frame(TEXT, SLOW))
        assert "result" in json.loads((await other.frame()).data)
        peer.writer.transport.abort()
        await until(lambda: service.held.used == 0)

    tried(work, backend=Medium(), rpc=RpcLimits(held_max_bytes=1_000_000))
