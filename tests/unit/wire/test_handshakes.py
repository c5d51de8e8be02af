"""Handshakes are calculated on a thread of their own, and whatever happens meanwhile finds the connection whole."""

from __future__ import annotations

import os
import socket
import threading
from pathlib import Path
from typing import Any

import pytest

from node.wire.limits import WireLimits
from tests.jumping_loop import until
from tests.unit.wire.listening import Server, frame, hello, initial, puppet, run


def connection_of(server: Server) -> Any:
    """The class of the library's connections."""
    return server.listener.library.connection


class Held:
    """Steps of handshakes that wait until they are let go."""

    def __init__(self, server: Server, patch: pytest.MonkeyPatch) -> None:
        self.begun, self.free = threading.Event(), threading.Event()
        receive = connection_of(server).receive_many_datagrams

        def held(connection: Any, *given: Any, **named: Any) -> Any:
            if not connection._handshake_complete:
                self.begun.set()
                assert self.free.wait(60)
            return receive(connection, *given, **named)

        patch.setattr(connection_of(server), "receive_many_datagrams", held)


def test_the_library_takes_a_handshake_on_another_thread_and_the_rest_on_the_loops(
    library: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def work(server: Server) -> None:
        receive, loops = connection_of(server).receive_many_datagrams, threading.get_ident()
        seen: list[tuple[bool, bool]] = []

        def noted(connection: Any, *given: Any, **named: Any) -> None:
            was_complete = connection._handshake_complete
            receive(connection, *given, **named)
            seen.append((was_complete, threading.get_ident() == loops))

        monkeypatch.setattr(connection_of(server), "receive_many_datagrams", noted)
        client = await server.client()
        assert await client.rpc("eth_chainId") == "0x7a69"
        await client.close()
        assert (False, False) in seen
        assert (True, True) in seen
        assert (False, True) not in seen

    run(tmp_path, library, work)


def test_others_are_answered_while_a_handshake_is_calculated(
    library: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def work(server: Server) -> None:
        client = await puppet(server)
        client.say(0, hello(server))
        await client.hear()
        heard = len(client.heard)
        held = Held(server, monkeypatch)
        newcomer = await puppet(server, shaken=False)
        await until(held.begun.is_set)
        monkeypatch.undo()
        client.say(0, frame(1, 7, "eth_chainId", []))
        await client.hear(heard + 1)
        assert not newcomer.shaken.is_set()
        held.free.set()
        await newcomer.shaken.wait()

    run(tmp_path, library, work, WireLimits(hello_within_s=60.0))


@pytest.mark.parametrize("end", ["refused", "stopped"])
def test_a_connection_that_ends_during_its_step_leaves_nothing(
    end: str, library: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def work(server: Server) -> None:
        held, released = Held(server, monkeypatch), 0
        release = connection_of(server).release

        def noted(connection: Any) -> None:
            nonlocal released
            released += 1
            release(connection)

        monkeypatch.setattr(connection_of(server), "release", noted)
        clients = [await puppet(server, shaken=False) for _ in range(3)]
        await until(held.begun.is_set)
        await until(lambda: server.listener.names == 6)
        if end == "stopped":
            server.listener.close()
        held.free.set()
        await until(lambda: released == 3, step_s=0.5 if end == "refused" else 0.0)
        assert not server.listener.connections
        assert not server.listener.names
        for client in clients:
            client.vanish()

    run(tmp_path, library, work, WireLimits(hello_within_s=20.0))


def test_initials_of_random_bytes_take_no_place_from_anybody(library: str, tmp_path: Path) -> None:
    """They did until the first packet was looked at, at the cost of the oldest that had not said Hello."""

    async def work(server: Server) -> None:
        silent = [await puppet(server) for _ in range(2)]
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as stranger:
            for _ in range(10):
                stranger.sendto(initial(os.urandom(16)), ("127.0.0.1", server.port))
        for client in silent:  # what they say is behind that in the socket
            client.say(0, hello(server))
            await client.hear()
        await until(lambda: not server.listener._arriving)
        assert server.listener.connections == 2
        assert not any(client.ended.done() for client in silent)

    run(tmp_path, library, work, WireLimits(connections_max=2, connections_per_address_max=2, hello_within_s=60.0))
