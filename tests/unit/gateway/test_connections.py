"""Connections: who gets a place and who makes room, what a peer may leave unread or unfinished, and how they end."""

from __future__ import annotations

import asyncio
import json
import math
import socket
import struct
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
import uvloop
import websockets
from hypothesis import given, settings
from hypothesis import strategies as st

from node.api.types import CallResult
from node.doors.limits import DoorLimits
from node.doors.rule import FORWARDED, GuardRules
from node.gateway.connections import ConnectionTable, Place
from node.gateway.exchange import Phase
from node.gateway.limits import HttpLimits
from node.gateway.link import ClientLink
from node.gateway.listener import Gateway
from node.rpc.limits import RpcLimits
from node.rpc.service import RpcService
from tests.jumping_loop import JumpingLoop, skip
from tests.unit.gateway.wire import CALL, LATER, PROBE, Client, answers_in, pass_time, post, serving
from tests.unit.rpc.held_backend import Held
from tests.unit.rpc.memory_backend import MemoryBackend

SLOW = json.dumps(
    {"jsonrpc": "2.0", "id": 1, "method": "eth_call", "params": [{"to": "0x" + "aa" * 20}, "latest"]}
).encode()


class HeldGenerous(Held):
    """Calls return 3 MB, which are 6 MB of JSON, when they are let go."""

    def call(self, *_: Any, **__: Any) -> CallResult:
        return super().call()._replace(output=bytes(3_000_000))


class Generous(MemoryBackend):
    """Calls return 3 MB, which are 6 MB of JSON."""

    def call(self, *_: Any, **__: Any) -> CallResult:
        return CallResult(True, False, "return", bytes(3_000_000), 21_000)


def tried(
    work: Callable[[Gateway, RpcService], Awaitable[None]],
    limits: HttpLimits | None = None,
    backend: MemoryBackend | None = None,
    rules: GuardRules | None = None,
    rpc: RpcLimits | None = None,
) -> None:
    async def run() -> None:
        async with asyncio.timeout(60), serving(limits, backend, rules, rpc) as (gateway, service):
            await work(gateway, service)

    uvloop.run(run())


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(30):
        while not condition():
            await asyncio.sleep(0.005)


async def used(gateway: Gateway) -> Client:
    """A connection that was of use."""
    client = await Client.of(gateway)
    client.send(PROBE)
    assert (await client.answer()).status == 200
    return client


async def busy(gateway: Gateway, backend: Held) -> Client:
    """A connection with a call under way."""
    before = backend.begun
    client = await Client.of(gateway)
    client.send(post(body=SLOW))
    await until(lambda: backend.begun > before)
    return client


def phases(gateway: Gateway) -> list[Phase]:
    """What the connections wait for."""
    members: Any = gateway.connections._members
    return [member._speaker._phase for member in members]


def test_the_idlest_makes_room() -> None:
    async def work(gateway: Gateway, service: RpcService) -> None:
        silent = [await Client.of(gateway) for _ in range(2)]
        partial = await Client.of(gateway)
        partial.send(b"POST / HTTP/1.1\r\n")
        idle = await used(gateway)
        for _ in range(3):
            assert not await (await used(gateway)).is_closed()
        for client in (*silent, partial):
            assert await client.reader.read() == b""
        assert not await idle.is_closed()
        assert len(gateway.connections) == 4

    tried(work, HttpLimits(connections_max=4))


def test_a_flood_of_silent_connections_locks_nobody_out() -> None:
    """They were accepted without bound, and everybody got 503 as long as there were 256 of them."""

    async def work(gateway: Gateway, service: RpcService) -> None:
        healthy = await used(gateway)
        flood = []
        for number in range(60):
            client = await Client.of(gateway)
            client.send(b"POST / HTTP/1.1\r\nA: b"[: number % 3 * 10])
            flood.append(client)
            assert len(gateway.connections) <= 8
            if number % 5 == 0:
                assert not await healthy.is_closed()
        assert not await (await used(gateway)).is_closed()
        for client in flood:
            client.close()

    tried(work, HttpLimits(connections_max=8))


def test_connections_with_work_keep_their_places_and_others_are_told() -> None:
    backend = Held()

    async def work(gateway: Gateway, service: RpcService) -> None:
        working = [await busy(gateway, backend) for _ in range(2)]
        other = await Client.of(gateway)
        other.send(post(b"Origin: null"))
        full = await other.answer()
        assert (full.status, full.headers["connection"]) == (503, "close")
        assert json.loads(full.body)["error"]["data"]["code"] == "http.connections"
        assert full.headers["access-control-allow-origin"] == "null"
        with pytest.raises(websockets.InvalidStatus) as caught:
            await websockets.connect("ws://{}:{}/ws".format(*gateway.address))
        assert caught.value.response.status_code == 503
        surplus = [await Client.of(gateway) for _ in range(6)]
        await until(lambda: len(gateway.connections) <= 4)
        backend.free.set()
        for client in working:
            assert json.loads((await client.answer()).body)["result"] == "0x2a"
        assert not await (await used(gateway)).is_closed()
        for client in surplus:
            client.close()

    limits = HttpLimits(connections_max=2, surplus_max=2, linger_s=0.1, look_every_s=0.05)
    tried(work, limits, backend, GuardRules(origins=("null",)))


def test_a_burst_takes_no_place_from_a_connection_in_use() -> None:
    """256 connections with a request each, within 50 ms, closed one that asks every 50 ms."""

    async def work(gateway: Gateway, service: RpcService) -> None:
        client = await used(gateway)
        skip(2.0)
        assert not await client.is_closed()
        burst = [await used(gateway) for _ in range(8)]
        assert not await client.is_closed()
        skip(20.0)
        burst += [await used(gateway) for _ in range(8)]
        assert await client.is_closed(), "it has not been in use"
        for other in burst:
            other.close()

    async def run() -> None:
        async with serving(HttpLimits(connections_max=4)) as (gateway, service):
            await work(gateway, service)

    with asyncio.Runner(loop_factory=JumpingLoop) as runner:
        runner.run(run())


REFUSED = (PROBE.replace(b"healthz", b"nothing"), post(b"Host: attacker.example"), post(b"Content-Encoding: gzip"))


@pytest.mark.parametrize("request_", REFUSED)
def test_refusals_earn_no_place(request_: bytes) -> None:
    async def work(gateway: Gateway, service: RpcService) -> None:
        client = await used(gateway)
        for _ in range(4):
            refused = await Client.of(gateway)
            refused.send(request_)
            assert (await refused.answer()).status >= 400
        assert not await client.is_closed()

    tried(work, HttpLimits(connections_max=2))


def test_refusals_that_wait_keep_no_place() -> None:
    """256 wrong tokens at once, each answered a second later, kept every new client out."""
    guess = post(b"Authorization: Bearer guess")

    async def work(gateway: Gateway, service: RpcService) -> None:
        for _ in range(DoorLimits().failures_per_s):
            guesser = await Client.of(gateway)
            guesser.send(guess)
            assert (await guesser.answer()).status == 401
        guessers = [await Client.of(gateway) for _ in range(4)]
        for guesser in guessers:
            guesser.send(guess)
        await until(lambda: phases(gateway).count(Phase.ANSWERING) == 4)
        assert not await (await used(gateway)).is_closed()
        for guesser in guessers:
            guesser.close()

    tried(work, HttpLimits(connections_max=4, surplus_max=0))


@pytest.mark.parametrize("name", FORWARDED)
def test_what_a_proxy_forwards_is_not_the_owners(name: bytes) -> None:
    async def work(gateway: Gateway, service: RpcService) -> None:
        client = await Client.of(gateway)
        body = CALL.replace(b"eth_chainId", b"zvmd_status")
        for headers, known in (((), True), ((name + b": 203.0.113.7",), False)):
            client.send(post(*headers, body=body))
            error = json.loads((await client.answer()).body).get("error")
            assert (error is None or error["data"]["code"] != "rpc.not_permitted") == known

    tried(work)


class Seat:
    """A connection that the table sees, without a socket."""

    def __init__(self, address: str, standing: float) -> None:
        self.address, self.standing = address, standing
        self.left = False

    def look(self, now: float) -> None: ...

    def make_room(self) -> None:
        assert not math.isinf(self.standing), "one with work lost its place"
        self.left = True

    stop = end = abort = make_room


NEAR = ("127.0.0.1", "::1")
ADDRESSES = (*NEAR, "10.0.0.1", "10.0.0.2", "fe80::1%lo")
STEPS = st.lists(st.tuples(st.sampled_from(ADDRESSES), st.sampled_from((1.0, 2.0, 3.0, math.inf)), st.booleans()))


@settings(deadline=None)
@given(STEPS)
def test_places_are_bounded_whatever_comes(steps: list[tuple[str, float, bool]]) -> None:
    async def run() -> None:
        table = ConnectionTable(HttpLimits(connections_max=6, connections_per_address_max=2, surplus_max=3))
        seats: dict[Seat, Place] = {}
        for address, standing, leaves in steps:
            seat = Seat(address, standing)
            served = [one for one, place in seats.items() if place is Place.SERVED]
            place = table.enter(seat)
            made_room = [one for one in served if one.left]
            neighbours = [one for one in served if one.address == address]
            crowded = address not in NEAR and len(neighbours) == 2
            rivals = neighbours if crowded else served if len(served) == 6 else []
            idle = [one.standing for one in rivals if not math.isinf(one.standing)]
            assert [one.standing for one in made_room] == ([min(idle)] if idle else [])
            assert (place is Place.SERVED) == (bool(idle) or not rivals)
            surplus = [one for one, place in seats.items() if place is Place.SURPLUS]
            assert place is not Place.NONE or len(surplus) == 3
            seats = {one: place for one, place in seats.items() if not one.left}
            if place is not Place.NONE:
                seats[seat] = place
            assert len(table) == len(seats) <= 9
            if leaves:
                table.leave(seat)
                seats.pop(seat, None)
        for seat in seats:
            table.leave(seat)
        assert len(table) == 0
        await table.close()

    asyncio.run(run())


@pytest.mark.parametrize("part", [b"P", b"POST / HTTP/1.1\r\n", post()[:-3], b"\r"])
def test_a_request_that_does_not_become_whole_is_told_so(part: bytes) -> None:
    async def work(gateway: Gateway, service: RpcService) -> None:
        client = await Client.of(gateway)
        client.send(part)
        if part == b"\r":
            assert await client.reader.read() == b""
            return
        got = await client.answer()
        assert (got.status, json.loads(got.body)["error"]["data"]["code"]) == (408, "http.timeout")
        assert await client.is_closed()

    tried(work, HttpLimits(request_s=0.2, linger_s=0.1, look_every_s=0.05))


HEAD = post(b"Transfer-Encoding: chunked", length=False, body=b"")


@pytest.mark.parametrize(("first", "more"), [(b"GET / HTTP/1.1\r\n", b"A: b\r\n"), (HEAD, b"1\r\n \r\n")])
def test_one_byte_at_a_time_does_not_extend_the_time(first: bytes, more: bytes) -> None:
    async def work(gateway: Gateway, service: RpcService) -> None:
        client = await Client.of(gateway)
        client.send(first)
        answer = asyncio.create_task(client.answer())
        at = 0
        while not answer.done():
            client.send(more[at : at + 1])
            at = (at + 1) % len(more)
            await asyncio.sleep(0.02)
        assert answer.result().status == 408

    tried(work, HttpLimits(request_s=0.3, linger_s=5.0, look_every_s=0.05, keep_alive_s=60.0))


def test_idle_connections_end() -> None:
    async def work(gateway: Gateway, service: RpcService) -> None:
        client = await used(gateway)
        pass_time(gateway, 74.0)
        assert not await client.is_closed()
        pass_time(gateway, 76.0)
        assert await client.reader.read() == b""

    tried(work, LATER)


def test_who_sends_no_more_still_gets_its_answers() -> None:
    """A shell's ``printf | nc`` closes its side when it has sent."""

    async def work(gateway: Gateway, service: RpcService) -> None:
        client = await Client.of(gateway)
        client.send(post(body=SLOW), post(), post(body=SLOW))
        client.writer.write_eof()
        assert [json.loads((await client.answer()).body)["result"][:4] for _ in range(3)] == ["0x00", "0x7a", "0x00"]
        assert await client.reader.read() == b""

    tried(work, backend=Generous(), rpc=RpcLimits())


def test_what_is_done_for_who_sends_no_more_ends_after_a_moment() -> None:
    backend = Held()

    async def work(gateway: Gateway, service: RpcService) -> None:
        client = await busy(gateway, backend)
        client.writer.write_eof()
        assert await client.reader.read() == b""
        await until(lambda: service.readers.status()["busy"] == 0)
        assert service.readers.status()["stopped"] == 1

    tried(work, HttpLimits(half_closed_s=0.1, look_every_s=0.05), backend)


def test_requests_sent_ahead_are_answered_in_order_and_bounded() -> None:
    """A client that never reads filled the memory with its requests and answers."""

    async def work(gateway: Gateway, service: RpcService) -> None:
        deaf = socket.socket()
        deaf.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
        deaf.setblocking(False)
        loop = asyncio.get_running_loop()
        await loop.sock_connect(deaf, gateway.address)
        requests = post() * 500
        sent = 0
        try:
            while sent < 64 * 2**20:
                await loop.sock_sendall(deaf, requests)
                sent += len(requests)
        except ConnectionError:
            pass  # cut off, as it took nothing for so long
        assert sent < 16 * 2**20  # what the kernel keeps of both directions, and little more
        assert not await (await used(gateway)).is_closed()
        deaf.close()
        client = await Client.of(gateway)
        bodies = [CALL.replace(b'"id": 1', b'"id": %d' % number) for number in range(2_000)]
        client.send(b"".join(post(body=body) for body in bodies))
        for number in range(2_000):
            assert json.loads((await client.answer()).body)["id"] == number

    tried(work, HttpLimits(take_answer_s=2.0, look_every_s=0.1))


def test_large_answers_wait_for_their_reader_one_at_a_time() -> None:
    async def work(gateway: Gateway, service: RpcService) -> None:
        client = await Client.of(gateway)
        client.send(post(body=SLOW) * 5)
        await until(lambda: service.held.bound()[0] > 0)
        await asyncio.sleep(0.2)
        assert service.held.bound()[0] < 7_000_000
        assert [len((await client.answer()).body) > 6_000_000 for _ in range(5)] == [True] * 5
        await until(lambda: service.held.bound()[0] == 0)

    tried(work, backend=Generous(), rpc=RpcLimits())


def test_a_request_that_waits_for_the_reader_of_the_answer_before_it_is_not_late() -> None:
    async def work(gateway: Gateway, service: RpcService) -> None:
        client = await Client.of(gateway)
        client.send(post(body=SLOW) + post())
        await until(lambda: service.held.bound()[0] > 0)
        pass_time(gateway, 29.0)
        assert [(await client.answer()).status for _ in range(2)] == [200, 200]
        assert not await client.is_closed()

    tried(work, LATER, Generous(), rpc=RpcLimits())


def test_a_client_that_goes_on_sending_still_reads_why_it_was_refused() -> None:
    """Closing at once would discard the answer with the rest of the body."""

    async def work(gateway: Gateway, service: RpcService) -> None:
        client = await Client.of(gateway)
        client.send(post(b"Content-Length: 20000000", length=False, body=b""))
        for _ in range(200):
            client.send(bytes(100_000))
            await client.writer.drain()
        assert (await client.answer()).status == 413

    tried(work)


@pytest.mark.parametrize("pipelined", [0, 3])
def test_a_stop_answers_what_was_asked(pipelined: int) -> None:
    backend = Held()

    async def run() -> None:
        async with serving(None, backend) as (gateway, _):
            idle, fresh = await used(gateway), await Client.of(gateway)
            working = await busy(gateway, backend)
            working.send(post() * pipelined)
            half = await used(gateway)
            request = post()
            half.send(request[:50])
            await until(lambda: Phase.RECEIVING in phases(gateway))
            stopping = asyncio.create_task(gateway.close())
            assert await idle.reader.read() == await fresh.reader.read() == b""
            half.send(request[50:])
            answered = await half.answer()
            assert (answered.status, answered.headers["connection"]) == (200, "close")
            with pytest.raises(OSError):
                await Client.of(gateway)
            backend.free.set()
            got = [await working.answer() for _ in range(1 + pipelined)]
            assert [answer.status for answer in got] == [200] * (1 + pipelined)
            assert [answer.headers.get("connection") for answer in got] == [None] * pipelined + ["close"]
            for client in (working, half):
                assert await client.reader.read() == b""
                client.close()
            await asyncio.wait_for(stopping, 30)

    uvloop.run(run())


def test_a_large_answer_before_the_end_of_its_connection_arrives_whole() -> None:
    """It is written in pieces, behind the last of which the connection is closed; what is asked next waits for it."""

    async def work(gateway: Gateway, service: RpcService) -> None:
        reader, writer = await asyncio.open_connection(*gateway.address, limit=2**24)
        writer.write(post(body=SLOW) + post(body=CALL) + post(b"Connection: close", body=SLOW))
        received = await reader.read()
        first, second, last = answers_in(received)
        assert first.body == last.body
        assert len(first.body) > 6_000_000
        assert json.loads(second.body)["result"] == "0x7a69"
        writer.close()
        await until(lambda: service.held.bound()[0] == 0)

    tried(work, backend=Generous())


@pytest.mark.parametrize("loop", [asyncio.run, uvloop.run])
def test_a_connection_that_was_reset_can_be_finished(loop: Callable[..., None]) -> None:
    """asyncio's transport raises where the reset has come and was not read yet."""

    async def work() -> None:
        async with serving() as (gateway, _):
            peer = socket.create_connection(gateway.address)
            while not len(gateway.connections):
                await asyncio.sleep(0)
            (link,) = gateway.connections._members
            assert isinstance(link, ClientLink)
            peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            peer.close()
            link.finish()
            while len(gateway.connections):
                await asyncio.sleep(0.001)

    async def within_time() -> None:
        async with asyncio.timeout(60):
            await work()

    loop(within_time())
