"""How requests and connections of HTTP/3 end: places are free, nothing is held, and what nobody waits for stops."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

import node.wire.peer
from node.api.types import CallResult
from node.gateway.limits import HttpLimits
from node.gateway.routes import Routes
from node.http3.limits import Http3Limits
from node.rpc.limits import RpcLimits
from node.wire.limits import WireLimits
from tests.unit.gateway.test_connections import SLOW
from tests.unit.http3.clients import CALL, Http3Client, Limits, Server, connected, head, run
from tests.unit.rpc.held_backend import Held
from tests.unit.rpc.memory_backend import MemoryBackend

NO_ERROR, INTERNAL, LOAD, REJECTED, CANCELLED = 0x100, 0x102, 0x107, 0x10B, 0x10C


class Generous(MemoryBackend):
    """Calls return 1.5 MB, which are 3 MB of JSON."""

    def call(self, *_: Any, **__: Any) -> CallResult:
        return CallResult(True, False, "return", bytes(1_500_000), 21_000)


async def until(condition: Callable[[], bool]) -> None:
    while not condition():
        await asyncio.sleep(0.005)


async def gone(server: Server) -> None:
    """Nothing is left of any connection."""
    await until(lambda: not server.listener.connections and not server.listener.names)
    assert server.service.held.used == 0
    assert not server.listener._places.half_open
    assert not server.listener._places._of_address


def speaker(server: Server) -> Any:
    """What the node keeps of its only connection."""
    (peer,) = server.listener._places
    return peer._speaker


QUICK = Limits(
    WireLimits(idle_timeout_s=1.0, stop_s=0.5),
    HttpLimits(request_s=0.3, keep_alive_s=0.3, take_answer_s=0.3),
    rpc=RpcLimits(body_size_max_bytes=1_000_000),
)


async def closes_at_once(client: Http3Client) -> None:
    client.close()


async def closes_after_a_request(client: Http3Client) -> None:
    assert (await client.ask(head(), CALL)).status == 200
    client.close()


async def vanishes_at_once(client: Http3Client) -> None:
    client.vanish()


async def vanishes_in_a_body(client: Http3Client) -> None:
    client.begin(head(), bytes(200_000), ends=False)
    await asyncio.sleep(0.02)
    client.vanish()


async def vanishes_in_a_call(client: Http3Client) -> None:
    client.begin(head(), SLOW)
    await asyncio.sleep(0.02)
    client.vanish()


async def asks_for_nothing(client: Http3Client) -> None:
    assert await client.closed() == NO_ERROR


async def asks_only_what_is_refused(client: Http3Client) -> None:
    assert (await client.ask(head(authority=b"attacker.example"), CALL)).status == 403
    assert await client.closed() == NO_ERROR


async def is_idle(client: Http3Client) -> None:
    assert (await client.ask(head(), CALL)).status == 200
    assert await client.closed() == NO_ERROR


WAYS: tuple[Callable[[Http3Client], Awaitable[None]], ...] = (
    closes_at_once,
    closes_after_a_request,
    vanishes_at_once,
    vanishes_in_a_body,
    vanishes_in_a_call,
    asks_for_nothing,
    asks_only_what_is_refused,
    is_idle,
)


@pytest.mark.parametrize("way", WAYS, ids=lambda way: way.__name__)
def test_a_connection_that_ends_leaves_nothing(
    way: Callable[[Http3Client], Awaitable[None]], library: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(node.wire.peer, "CLOSING_S", 0.1)
    backend = Held()

    async def work(server: Server) -> None:
        async with connected(server) as client:
            await way(client)
            await gone(server)
            await until(lambda: not backend.running)

    run(tmp_path, library, work, QUICK, backend=backend)


@pytest.mark.parametrize("how", ["reset", "stop"])
def test_a_request_that_is_cancelled_is_not_computed_on(how: str, library: str, tmp_path: Path) -> None:
    backend = Held()

    async def work(server: Server) -> None:
        async with connected(server) as client:
            other = client.begin(head(), SLOW)
            stream_id = client.begin(head(), SLOW)
            await until(lambda: backend.running == 2)
            if how == "reset":
                client.quic.reset_stream(stream_id, CANCELLED)
            client.quic.stop_stream(stream_id, CANCELLED)
            client.transmit()
            await until(lambda: backend.running == 1)
            assert (await client.ask(head(), CALL)).status == 200
            backend.free.set()
            assert (await client.answer(other)).status == 200

    run(tmp_path, library, work, backend=backend)


def test_nothing_is_kept_of_requests_that_are_over(library: str, tmp_path: Path) -> None:
    """Answered, refused before they are complete, cancelled before and after their head, without a head."""

    async def work(server: Server) -> None:
        async with connected(server) as client:
            for _ in range(30):
                assert (await client.ask(head(), CALL)).status == 200
                refused = client.begin(head(b"GET", b"/nothing"), ends=False)
                assert (await client.answer(refused)).status == 404
                cancelled = client.begin(head(), CALL[:9], ends=False)
                bare = client.quic.get_next_available_stream_id()
                client.say(bare, b"\1\x40", ends=False)
                for stream_id in (refused, cancelled, bare):
                    client.quic.reset_stream(stream_id, CANCELLED)
                client.transmit()
            found = speaker(server)
            await until(lambda: not found._requests and not found._left)
            assert not found._ready
            assert not found._sending
            assert all(stream_id % 4 == 2 for stream_id in found._http3._stream)
            assert found._shares.used == server.service.held.used == 0

    run(tmp_path, library, work)


def test_the_peer_has_no_more_streams_than_quic_allows_if_it_ends_none(library: str, tmp_path: Path) -> None:
    async def work(server: Server) -> None:
        async with connected(server) as client:
            assert (await client.ask(head(), CALL)).status == 200
            for _ in range(300):
                client.begin(head(b"GET", b"/nothing"), ends=False)
            await until(lambda: sum(heard.is_ended for heard in client.heard.values()) >= 100)
            assert len(speaker(server)._left) <= 128

    run(tmp_path, library, work)


def test_a_peer_that_takes_no_answer_is_disconnected(library: str, tmp_path: Path) -> None:
    async def work(server: Server) -> None:
        async with connected(server) as client:
            for _ in range(4):
                client.begin(head(), SLOW)
            await until(lambda: server.service.held.used > 0)
            client.vanish()
            await gone(server)

    run(tmp_path, library, work, QUICK, backend=Generous())


def test_answers_are_sent_as_the_peer_takes_them(library: str, tmp_path: Path) -> None:
    """The library, which copies, has a part of them only, and a small answer does not wait for all of a large one."""

    async def work(server: Server) -> None:
        async with connected(server) as client:
            large = client.begin(head(), SLOW)
            await until(lambda: len(client.on(large).body) > 0)
            small = await client.ask(head(), CALL)
            assert small.status == 200
            assert not client.on(large).is_ended
            (peer,) = server.listener._places
            assert peer.unsent < 2**20
            assert len((await client.answer(large)).body) > 3_000_000
            await until(lambda: server.service.held.used == 0)

    run(tmp_path, library, work, backend=Generous())


def test_what_a_connection_may_hold_is_bounded(library: str, tmp_path: Path) -> None:
    async def work(server: Server) -> None:
        async with connected(server) as client:
            first = client.begin(head(), bytes(800_000), ends=False)
            await until(lambda: server.service.held.used > 700_000)
            got = await client.ask(head(), bytes(800_000))
            assert (got.status, got.code) == (503, "rpc.busy")
            client.more(first, b"")
            assert (await client.answer(first)).status == 200
            await until(lambda: server.service.held.used == 0)

    limits = Limits(rpc=RpcLimits(body_size_max_bytes=1_000_000, held_max_bytes=2_000_000))
    run(tmp_path, library, work, limits)


def test_idle_connections_make_room_and_busy_ones_do_not(library: str, tmp_path: Path) -> None:
    backend = Held()

    async def work(server: Server) -> None:
        async with connected(server) as idle, connected(server) as busy:
            assert (await idle.ask(head(), CALL)).status == 200
            waiting = busy.begin(head(), SLOW)
            await until(lambda: backend.running == 1)
            async with connected(server) as third:
                assert (await third.ask(head(), CALL)).status == 200
                assert await idle.closed() == NO_ERROR
                backend.free.set()
                assert (await busy.answer(waiting)).status == 200

    run(tmp_path, library, work, Limits(WireLimits(connections_max=2)), backend=backend)


def test_a_node_that_stops_answers_what_is_under_way(library: str, tmp_path: Path) -> None:
    backend = Held()

    async def work(server: Server) -> None:
        async with connected(server) as client, connected(server) as idle:
            assert (await idle.ask(head(), CALL)).status == 200
            waiting = client.begin(head(), SLOW)
            await until(lambda: backend.running == 1)
            stopping = asyncio.ensure_future(server.listener.stop())
            assert await idle.closed() == NO_ERROR
            await until(lambda: b"\x07\x08" in client.raw.get(3, b""))  # GOAWAY
            late = client.begin(head(), CALL)
            assert await client.reset(late) == REJECTED
            backend.free.set()
            assert (await client.answer(waiting)).status == 200
            assert await client.closed() == NO_ERROR
            await stopping

    run(tmp_path, library, work, Limits(WireLimits(stop_s=30)), backend=backend)


def test_a_node_that_stops_tells_who_waits_too_long(library: str, tmp_path: Path) -> None:
    backend = Held()

    async def work(server: Server) -> None:
        async with connected(server) as client:
            waiting = [client.begin(head(), SLOW), client.begin(head(), CALL[:5], ends=False)]
            await until(lambda: backend.running == 1)
            await server.listener.stop()
            for stream_id in waiting:
                got = await client.answer(stream_id)
                assert (got.status, got.code) == (503, "node.stopping")
            assert await client.closed() == NO_ERROR
            await gone(server)

    run(tmp_path, library, work, Limits(WireLimits(stop_s=0.2)), backend=backend)


def test_a_bug_ends_one_connection(library: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def work(server: Server) -> None:
        async with connected(server) as client, connected(server) as other:
            assert (await other.ask(head(), CALL)).status == 200
            with monkeypatch.context() as patch:
                patch.setattr(Routes, "plan", lambda *_: {}["a bug"])
                client.begin(head(), CALL)
                assert await client.closed() == INTERNAL
            assert (await other.ask(head(), CALL)).status == 200

    run(tmp_path, library, work)


def test_a_peer_that_only_sends_datagrams_is_refused(library: str, tmp_path: Path) -> None:
    async def work(server: Server) -> None:
        async with connected(server) as client:
            for _ in range(30):
                client.quic.send_ping(1)
                client.transmit()
            assert await client.closed() == LOAD

    run(tmp_path, library, work, Limits(http3=Http3Limits(first_datagrams_max=20)))


def test_small_bodies_and_heads_count_together(library: str, tmp_path: Path) -> None:
    """A hundred unfinished requests on each of 128 connections held 800 MB that nobody counted."""

    async def work(server: Server) -> None:
        held = server.service.held
        async with connected(server) as client, connected(server) as other:
            bodies = [client.begin(head(), bytes(50_000), ends=False) for _ in range(10)]
            await until(lambda: 500_000 < held.used < 510_000)
            client.quic.reset_stream(bodies[0], CANCELLED)
            client.transmit()
            await until(lambda: held.used < 460_000)
            large = [head(b"POST", b"/", (b"x-%d" % at, b"v" * 40_000)) for at in range(9)]
            assert (await other.ask(head(), CALL)).status == 200
            heads = []
            for fields in large:
                heads.append(other.begin(fields, b"", ends=False))
                await other.heard_out()
            await until(lambda: held.used > 800_000)
            assert (await other.ask(head(b"POST", b"/", (b"x", b"v" * 30_000)), CALL)).status == 200
            got = await client.ask(head(), bytes(200_000))
            assert (got.status, got.code) == (503, "rpc.busy")
            for stream_id in heads:
                other.more(stream_id, CALL)
                assert (await other.answer(stream_id)).status == 200
        await gone(server)

    limits = Limits(rpc=RpcLimits(body_size_max_bytes=1_000_000, held_max_bytes=1_000_000))
    run(tmp_path, library, work, limits)


class Medium(MemoryBackend):
    """Calls return 25 KB, which are 50 KB of JSON."""

    def call(self, *_: Any, **__: Any) -> CallResult:
        return CallResult(True, False, "return", bytes(25_000), 21_000)


def test_small_answers_that_nobody_takes_count_together(library: str, tmp_path: Path) -> None:
    async def work(server: Server) -> None:
        async with connected(server) as client:
            client.datagram_received = lambda *_: None  # type: ignore[method-assign]
            for _ in range(60):
                client.begin(head(), SLOW)
            await until(lambda: server.service.held.used > 1_000_000)
        await gone(server)

    run(tmp_path, library, work, backend=Medium())


def test_who_only_begins_a_request_makes_room(library: str, tmp_path: Path) -> None:
    """The head of a request costs the peer nothing, and kept its place for fifteen seconds, again and again."""

    async def work(server: Server) -> None:
        async with connected(server) as first, connected(server) as second:
            for client in (first, second):
                assert (await client.ask(head(), CALL)).status == 200
                client.begin(head(), CALL[:10], ends=False)
                await client.heard_out()
            async with connected(server) as third:
                assert (await third.ask(head(), CALL)).status == 200
                assert await first.closed() == NO_ERROR

    run(tmp_path, library, work, Limits(WireLimits(connections_max=2)))
