"""Frames: any message survives the wire, any chunking gives the same frames, oversized ones stop a stream."""

from __future__ import annotations

from contextlib import suppress

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from zvmd import frames
from zvmd.frames import CallContract, FrameBuffer, decode_answer, decode_request, encode_frame
from zvmd.results import Data, Quantity

naturals = st.integers(0, 2**64 - 1)
addresses = st.binary(min_size=20, max_size=20)
calls = st.builds(
    CallContract,
    naturals,
    st.none() | addresses,
    st.binary(max_size=100),
    st.none() | addresses,
    st.binary(max_size=32),
    st.none() | naturals,
    st.none() | naturals | st.sampled_from(["latest", "earliest"]),
)


@given(calls)
def test_a_message_survives_the_wire(call: CallContract) -> None:
    assert decode_request(encode_frame(call)[4:]) == call


@given(st.lists(st.binary(max_size=50), max_size=10), st.data())
def test_chunks_do_not_matter(bodies: list[bytes], data: st.DataObject) -> None:
    stream = b"".join(len(body).to_bytes(4, "big") + body for body in bodies)
    buffer, found, position = FrameBuffer(50), [], 0
    while position < len(stream):
        size = data.draw(st.integers(1, len(stream) - position))
        found += buffer.feed(stream[position : position + size])
        position += size
    assert found == bodies
    assert len(buffer) == 0


def test_an_oversized_frame_stops_the_buffer_and_keeps_nothing() -> None:
    buffer = FrameBuffer(10)
    assert buffer.feed(b"\0\0\0\x01a" + b"\0\0\0\x0b" + b"x" * 11) == [b"a"]
    assert buffer.oversized_bytes == 11
    assert len(buffer) == 0
    assert buffer.feed(b"\0\0\0\x01b") == []


@pytest.mark.parametrize("kind", [*frames.Request.__args__, *frames.Answer.__args__])
def test_every_message_has_its_own_tag(kind: type[frames.Frame]) -> None:
    everyone = [*frames.Request.__args__, *frames.Answer.__args__]
    tag = kind.__struct_config__.tag
    assert isinstance(tag, int)
    assert [other for other in everyone if other.__struct_config__.tag == tag] == [kind]


@given(st.binary(max_size=200))
def test_arbitrary_bytes_decode_or_raise_one_error(body: bytes) -> None:
    for decode in (decode_request, decode_answer):
        with suppress(msgspec.DecodeError):
            decode(body)


def test_bytes_and_numbers_of_other_classes_are_sent_as_such() -> None:
    """Signed transactions are ``HexBytes``, values of results `Data` and `Quantity`."""

    class Others(bytes):
        pass

    plain = CallContract(1, b"\x11" * 20, b"\x05", block=7)
    given = CallContract(1, Data(b"\x11" * 20), Others(b"\x05"), block=Quantity(7))
    assert encode_frame(given) == encode_frame(plain)
    with pytest.raises(TypeError, match="objects of type object is unsupported"):
        encode_frame(CallContract(1, object()))
