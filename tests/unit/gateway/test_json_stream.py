"""Values of a stream are found wherever its bytes were cut, and what cannot be read on is refused at once."""

from __future__ import annotations

import json
import random

import pytest

from node.gateway.json_stream import BYTES_PER_TURN, JsonStream
from node.rpc.errors import ParseError, RequestTooLarge

MOST = 4 << 20


def taken(stream: JsonStream) -> list[bytes]:
    """All values that can be taken now."""
    values = []
    while True:
        value = stream.take()
        if value is not None:
            values.append(value)
        elif not stream.is_ahead:
            return values


def values_of(*parts: bytes, most: int = MOST) -> list[bytes]:
    stream, found = JsonStream(most), []
    for part in parts:
        stream.receive(part)
        found += taken(stream)
    return found


VALUES = (
    b"{}", b"[]", b'{"a":"}"}', b'["]","\\"]","\\\\"]', b'[[{"a":[{}]}],{"b":{}}]', b'{"\\u007d":"\\\\\\""}',
    b'["\xc3\xa9"]', b'[1, 2.5e3 , true,\n null]',
)  # fmt: skip


@pytest.mark.parametrize("between", [b"", b"\n", b" \t\r\n\n", b"\r\n"])
def test_values_end_where_their_brackets_do(between: bytes) -> None:
    sent = between.join((b"", *VALUES, b""))
    assert values_of(sent) == list(VALUES)
    assert values_of(*(sent[at : at + 1] for at in range(len(sent)))) == list(VALUES)


@pytest.mark.parametrize("seed", range(20))
def test_any_values_cut_anywhere(seed: int) -> None:
    chance = random.Random(seed)

    def value(depth: int) -> object:
        kind = chance.randrange(6 if depth else 2)
        if kind == 0:
            return "".join(chance.choice('"\\{}[]: ,a\u00e9\n\x00') for _ in range(chance.randrange(9)))
        if kind in (1, 2):
            return chance.choice((0, -1.5, True, None))
        items = [value(depth - 1) for _ in range(chance.randrange(4))]
        return items if kind < 5 else {str(value(0)): item for item in items}

    values = [[value(4)] for _ in range(30)]
    texts = [json.dumps(item, ensure_ascii=chance.random() < 0.5).encode() for item in values]
    sent = b"".join(text + chance.choice((b"", b"\n", b" ")) for text in texts)
    cuts = sorted(chance.randrange(len(sent) + 1) for _ in range(chance.randrange(60)))
    parts = [sent[begin:end] for begin, end in zip([0, *cuts], [*cuts, len(sent)], strict=True)]
    assert values_of(*parts) == texts


@pytest.mark.parametrize(
    "sent",
    [
        b"hello", b"1", b'"text"', b"null", b"\x00", b"\xef\xbb\xbf{}", b"}", b"]", b",{}", b"{]", b"[}", b"[{]}",
        b'["a\nb"]', b'{"a\x00', b'["\\\n"]', b"GET / HTTP/1.1\r\n\r\n", b"\x00\x00\x00\x0f\x94\x00\x01",
    ],
)  # fmt: skip
def test_what_cannot_be_read_on(sent: bytes) -> None:
    with pytest.raises(ParseError):
        values_of(sent + b" " * 10)
    with pytest.raises(ParseError):
        values_of(*(sent[at : at + 1] for at in range(len(sent))), b"  ")


def test_a_value_before_what_cannot_be_read_is_taken() -> None:
    stream = JsonStream(MOST)
    stream.receive(b'{"a":1}oops')
    assert stream.take() == b'{"a":1}'
    with pytest.raises(ParseError):
        stream.take()


@pytest.mark.parametrize("piece", [b"[", b"[" * 999, b'["' + b"a" * 999, b'["' + b"\\\\" * 500, b"[" + b" " * 999])
def test_a_value_without_an_end_is_refused_at_the_limit(piece: bytes) -> None:
    filler = piece[-1:] * 1_000 if b"\\" not in piece else b"\\\\" * 500
    assert values_of(piece, *[filler] * 8, most=10_000) == []
    with pytest.raises(RequestTooLarge):
        values_of(piece, *[filler] * 12, most=10_000)


def test_the_largest_value_and_one_more_byte() -> None:
    value = b'["' + b"a" * 96 + b'"]'
    assert values_of(value, most=100) == [value]
    with pytest.raises(RequestTooLarge):
        values_of(value, most=99)


@pytest.mark.parametrize("piece", [b"[", b'"a",', b"[]," * 2, b'"\\"\\"",'])
def test_one_call_looks_at_a_bounded_part(piece: bytes) -> None:
    stream = JsonStream(MOST)
    stream.receive(b"[" + piece * (MOST // 2 // len(piece)))
    calls = 1
    while stream.take() is None and stream.is_ahead:
        calls += 1
    assert calls >= MOST // 2 // BYTES_PER_TURN


def test_white_space_alone_is_not_kept() -> None:
    stream = JsonStream(100)
    for _ in range(1_000):
        stream.receive(b" \n" * 100)
        assert taken(stream) == []
        assert len(stream) == 0
    assert not stream.is_partial
