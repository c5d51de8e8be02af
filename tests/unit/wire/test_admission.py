"""Who may connect: headers read without cryptography, tokens of Retry packets, rates, and places given up."""

from __future__ import annotations

import asyncio
import os
import socket
from dataclasses import dataclass
from pathlib import Path

import pytest
from aioquic.quic.configuration import QuicConfiguration
from aioquic.quic.connection import QuicConnection

import zvmd
from node.auth.tls import load_or_create_certificate
from node.doors.limits import DoorLimits
from node.doors.rates import SOURCES_MAX, Rate, network_of
from node.wire.admission import Places
from node.wire.initial import RETRY_TOKEN_SECONDS, Initial, RetryTokens, read_initial
from node.wire.library import load_library
from node.wire.limits import WireLimits
from tests.jumping_loop import until
from tests.unit.wire.listening import NOW, Server, frame, hello, initial, puppet, run
from zvmd.frames import ALPN

HERE = ("127.0.0.1", 5000)


def test_the_header_of_an_initial_is_read() -> None:
    random = bytes(range(16))
    assert read_initial(initial(random, b"token")) == Initial(1, random[:8], random[8:], b"token")
    assert read_initial(initial(random, version=0x6B3343CF)) == Initial(0x6B3343CF, random[:8], random[8:], b"")


@pytest.mark.parametrize(
    ("what", "datagram"),
    [
        ("small", initial(bytes(16), size=1199)),
        ("short header", b"\x40" + initial(bytes(16))[1:]),
        ("fixed bit", b"\x80" + initial(bytes(16))[1:]),
        ("0-RTT", b"\xd0" + initial(bytes(16))[1:]),
        ("Handshake", b"\xe0" + initial(bytes(16))[1:]),
        ("Retry", b"\xf0" + initial(bytes(16))[1:]),
        ("version negotiation", initial(bytes(16), version=0)),
        ("short destination", b"\xc0\0\0\0\x01\x07" + bytes(1300)),
        ("long destination", b"\xc0\0\0\0\x01\x15" + bytes(1300)),
        ("longest destination", b"\xc0\0\0\0\x01\xff" + b"\xff" * 1300),
        ("long source", b"\xc0\0\0\0\x01\x08" + bytes(8) + b"\x15" + bytes(1300)),
        ("endless token", b"\xc0\0\0\0\x01\x08" + bytes(8) + b"\0" + b"\xff" * 1300),
    ],
)
def test_what_cannot_begin_a_connection_costs_a_look(what: str, datagram: bytes) -> None:
    assert read_initial(datagram) is None, what


def test_any_bytes_are_read_without_an_exception() -> None:
    for size in (1200, 1201, 1472):
        for first in (0xC0, 0xC3, 0xFF):
            for _ in range(300):
                read_initial(bytes([first]) + b"\0\0\0\x01" + os.urandom(size - 5))


def test_a_token_counts_for_its_address_its_destination_and_its_time() -> None:
    tokens = RetryTokens(b"k" * 32)
    token = tokens.create(HERE, b"original", b"retry-id", 100.0)
    good = tokens.validate(HERE, token, b"retry-id", 100.0 + RETRY_TOKEN_SECONDS)
    assert good == (b"original", b"retry-id")
    assert tokens.validate(HERE, token, b"retry-id", 101.0 + RETRY_TOKEN_SECONDS) is None
    assert tokens.validate(HERE, token, b"retry-id", 99.0) is None
    assert tokens.validate(HERE, token, b"retry-ie", 100.0) is None
    for elsewhere in (("127.0.0.1", 5001), ("127.0.0.2", 5000), ("::1", 5000)):
        assert tokens.validate(elsewhere, token, b"retry-id", 100.0) is None
    assert RetryTokens(b"j" * 32).validate(HERE, token, b"retry-id", 100.0) is None
    for at in range(len(token)):
        forged = token[:at] + bytes([token[at] ^ 1]) + token[at + 1 :]
        assert tokens.validate(HERE, forged, b"retry-id", 100.0) is None
    for length in range(len(token)):
        assert tokens.validate(HERE, token[:length], b"retry-id", 100.0) is None


def test_a_rate_is_kept_for_each_and_for_all() -> None:
    rate = Rate(each_per_s=3, all_per_s=10, burst=5)
    assert [rate.admits("a", 0.0) for _ in range(5)] == [True] * 3 + [False] * 2
    assert [rate.admits("b", 0.0) for _ in range(3)] == [True] * 2 + [False]
    assert [rate.admits("c", 0.2) for _ in range(3)] == [True] * 2 + [False]
    assert not rate.admits("a", 0.9)
    assert rate.admits("a", 1.0)


def test_sources_are_not_counted_without_end() -> None:
    rate = Rate(each_per_s=1, all_per_s=10**6, burst=10**6)
    for source in range(3 * SOURCES_MAX):
        assert rate.admits(source, 1.0)
    assert len(rate._counts) == SOURCES_MAX


def test_a_network_is_what_a_stranger_can_have() -> None:
    assert network_of("192.0.2.7") == network_of("192.0.2.200") != network_of("192.0.3.7")
    assert network_of("2001:db8::1") == network_of("2001:db8::ffff:1%eth0") != network_of("2001:db8:0:1::1")


@dataclass(eq=False)
class Peer:
    address: str


def test_those_without_hello_give_way_the_oldest_first() -> None:
    places: Places[Peer] = Places(WireLimits(connections_max=3, connections_per_address_max=2))
    a, b, c = Peer("a"), Peer("a"), Peer("b")
    for peer in (a, b, c):
        assert places.to_leave(peer.address) is None
        places.take(peer)
    assert places.to_leave("a") is a
    assert places.to_leave("b") is a
    places.greeted(a)
    assert places.to_leave("a") is b
    assert places.to_leave("c") is b
    places.greeted(b)
    assert not places.has_room("a")
    assert places.to_leave("c") is c
    places.greeted(c)
    assert not places.has_room("c")
    for _ in range(2):
        places.release(a)
    assert len(places) == 2
    assert places.has_room("a")
    assert places.to_leave("a") is None


def test_a_client_without_connection_id_is_sent_none(library: str, tmp_path: Path) -> None:
    """Found with Chromium, which hears nothing else; it chooses an ID of eight bytes for the server."""
    tls = load_or_create_certificate(tmp_path / "tls", NOW)
    configuration = QuicConfiguration(is_client=True, alpn_protocols=[ALPN], server_name="zvmd", connection_id_length=0)
    configuration.load_verify_locations(str(tmp_path / "tls" / "authority.pem"))
    client = QuicConnection(configuration=configuration)
    client._peer_cid.cid = client._original_destination_connection_id = os.urandom(8)
    client.connect(HERE, now=0.0)
    (first,) = [datagram for datagram, _ in client.datagrams_to_send(now=0.0)]
    assert (first[5], first[14]) == (8, 0)
    loaded = load_library(library)
    server = loaded.connection(
        configuration=loaded.configuration(WireLimits(), tls, [ALPN]),
        original_destination_connection_id=first[6:14],
    )
    server.receive_many_datagrams([first], HERE, now=0.0)
    for datagram, _ in server.datagrams_to_send(now=0.0):
        assert not datagram[0] & 0x80 or not datagram[5]
        client.receive_datagram(datagram, HERE, now=0.0)
    assert client._handshake_complete


@pytest.mark.parametrize("options", [{}, {"connection_id_length": 0}, {"connection_id_length": 20}])
def test_the_first_flight_to_aioquic_is_whole(options: dict[str, int], library: str, tmp_path: Path) -> None:
    """Found with aioquic: it pads behind its packets, qh3 counted only the packets, and dropped what did not fit."""
    tls = load_or_create_certificate(tmp_path / "tls", NOW)
    configuration = QuicConfiguration(is_client=True, alpn_protocols=["zvmd/1"], server_name="zvmd", **options)
    configuration.load_verify_locations(str(tmp_path / "tls" / "authority.pem"))
    client = QuicConnection(configuration=configuration)
    client.connect(HERE, now=0.0)
    (first,) = [datagram for datagram, _ in client.datagrams_to_send(now=0.0)]
    loaded = load_library(library)
    server = loaded.connection(
        configuration=loaded.configuration(WireLimits(), tls, [ALPN]),
        original_destination_connection_id=first[6 : 6 + first[5]],
    )
    server.receive_many_datagrams([first], HERE, now=0.0)
    answer = server.datagrams_to_send(now=0.0)
    assert sum(len(datagram) for datagram, _ in answer) <= 3 * len(first), "RFC 9000, 8.1"
    for datagram, _ in answer:
        client.receive_datagram(datagram, HERE, now=0.0)
    assert client._handshake_complete
    client.send_stream_data(0, b"hello")
    events = []
    for turn in range(1, 5):
        for datagram, _ in client.datagrams_to_send(now=turn / 10):
            server.receive_many_datagrams([datagram], HERE, now=turn / 10)
        for datagram, _ in server.datagrams_to_send(now=turn / 10):
            client.receive_datagram(datagram, HERE, now=turn / 10)
        while (event := server.next_event()) is not None:
            events.append(type(event).__name__)
    assert "HandshakeCompleted" in events
    if options.get("connection_id_length") != 0:  # aioquic then issues more IDs of length 0: RFC 9000, 19.15 forbids it
        assert "StreamDataReceived" in events


def test_a_datagram_that_means_nothing_does_not_cost_another(library: str, tmp_path: Path) -> None:
    """Found by a stranger: an empty datagram raised, and the rest of the burst was lost."""

    async def work(server: Server) -> None:
        client = await puppet(server)
        good: list[bytes] = []
        client._transport.sendto = lambda datagram, _=None: good.append(bytes(datagram))  # type: ignore[union-attr]
        client._sendto_many = None
        client.say(0, hello(server))
        rubbish: list[bytes] = [b"", b"\x40", b"\xc0", b"\xff" * 7, bytes(1200), initial(bytes(16))]
        (peer,) = server.listener._places
        before = peer._datagrams_before_hello
        server.listener.datagrams_received([b"", *rubbish, *good, *rubbish], ("127.0.0.1", 9))
        while peer._datagrams_before_hello < before + len(good):  # in this turn of the loop or in a later one
            await asyncio.sleep(0)

    run(tmp_path, library, work)


def test_random_initials_from_everywhere_keep_nobody_out(library: str, tmp_path: Path) -> None:
    async def work(server: Server) -> None:
        for number in range(3000):
            server.listener.datagrams_received([initial(os.urandom(16))], ("127.0.0.1", 1000 + number))
            if not number % 500:
                await asyncio.sleep(0)
        assert server.listener.connections == 0
        client = await server.client()
        assert await client.rpc("eth_chainId") == "0x7a69"

    run(tmp_path, library, work)


def test_half_open_handshakes_keep_nobody_out(library: str, tmp_path: Path) -> None:
    async def work(server: Server) -> None:
        for _ in range(8):
            (await puppet(server, shaken=False)).vanish()
        await until(lambda: server.listener.connections == 4)
        clients = [await server.client() for _ in range(4)]
        assert [await client.rpc("eth_chainId") for client in clients] == ["0x7a69"] * 4
        with pytest.raises(zvmd.ConnectionFailed):
            await server.client(timeout=1.0)

    run(tmp_path, library, work, WireLimits(connections_max=4, hello_within_s=20))


def test_wrong_tokens_keep_no_good_client_out(library: str, tmp_path: Path) -> None:
    async def work(server: Server) -> None:
        guessers = [await puppet(server) for _ in range(3)]
        for guesser in guessers:
            guesser.say(0, frame(0, 1, b"wrong", ""))
        client = await server.client()
        assert await client.rpc("eth_chainId") == "0x7a69"
        assert not any(guesser.ended.done() for guesser in guessers), "the answer waits"

    run(tmp_path, library, work, door_limits=DoorLimits(failures_per_s=0, failure_delay_s=60.0))


def test_what_belongs_to_no_connection_is_not_answered(library: str, tmp_path: Path) -> None:
    """No stateless resets, which would tell what connections there are, and nothing that two nodes could send on."""
    unknown = b"\x0a" * 4

    async def work(server: Server) -> None:
        loop = asyncio.get_running_loop()
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as stranger:
            stranger.setblocking(False)
            await loop.sock_connect(stranger, ("127.0.0.1", server.port))
            for silent in (
                b"\x40" + os.urandom(1000),  # of a connection that is no more
                b"\xc0" + bytes(4) + b"\x08" + bytes(8) + b"\x08" + bytes(8) + unknown * 300,  # Version Negotiation
                initial(bytes(16), version=0x0A0A0A0A, size=1100),  # too small to be answered
                b"\xf0" + initial(os.urandom(16))[1:],  # a Retry
                b"\xd0" + initial(os.urandom(16))[1:],  # 0-RTT
                b"\xe0" + initial(os.urandom(16))[1:],  # a handshake without its beginning
            ):
                await loop.sock_sendall(stranger, silent)
            await loop.sock_sendall(stranger, initial(bytes(range(16)), version=0x0A0A0A0A))
            answer = await loop.sock_recv(stranger, 2000)
        assert answer[5:14] == b"\x08" + bytes(range(8, 16)), "something else was answered before"
        assert server.listener.connections == 0

    run(tmp_path, library, work)


def test_another_version_is_told_ours(library: str, tmp_path: Path) -> None:
    async def work(server: Server) -> None:
        loop = asyncio.get_running_loop()
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as stranger:
            stranger.setblocking(False)
            await loop.sock_connect(stranger, ("127.0.0.1", server.port))
            await loop.sock_sendall(stranger, initial(bytes(range(16)), version=0x0A0A0A0A))
            answer = await loop.sock_recv(stranger, 2000)
        assert answer[0] & 0x80
        assert answer[1:5] == bytes(4)
        assert answer[5:14] == b"\x08" + bytes(range(8, 16))
        assert answer[-4:] == b"\0\0\0\x01"

    run(tmp_path, library, work)
