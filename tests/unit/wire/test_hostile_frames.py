"""What a peer can make a connection of either library keep or do, with frames that no client sends.

Bugs of this kind were found in aioquic: handshake bytes without limit, windows that double without limit, retired
connection IDs without limit. The peer is aioquic, with packets written by hand; there are no sockets.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from aioquic.quic.configuration import QuicConfiguration
from aioquic.quic.connection import QuicConnection
from aioquic.quic.packet import QuicFrameType, QuicPacketType
from aioquic.quic.packet_builder import QuicPacketBuilder
from aioquic.tls import Epoch

from node.auth.tls import load_or_create_certificate
from node.wire.aioquic_library import DATAGRAM_MAX_BYTES, GAPS_MAX
from node.wire.library import QuicLibrary, load_library
from node.wire.limits import WireLimits
from tests.unit.wire.listening import NOW
from zvmd.frames import ALPN

HERE = ("127.0.0.1", 5000)
WINDOW = WireLimits().receive_window_bytes
KEPT_MAX_BYTES = 8 * 1024 * 1024
CRYPTO_BUFFER_EXCEEDED, INTERNAL_ERROR = 0x0D, 0x01


class Pair:
    """A connection of the library, and a client that has shaken hands with it. Time passes with each turn."""

    def __init__(self, library: QuicLibrary, folder: Path, turns: int = 4) -> None:
        configuration = QuicConfiguration(is_client=True, alpn_protocols=["zvmd/1"], server_name="zvmd")
        tls = load_or_create_certificate(folder / "tls", NOW)
        configuration.load_verify_locations(str(folder / "tls" / "authority.pem"))
        logging.getLogger("quic").setLevel(logging.ERROR)
        self.library = library
        self.client = QuicConnection(configuration=configuration)
        self.client.connect(HERE, now=0.0)
        (first,) = [datagram for datagram, _ in self.client.datagrams_to_send(now=0.0)]
        self.server = library.connection(
            configuration=library.configuration(WireLimits(), tls, [ALPN]),
            original_destination_connection_id=first[6 : 6 + first[5]],
        )
        self.now = 0.0
        self.events: list[Any] = []
        self.server.receive_many_datagrams([first], HERE, now=0.0)
        for _ in range(turns):
            self.turn()

    def turn(self, mute: bool = False) -> None:
        """Both send what they have to; a mute client hears only."""
        self.now += 0.05
        for datagram, _ in self.server.datagrams_to_send(now=self.now):
            self.client.receive_datagram(datagram, HERE, now=self.now)
        for datagram, _ in [] if mute else self.client.datagrams_to_send(now=self.now):
            self.server.receive_many_datagrams([datagram], HERE, now=self.now)
        while (event := self.server.next_event()) is not None:
            self.events.append(event)

    def send(self, *frames: bytes, epoch: Epoch = Epoch.ONE_RTT, size: int = 1200) -> None:
        """One datagram of the client with these frames, each behind its type."""
        quic = self.client
        builder = QuicPacketBuilder(
            host_cid=quic.host_cid,
            is_client=True,
            max_datagram_size=size,
            packet_number=quic._packet_number,
            peer_cid=quic._peer_cid.cid,
            peer_token=b"",
            quic_logger=None,
            spin_bit=False,
            version=quic._version,
        )
        kind = QuicPacketType.ONE_RTT if epoch is Epoch.ONE_RTT else QuicPacketType.INITIAL
        builder.start_packet(kind, quic._cryptos[epoch])
        for frame in frames:
            builder.start_frame(frame[0], capacity=len(frame)).push_bytes(frame[1:])
        (datagram,) = builder.flush()[0]
        quic._packet_number = builder.packet_number
        self.server.receive_many_datagrams([datagram], HERE, now=self.now)

    def happened(self, kind: Any) -> list[Any]:
        """Events of a type."""
        return [event for event in self.events if isinstance(event, kind)]

    def ended_with(self) -> int | None:
        """The code with which the server closes the connection within a moment; None if it does not."""
        for _ in range(100):
            self.turn(mute=True)
            if (due := self.server.get_timer()) is not None and due <= self.now:
                self.server.handle_timer(self.now)
        ends = self.happened(self.library.events.terminated)
        return ends[0].error_code if ends else None


def number(value: int) -> bytes:
    """An integer of RFC 9000, 16, of eight bytes."""
    return (value | 3 << 62).to_bytes(8, "big")


def crypto(offset: int, data: bytes) -> bytes:
    return bytes([QuicFrameType.CRYPTO]) + number(offset) + number(len(data)) + data


def stream(offset: int, data: bytes, stream_id: int = 0) -> bytes:
    return bytes([QuicFrameType.STREAM_BASE | 6]) + number(stream_id) + number(offset) + number(len(data)) + data


def new_connection_id(sequence: int, retire_prior_to: int) -> bytes:
    return b"\x18" + number(sequence) + number(retire_prior_to) + b"\x08" + os.urandom(8) + os.urandom(16)


def retire_connection_id(sequence: int) -> bytes:
    return b"\x19" + number(sequence)


@pytest.fixture
def pair(library: str, tmp_path: Path) -> Pair:
    return Pair(load_library(library), tmp_path)


def resident_bytes() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def grown(work: Callable[[], None]) -> int:
    before = resident_bytes()
    work()
    return resident_bytes() - before


def test_handshake_bytes_far_ahead_take_no_room(pair: Pair) -> None:
    assert grown(lambda: pair.send(crypto(2**30, b"x"))) < KEPT_MAX_BYTES


@pytest.mark.parametrize("epoch", [Epoch.INITIAL, Epoch.ONE_RTT])
def test_a_message_of_a_handshake_that_never_ends_closes_the_connection(
    epoch: Epoch, library: str, tmp_path: Path
) -> None:
    """Found with qh3: it kept 16 MB of it, and copied all of that for each further packet."""
    pair = Pair(load_library(library), tmp_path, turns=0 if epoch is Epoch.INITIAL else 4)
    begin = pair.client._crypto_streams[epoch].sender._buffer_stop
    pair.send(crypto(begin, b"\x14\xff\xff\xff" + bytes(1000)), epoch=epoch)
    for at in range(begin + 1004, 30_000, 1000):
        pair.send(crypto(at, bytes(1000)), epoch=epoch)
    assert pair.ended_with() == CRYPTO_BUFFER_EXCEEDED


def test_sparse_handshake_bytes_are_not_kept(pair: Pair) -> None:
    def sparse() -> None:
        for at in range(2, 40_000, 2 * 60):
            pair.send(*(crypto(offset, b"x") for offset in range(at, at + 2 * 60, 2)))

    assert grown(sparse) < KEPT_MAX_BYTES


def test_a_window_moves_with_what_was_read_only(pair: Pair) -> None:
    for _ in range(16):  # where a window doubles whenever half of it is used, it is 65,536 times as large then
        limit = min(pair.client._remote_max_data, WINDOW * 2**16)
        pair.send(stream(limit - 1, b"x"))
        pair.turn()
    assert pair.client._remote_max_data == WINDOW
    assert pair.client._streams.get(0) is None or pair.client._streams[0].max_stream_data_remote == WINDOW


def test_a_window_goes_on_with_what_was_read(pair: Pair) -> None:
    sent = os.urandom(10 * WINDOW)
    pair.client.send_stream_data(0, sent, end_stream=True)
    for _ in range(2_000):
        pair.turn()
        assert pair.client._remote_max_data <= received_bytes(pair) + WINDOW
        assert pair.client._streams[0].max_stream_data_remote <= received_bytes(pair) + WINDOW
        if received_bytes(pair) == len(sent):
            break
    data = pair.happened(pair.library.events.stream_data)
    assert b"".join(event.data for event in data) == sent
    assert data[-1].end_stream


def received_bytes(pair: Pair) -> int:
    return sum(len(event.data) for event in pair.happened(pair.library.events.stream_data))


def test_sparse_frames_of_a_stream_are_kept_within_its_window(pair: Pair) -> None:
    def sparse() -> None:
        for at in range(2, WINDOW - 400, 2 * 40):
            pair.send(*(stream(offset, b"x") for offset in range(at, at + 2 * 40, 2)))

    assert grown(sparse) < KEPT_MAX_BYTES


def test_aioquic_gives_up_a_peer_that_sends_many_pieces_out_of_order(tmp_path: Path) -> None:
    """Each of them would make it look longer for the place of the next."""
    pair = Pair(load_library("aioquic"), tmp_path)
    for at in range(2, 4 * GAPS_MAX, 80):
        pair.send(*(stream(offset, b"x") for offset in range(at, at + 80, 2)))
    assert pair.ended_with() == INTERNAL_ERROR


def test_aioquic_takes_no_datagram_that_would_keep_it_busy_for_long(tmp_path: Path) -> None:
    pair = Pair(load_library("aioquic"), tmp_path)
    pair.send(stream(0, b"x" * 1500), size=DATAGRAM_MAX_BYTES)
    pair.send(stream(1500, b"y" * DATAGRAM_MAX_BYTES), size=DATAGRAM_MAX_BYTES + 200)
    pair.turn()
    assert received_bytes(pair) == 1500


def test_connection_ids_retired_without_end_are_not_kept(pair: Pair) -> None:
    """Each is to be retired with a frame of the server, which keeps it until it is acknowledged: never."""

    def retire() -> None:
        for sequence in range(8, 3_000):
            pair.send(new_connection_id(sequence, sequence))
            pair.now += 0.01
            if (due := pair.server.get_timer()) is not None and due <= pair.now:
                pair.server.handle_timer(pair.now)
            assert sum(len(datagram) for datagram, _ in pair.server.datagrams_to_send(pair.now)) < 1200

    assert grown(retire) < KEPT_MAX_BYTES


def test_connection_ids_are_issued_anew_in_bounded_number(pair: Pair) -> None:
    for sequence in range(1, 500):
        pair.send(retire_connection_id(sequence))
        pair.turn()
    kinds = pair.library.events
    issued, retired = len(pair.happened(kinds.id_issued)), len(pair.happened(kinds.id_retired))
    assert 0 <= issued - retired <= 8


FRAME_ENCODING, STREAM_LIMIT, STREAM_STATE, FINAL_SIZE, ID_LIMIT, VIOLATION = 0x07, 0x04, 0x05, 0x06, 0x09, 0x0A
FAR = 4 * 100_000
"""A stream far beyond those that the client may open."""
FORBIDDEN: dict[str, tuple[tuple[bytes, ...], set[int]]] = {
    "a stream beyond the limit": ((stream(0, b"x", FAR),), {STREAM_LIMIT}),
    "the reset of a stream beyond the limit": ((b"\x04" + number(FAR) + number(0) + number(0),), {STREAM_LIMIT}),
    "a stop of a stream that nobody opened": ((b"\x05" + number(1) + number(0),), {STREAM_STATE}),
    "a window for a stream that nobody opened": ((b"\x11" + number(1) + number(2**40),), {STREAM_STATE}),
    "a reset below what was sent": (
        (stream(100, bytes(100)), b"\x04" + number(0) + number(0) + number(9)), {FINAL_SIZE},
    ),
    "that the handshake is done": ((b"\x1e",), {VIOLATION}),
    "a token for a later connection": ((b"\x07\x04abcd",), {VIOLATION}),
    "a frame of no type": ((b"\x40\x52",), {FRAME_ENCODING}),
    "an acknowledgement with too many ranges": (
        (b"\x02" + number(1) + number(0) + number(560) + b"\x00" + bytes(2 * 560),), {FRAME_ENCODING},
    ),
    "an acknowledgement of what was never sent": (
        (b"\x02" + number(2**20) + number(0) + number(0) + number(2**20),), {VIOLATION},
    ),
    "more connection IDs than are allowed": (
        tuple(new_connection_id(sequence, 0) for sequence in range(1, 20)), {ID_LIMIT, VIOLATION},
    ),
    "two connection IDs of one number": ((new_connection_id(9, 0), new_connection_id(9, 0)), {ID_LIMIT, VIOLATION}),
    "the end of a connection ID that was never issued": ((retire_connection_id(10**6),), {VIOLATION}),
}  # fmt: skip
"""Frames of a client, and the codes of RFC 9000, 20.1, one of which ends the connection."""


@pytest.mark.parametrize("what", FORBIDDEN)
def test_what_no_client_may_say_ends_the_connection(what: str, pair: Pair) -> None:
    """Optimistic acknowledgements (RFC 9000, 21.4) were taken by aioquic."""
    frames, codes = FORBIDDEN[what]
    pair.send(*frames)
    assert pair.ended_with() in codes


def sent_by_the_server(pair: Pair) -> list[bytes]:
    return [datagram for datagram, _ in pair.server.datagrams_to_send(now=pair.now)]


def answers(pair: Pair, stream_id: int) -> bool:
    """Whether the connection still takes and sends bytes of a new stream."""
    pair.client.send_stream_data(stream_id, b"are you there", end_stream=True)
    for _ in range(20):
        pair.turn()
    heard = [event for event in pair.happened(pair.library.events.stream_data) if event.stream_id == stream_id]
    return b"".join(event.data for event in heard) == b"are you there"


@pytest.mark.parametrize("each", [1, 20, 400])
def test_challenges_are_answered_with_no_more_than_they_have(each: int, pair: Pair) -> None:
    """Of those that wait some are forgotten, so there is no memory in it either (as found in quic-go, 2024)."""
    received = sent = 0

    def challenge() -> None:
        nonlocal received, sent
        for turn in range(400):
            pair.send(*(b"\x1a" + os.urandom(8) for _ in range(110)))
            received, pair.now = received + 1200, pair.now + 0.001
            if turn % each == each - 1:
                sent += sum(map(len, sent_by_the_server(pair)))

    assert grown(challenge) < KEPT_MAX_BYTES
    assert sent <= received
    assert answers(pair, 8)


def test_gaps_between_packets_make_no_large_acknowledgements(pair: Pair) -> None:
    sizes: list[int] = []
    for turn in range(3_000):
        pair.client._packet_number += 1
        pair.send(b"\x01")
        pair.now += 0.001
        if turn % 30 == 0:
            sizes += map(len, sent_by_the_server(pair))
    assert max(sizes) < 600
    assert answers(pair, 8)


def test_a_connection_that_moves_all_the_time_amplifies_nothing(pair: Pair) -> None:
    """RFC 9000, 9.3 and 21.5: an address that has proved nothing gets three times what came from it."""
    receive = pair.server.receive_many_datagrams
    received = sent = 0

    def from_another(data: list[bytes], _: Any, now: float) -> None:
        nonlocal received
        received += sum(map(len, data))
        receive(data, ("127.0.0.1", 10_000 + received % 40_000), now=now)

    def move() -> None:
        nonlocal sent
        pair.server.receive_many_datagrams = from_another  # type: ignore[method-assign]
        for _ in range(2_000):
            pair.send(b"\x01")
            pair.now += 0.001
            sent += sum(map(len, sent_by_the_server(pair)))
        pair.server.receive_many_datagrams = receive  # type: ignore[method-assign]

    assert grown(move) < KEPT_MAX_BYTES
    assert sent <= 3 * received
    assert answers(pair, 8)
