"""RLP against its own laws and against the rlp package."""

from __future__ import annotations

import pytest
import rlp as pyrlp
from hypothesis import given
from hypothesis import strategies as st

from chain import rlp
from chain.errors import InvalidRlp

items = st.recursive(st.binary(max_size=80), lambda inner: st.lists(inner, max_size=6), max_leaves=30)


@given(items)
def test_round_trip_and_agreement(item: rlp.Decoded) -> None:
    encoded = rlp.encode(item)
    assert encoded == pyrlp.encode(item)
    assert rlp.decode(encoded) == item


@given(st.binary(max_size=60))
def test_what_decodes_is_canonical(data: bytes) -> None:
    try:
        item = rlp.decode(data)
    except InvalidRlp:
        with pytest.raises(pyrlp.exceptions.RLPException):
            pyrlp.decode(data, strict=True)
        return
    assert rlp.encode(item) == data


@given(st.lists(items, max_size=6))
def test_split_items_cuts_where_decode_does(parts: list[rlp.Decoded]) -> None:
    cut = rlp.split_items(rlp.encode(parts))
    assert [rlp.decode(part) for part in cut] == parts
    assert rlp.encode_list(cut) == rlp.encode(parts)


@given(st.integers(0, 2**256 - 1))
def test_integers(number: int) -> None:
    assert rlp.decode_int(rlp.encode_int(number)) == number


@pytest.mark.parametrize("size", [0, 1, 55, 56, 255, 256, 65_535, 65_536])
def test_length_borders(size: int) -> None:
    data = bytes([0x80]) * size
    assert rlp.decode(rlp.encode(data)) == data
    assert rlp.decode(rlp.encode([data])) == [data]
    assert rlp.encode(data) == pyrlp.encode(data)


@pytest.mark.parametrize(
    "text",
    [
        "",  # no bytes
        "8000",  # a second item
        "8100",  # one byte below 0x80
        "c28101",  # the same inside a list
        "b800",  # a long length for nothing
        "b83700",  # and for 55 bytes
        "b90038" + "00" * 56,  # a length with a leading zero
        "f800",
        "83cafe",  # too short
        "c3cafe",
        "c482cafe",
        "bfffffffffffffffff",  # a length longer than memory
        "ffffffffffffffffff",
        "b9",  # cut inside the length
        "c1b9",
    ],
)
def test_refusals(text: str) -> None:
    with pytest.raises(InvalidRlp):
        rlp.decode(bytes.fromhex(text))


@pytest.mark.parametrize("text", ["", "80", "c000", "c2", "c28100", "f800", "c182"])
def test_split_items_refuses(text: str) -> None:
    with pytest.raises(InvalidRlp):
        rlp.split_items(bytes.fromhex(text))


def test_depth_is_bounded() -> None:
    def nested(depth: int) -> bytes:
        data = b""
        for _ in range(depth):
            data = rlp.encode_length(len(data), 0xC0) + data
        return data

    item = rlp.decode(nested(rlp.MAX_DEPTH))
    assert rlp.encode(item) == nested(rlp.MAX_DEPTH)
    with pytest.raises(InvalidRlp, match="deeper"):
        rlp.decode(nested(rlp.MAX_DEPTH + 1))
    with pytest.raises(InvalidRlp, match="deeper"):
        rlp.decode(nested(100_000))
    with pytest.raises(InvalidRlp, match="deeper"):
        rlp.encode([item])


def test_size_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rlp, "MAX_SIZE_BYTES", 10)
    with pytest.raises(InvalidRlp, match="limit"):
        rlp.decode(bytes(11))


def test_decode_int_refuses() -> None:
    for bad in (b"\0", b"\0\1", bytes([1]) * 33, []):
        with pytest.raises(InvalidRlp):
            rlp.decode_int(bad)
    with pytest.raises(InvalidRlp):
        rlp.decode_int(b"\1" * 9, 8)


def test_other_types_are_bugs() -> None:
    with pytest.raises(TypeError):
        rlp.encode(["text"])
    with pytest.raises(InvalidRlp):
        rlp.decode_list(b"\x80")
