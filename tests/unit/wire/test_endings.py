"""However a connection ends, its place and its connection IDs are free again."""

from __future__ import annotations

import asyncio
import gc
import os
import socket
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from qh3.quic.tls_bridge import QuicTlsBridge

from node.doors.limits import DoorLimits
from node.wire.connection import ConnectionState, ServerConnection
from node.wire.framed import FramedSpeaker
from node.wire.limits import WireLimits
from node.wire.peer import WirePeer
from node.wire.server import WireListener
from tests.jumping_loop import until
from tests.unit.wire.listening import Puppet, Server, frame, hello, initial, puppet, run

LIMITS = WireLimits(hello_within_s=20.0, unconfirmed_max_bytes=65_536)
DOOR_LIMITS = DoorLimits()
STEP_S = 0.5
"""Passes between two looks at what has to end by itself."""
LOOKS = 200
"""How often it is looked for what has ended."""
EXCEPTION_KEPT = ("meets_", "cannot_", "speaks_another_protocol")
"""Ways with an exception that refers to its frames and is referred to by one: of these tests, or of a library."""
CHAIN_ID = frame(1, 7, "eth_chainId", [])


class Panic(BaseException):
    """As a panic in Rust arrives: no `Exception`."""


async def open_puppet(server: Server) -> Puppet:
    client = await puppet(server)
    client.say(0, hello(server))
    await client.hear()
    return client


def raising(error: BaseException) -> Callable[..., Any]:
    def fail(*_: Any, **__: Any) -> None:
        raise error

    return fail


def connections(server: Server) -> Any:
    """The class of the library's connections."""
    return server.listener.library.connection


def fault(server: Server) -> Exception:
    """What the library raises when it gives up a connection."""
    return server.listener.library.faults[0](1, None, "core")


async def closes_before_hello(server: Server) -> None:
    (await puppet(server)).close()


async def closes_after_welcome(server: Server) -> None:
    (await open_puppet(server)).close()


async def vanishes_before_its_handshake(server: Server) -> None:
    (await puppet(server, shaken=False)).vanish()


async def vanishes_after_its_handshake(server: Server) -> None:
    (await puppet(server)).vanish()


async def vanishes_after_welcome(server: Server) -> None:
    (await open_puppet(server)).vanish()


async def never_says_hello(server: Server) -> None:
    await refused(await puppet(server), "wire.hello_late")


async def says_something_else_first(server: Server) -> None:
    client = await puppet(server)
    client.say(0, CHAIN_ID)
    await refused(client, "wire.hello_missing")


async def says_hello_on_another_stream(server: Server) -> None:
    client = await puppet(server)
    client.say(4, hello(server))
    await refused(client, "wire.hello_missing")


async def speaks_another_version(server: Server) -> None:
    client = await puppet(server)
    client.say(0, frame(0, 9, b"", ""))
    await refused(client, "wire.version")


async def has_a_wrong_token(server: Server) -> None:
    client = await puppet(server)
    client.say(0, frame(0, 1, b"wrong", ""))
    await refused(client, "wire.token")


async def has_wrong_tokens_and_waits(server: Server) -> None:
    for _ in range(DOOR_LIMITS.failures_per_s + 1):
        await has_a_wrong_token(server)


async def has_wrong_tokens_and_vanishes(server: Server) -> None:
    for _ in range(DOOR_LIMITS.failures_per_s):
        await has_a_wrong_token(server)
    client = await puppet(server)
    client.say(0, frame(0, 1, b"wrong", ""))
    await until(lambda: not server.listener.connections or any(map(has_been_refused, server.listener._places)))
    client.vanish()


def has_been_refused(peer: Any) -> bool:
    """Whether its Hello was looked at."""
    return peer._speaker is not None and peer._speaker._state.state is ConnectionState.CLOSED


async def talks_without_hello(server: Server) -> None:
    client = await puppet(server)
    server.listener.limits = LIMITS
    for _ in range(LIMITS.hello_datagrams_max + 1):
        client.quic.send_ping(1)
        client.transmit()
    await refused(client, "wire.hello_datagrams", step_s=0.0)  # while no time passes: it would be late for Hello, too


async def opens_a_stream_of_the_wrong_kind(server: Server) -> None:
    client = await open_puppet(server)
    client.say(2, b"x")
    await refused(client, "wire.stream_kind")


async def sends_rubbish_for_long(server: Server) -> None:
    client = await open_puppet(server)
    for _ in range(LIMITS.malformed_max + 1):
        client.say(0, b"\0\0\0\x01\xc1")
    await refused(client, "wire.malformed_often")


async def meets_a_bug_of_the_answerer(server: Server) -> None:
    client = await open_puppet(server)
    server.listener.answerer.start = raising(ValueError("a bug"))  # type: ignore[method-assign]
    client.say(0, CHAIN_ID)
    await refused(client, "wire.fault")


async def meets_a_bug_of_the_protocol(server: Server) -> None:
    client = await open_puppet(server)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ServerConnection, "receive", raising(KeyError("a bug")))
        client.say(0, CHAIN_ID)
        await refused(client, "wire.fault")


async def meets_an_error_while_receiving(server: Server) -> None:
    client = await open_puppet(server)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(connections(server), "receive_many_datagrams", raising(fault(server)))
        client.say(0, CHAIN_ID)
        await gone(server)


async def meets_an_error_while_sending(server: Server) -> None:
    client = await open_puppet(server)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(connections(server), "datagrams_to_send", raising(fault(server)))
        client.say(0, CHAIN_ID)
        await gone(server)


async def meets_a_panic_in_its_timer(server: Server) -> None:
    (await puppet(server, shaken=False)).vanish()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(connections(server), "handle_timer", raising(Panic("in Rust")))
        await gone(server)


async def cannot_be_refused_in_order(server: Server) -> None:
    """The original of this test: what raised while a half-open connection was refused kept its place for ever."""
    (await puppet(server, shaken=False)).vanish()
    await until(lambda: server.listener.connections)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(connections(server), "datagrams_to_send", raising(fault(server)))
        await gone(server)


async def reads_nothing(server: Server) -> None:
    client = await open_puppet(server)
    client.say(0, frame(2, 9, b"\x01" * 20, bytes(200_000)))
    await refused(client, "wire.slow_reader")


async def sends_random_initials(server: Server) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as stranger:
        for _ in range(40):
            stranger.sendto(initial(os.urandom(16)), ("127.0.0.1", server.port))
    await closes_after_welcome(server)  # behind them in the socket


async def speaks_another_protocol(server: Server) -> None:
    client = await puppet(server, alpn="h3", shaken=False)
    await until(client.ended.done, STEP_S)


async def gives_its_place_to_another(server: Server) -> None:
    clients = [await puppet(server) for _ in range(3)]
    assert server.listener.connections == 3
    server.listener._places._limits = WireLimits(connections_max=3)
    last = await open_puppet(server)
    await refused(clients[0], "wire.place")
    last.close()


async def stops_with_the_node(server: Server) -> None:
    await puppet(server, shaken=False)
    await puppet(server)
    await open_puppet(server)
    server.listener.close()


WAYS: tuple[Callable[[Server], Awaitable[None]], ...] = (
    closes_before_hello,
    closes_after_welcome,
    vanishes_before_its_handshake,
    vanishes_after_its_handshake,
    vanishes_after_welcome,
    never_says_hello,
    says_something_else_first,
    says_hello_on_another_stream,
    speaks_another_version,
    has_a_wrong_token,
    has_wrong_tokens_and_waits,
    has_wrong_tokens_and_vanishes,
    talks_without_hello,
    opens_a_stream_of_the_wrong_kind,
    sends_rubbish_for_long,
    meets_a_bug_of_the_answerer,
    meets_a_bug_of_the_protocol,
    meets_an_error_while_receiving,
    meets_an_error_while_sending,
    meets_a_panic_in_its_timer,
    cannot_be_refused_in_order,
    reads_nothing,
    sends_random_initials,
    speaks_another_protocol,
    gives_its_place_to_another,
    stops_with_the_node,
)


async def refused(client: Puppet, code: str, step_s: float = STEP_S) -> None:
    await until(client.ended.done, step_s)
    assert client.ended.result().reason_phrase == code


async def gone(server: Server) -> None:
    await until(lambda: not server.listener.connections and not server.listener.names, STEP_S)


@pytest.mark.parametrize("way", WAYS, ids=lambda way: way.__name__)
def test_a_connection_that_ends_leaves_nothing(
    way: Callable[[Server], Awaitable[None]], library: str, tmp_path: Path
) -> None:
    async def work(server: Server) -> None:
        await way(server)
        await gone(server)
        assert not server.listener._places.half_open
        assert not server.listener._places._of_address
        if way.__name__.startswith(EXCEPTION_KEPT):
            return
        for _ in range(LOOKS):
            if not (left := of_connections(server)):
                break
            await asyncio.sleep(0.002)
        assert not left, "only a collection would free them"

    with collections_off():
        run(tmp_path, library, work, LIMITS, DOOR_LIMITS)


@contextmanager
def collections_off() -> Iterator[None]:
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


def of_connections(server: Server) -> list[Any]:
    """What there is of the server's connections in memory."""
    kinds = {WirePeer, FramedSpeaker, ServerConnection, connections(server), QuicTlsBridge}
    return [one for one in gc.get_objects() if type(one) in kinds and belongs_to(server.listener, one)]


def belongs_to(listener: WireListener, one: Any) -> bool:
    """Not to a client, or to another test."""
    of_library = getattr(one, "_configuration", getattr(one, "configuration", None))
    return of_library is listener._configuration or getattr(one, "_listener", None) is listener
