"""The sans-IO connection: greeting, limits, and nothing but declared errors whatever arrives."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from node.doors.rule import WRONG_TOKEN
from node.doors.visitor import Verdict
from node.rpc.caller import OWNER
from node.rpc.errors import NodeBusy
from node.wire.connection import LARGE_FRAME_BYTES, ConnectionState, ServerConnection
from node.wire.errors import WireError
from node.wire.events import (
    ConnectionRefused,
    Greeted,
    LargeFrameReceived,
    RequestReceived,
    RequestRefused,
    StreamEnded,
    StreamRefused,
)
from node.wire.limits import WireLimits
from zvmd.frames import LENGTH_BYTES, CallMethod, Frame, Hello, Welcome, decode_request, encode_frame

LIMITS = WireLimits(request_frame_max_bytes=1000, in_flight_max=3, streams_max=4, malformed_max=2)
HELLO = encode_frame(Hello(1, b"token", "test"))


def enter(token: bytes) -> Verdict:
    return Verdict(OWNER) if token == b"token" else Verdict(refusal=WRONG_TOKEN)


def greeting() -> ServerConnection:
    return ServerConnection(LIMITS, enter, now=0.0)


def opened() -> ServerConnection:
    connection = greeting()
    assert connection.receive(0, HELLO, False, 0.1) == [Greeted(0, "test")]
    return connection


def call(number: int) -> bytes:
    return encode_frame(CallMethod(number, "eth_chainId"))


def closed_with(connection: ServerConnection, events: list[object]) -> str:
    assert connection.state is ConnectionState.CLOSED
    last = events[-1]
    assert isinstance(last, ConnectionRefused)
    assert connection.receive(0, HELLO, False, 0.2) == []
    return last.error.code


@pytest.mark.parametrize(
    ("stream", "data", "end", "code"),
    [
        (0, encode_frame(Hello(1, b"wrong")), False, "wire.token"),
        (0, encode_frame(Hello(9, b"token")), False, "wire.version"),
        (0, call(1), False, "wire.hello_missing"),
        (4, HELLO, False, "wire.hello_missing"),
        (2, HELLO, False, "wire.stream_kind"),
        (0, b"\0\0\0\x01\xc1", False, "wire.hello_missing"),
        (0, b"\xff\xff\xff\xff", False, "wire.frame_size"),
        (0, HELLO[:-1], True, "wire.truncated"),
    ],
)
def test_a_bad_greeting_closes_the_connection(stream: int, data: bytes, end: bool, code: str) -> None:
    connection = greeting()
    assert closed_with(connection, connection.receive(stream, data, end, 0.1)) == code


def test_a_silent_peer_is_refused_after_two_seconds() -> None:
    connection = greeting()
    assert connection.expire(1.9) == []
    assert closed_with(connection, connection.expire(2.0)) == "wire.hello_late"
    late = greeting()
    assert closed_with(late, late.receive(0, HELLO, False, 2.1)) == "wire.hello_late"


def test_requests_behind_the_greeting_in_one_chunk_are_read() -> None:
    first, second = greeting().receive(0, HELLO + call(7), False, 0.1)
    assert isinstance(first, Greeted)
    assert isinstance(second, RequestReceived)
    assert second.request == CallMethod(7, "eth_chainId")


def test_too_many_requests_are_refused_one_by_one_and_room_returns() -> None:
    connection = opened()
    events = connection.receive(0, b"".join(call(number) for number in range(5)), False, 1)
    assert [type(event) for event in events] == [RequestReceived] * 3 + [RequestRefused] * 2
    assert [event.error.code for event in events if isinstance(event, RequestRefused)] == ["wire.in_flight"] * 2
    assert isinstance(events[0], RequestReceived)
    connection.answered(events[0].size_bytes)
    assert isinstance(connection.receive(4, call(9), False, 1)[0], RequestReceived)


def test_a_malformed_frame_costs_itself_and_many_cost_the_connection() -> None:
    connection = opened()
    bad = encode_frame(Welcome(1, 1, "", 1, 1))
    assert [type(e) for e in connection.receive(0, bad + call(1), False, 1)] == [RequestRefused, RequestReceived]
    assert closed_with(connection, connection.receive(0, bad + bad, False, 1)) == "wire.malformed_often"


def large(request: Frame) -> bytes:
    """Its frame, which is to be decoded elsewhere."""
    frame = encode_frame(request)
    assert len(frame) - LENGTH_BYTES > LARGE_FRAME_BYTES
    return frame


def test_a_large_frame_is_decoded_elsewhere_and_counts_until_it_is_answered() -> None:
    connection = ServerConnection(WireLimits(in_flight_max=1), enter, now=0.0)
    connection.receive(0, HELLO, False, 0.1)
    request = CallMethod(7, "web3_sha3", ["0x" + "00" * LARGE_FRAME_BYTES])
    frame = large(request)
    (event,) = connection.receive(0, frame, False, 0.2)
    assert event == LargeFrameReceived(0, frame[LENGTH_BYTES:])
    (refused,) = connection.receive(0, frame, False, 0.3)
    assert isinstance(refused, RequestRefused)
    size = len(frame) - LENGTH_BYTES
    assert connection.decoded(0, size, decode_request(event.body)) == RequestReceived(0, request, size)
    connection.answered(size)
    assert connection.in_flight == 0


@pytest.mark.parametrize(
    ("decoded", "code"),
    [
        (Hello(1, b"token"), "wire.hello_again"),
        (msgspec.DecodeError("no"), "wire.malformed"),
        (RecursionError(), "wire.malformed"),
        (NodeBusy("full"), "rpc.busy"),
    ],
)
def test_a_large_frame_that_is_no_request_is_refused_and_no_longer_counts(decoded: object, code: str) -> None:
    connection = opened()
    connection.in_flight = 1
    event = connection.decoded(4, 9_000, decoded)
    assert isinstance(event, RequestRefused)
    assert event.error.code == code
    assert connection.in_flight == 0
    connection.ended()
    assert connection.decoded(4, 9_000, decoded) is None


def test_an_oversized_or_truncated_frame_costs_its_stream() -> None:
    connection = opened()
    (refused,) = connection.receive(4, b"\0\0\x04\x00", False, 1)
    assert isinstance(refused, StreamRefused)
    assert refused.error.code == "wire.frame_size"
    assert connection.receive(4, call(1), False, 1) == []
    (truncated,) = connection.receive(8, call(2)[:-1], True, 1)
    assert isinstance(truncated, StreamRefused)
    assert truncated.error.code == "wire.truncated"
    assert isinstance(connection.receive(0, call(3), False, 1)[0], RequestReceived)


def test_streams_are_counted_and_freed_by_their_end() -> None:
    connection = opened()
    for number in range(1, 4):
        connection.receive(4 * number, call(1)[:4], False, 1)
    assert isinstance(connection.receive(16, call(1)[:4], False, 1)[0], StreamRefused)
    connection.stream_reset(4)
    connection.answered(0)
    events = connection.receive(20, call(1), True, 1)
    assert [type(event) for event in events] == [RequestReceived, StreamEnded]


def test_bytes_held_are_bounded() -> None:
    limits = WireLimits(request_frame_max_bytes=1000, connection_buffer_max_bytes=1500)
    connection = ServerConnection(limits, enter, 0.0)
    connection.receive(0, HELLO, False, 0)
    assert connection.receive(4, b"\0\0\x03\xe8" + bytes(900), False, 1) == []
    assert closed_with(connection, connection.receive(8, b"\0\0\x03\xe8" + bytes(900), False, 1)) == "wire.bytes"


chunks = st.tuples(
    st.integers(0, 24),
    st.binary(max_size=80) | st.sampled_from([HELLO, call(1), call(2)[:5], HELLO[:3]]),
    st.booleans(),
    st.sampled_from(["data", "reset", "expire", "answered"]),
)


@given(st.booleans(), st.lists(chunks, max_size=40))
def test_whatever_arrives_only_declared_errors_come_out(
    greeted: bool, story: list[tuple[int, bytes, bool, str]]
) -> None:
    connection = opened() if greeted else greeting()
    waiting: list[int] = []
    for now, (stream, data, end, what) in enumerate(story):
        events: list[object] = []
        if what == "data":
            events += connection.receive(stream, data, end, now / 10)
        elif what == "reset":
            connection.stream_reset(stream)
        elif what == "expire":
            events += connection.expire(now / 10)
        elif waiting:
            connection.answered(waiting.pop())
        for event in events:
            if isinstance(event, RequestReceived):
                waiting.append(event.size_bytes)
            elif isinstance(event, (RequestRefused, StreamRefused, ConnectionRefused)):
                assert isinstance(event.error, WireError)
                assert event.error.hint
        assert connection.in_flight == len(waiting) <= LIMITS.in_flight_max
        assert (connection.state is ConnectionState.CLOSED) == (
            connection.state is not ConnectionState.GREETING and connection.state is not ConnectionState.OPEN
        )
