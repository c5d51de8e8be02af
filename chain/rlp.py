"""Recursive Length Prefix (Yellow Paper, appendix B): strict, canonical, bounded.

Items are ``bytes`` or (nested) sequences of items. Integers are big-endian bytes without leading zeros:
`encode_int` and `decode_int`. Decoding accepts only what encoding produces: ``encode(decode(data)) == data``
always holds.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeAlias

from chain.errors import InvalidRlp

Item: TypeAlias = "bytes | Sequence[Item]"
"""What `encode` takes."""

Decoded: TypeAlias = "bytes | list[Decoded]"
"""What `decode` gives."""

MAX_DEPTH = 128
"""Lists within lists. Ethereum's own structures need 7."""

MAX_SIZE_BYTES = 256 * 1024 * 1024
"""The longest input `decode` looks at."""


def encode_int(number: int) -> bytes:
    """Minimal big-endian bytes of a non-negative integer; zero is empty bytes.

    >>> encode_int(0), encode_int(1024)
    (b'', b'\\x04\\x00')
    """
    return number.to_bytes((number.bit_length() + 7) >> 3, "big")


def decode_int(data: Decoded, max_bytes: int = 32) -> int:
    """Integer of its minimal big-endian bytes, at most ``max_bytes`` of them. Raises `InvalidRlp`.

    >>> decode_int(b"\\x04\\x00")
    1024
    """
    if not isinstance(data, bytes):
        raise InvalidRlp("a list where an integer should be")
    if data[:1] == b"\0":
        raise InvalidRlp("an integer with leading zeros")
    if len(data) > max_bytes:
        raise InvalidRlp(f"an integer of {len(data)} bytes, the limit is {max_bytes}")
    return int.from_bytes(data, "big")


def encode_length(length: int, offset: int) -> bytes:
    """The prefix of a payload of ``length`` bytes: ``offset`` is 0x80 for bytes, 0xc0 for a list."""
    if length < 56:
        return bytes((offset + length,))
    digits = encode_int(length)
    return bytes((offset + 55 + len(digits),)) + digits


def encode_bytes(data: bytes) -> bytes:
    """RLP of one byte string."""
    length = len(data)
    if length < 56:
        if length == 1 and data[0] < 0x80:
            return data
        return bytes((0x80 + length,)) + data
    return encode_length(length, 0x80) + data


def encode_list(encoded_items: Sequence[bytes]) -> bytes:
    """RLP of a list whose items are encoded already."""
    payload = b"".join(encoded_items)
    return encode_length(len(payload), 0xC0) + payload


def encode(item: Item) -> bytes:
    """RLP of bytes or of nested sequences of bytes. Raises `InvalidRlp` if nested deeper than `MAX_DEPTH`.

    >>> encode([b"cat", [b""]]).hex()
    'c683636174c180'
    """
    return _encode(item, 0)


def _encode(item: Item, depth: int) -> bytes:
    if isinstance(item, bytes):
        return encode_bytes(item)
    if depth >= MAX_DEPTH:
        raise InvalidRlp(f"lists nested deeper than {MAX_DEPTH}")
    if not isinstance(item, (list, tuple)):
        raise TypeError(f"RLP encodes bytes, lists and tuples, not {type(item).__name__}")
    depth += 1
    parts = [encode_bytes(part) if isinstance(part, bytes) else _encode(part, depth) for part in item]
    payload = b"".join(parts)
    return encode_length(len(payload), 0xC0) + payload


def decode(data: bytes) -> Decoded:
    """The one item that ``data`` encodes, all of it. Raises `InvalidRlp`.

    >>> decode(bytes.fromhex("c683636174c180"))
    [b'cat', [b'']]
    """
    size = len(data)
    if size > MAX_SIZE_BYTES:
        raise InvalidRlp(f"{size} bytes of RLP, the limit is {MAX_SIZE_BYTES}")
    items = _decode_items(data, 0, size, 0)
    if len(items) != 1:
        raise InvalidRlp("bytes after the item" if items else "no bytes")
    return items[0]


def decode_list(data: bytes) -> list[Decoded]:
    """Like `decode`, for input that must be a list."""
    item = decode(data)
    if isinstance(item, bytes):
        raise InvalidRlp("bytes where a list should be")
    return item


def split_items(data: bytes) -> list[bytes]:
    """The still encoded items of the list that ``data`` encodes. Raises `InvalidRlp`.

    >>> [item.hex() for item in split_items(bytes.fromhex("c683636174c180"))]
    ['83636174', 'c180']
    """
    if not data or data[0] < 0xC0:
        raise InvalidRlp("bytes where a list should be")
    position, end = _payload_of(data, 0, len(data))
    if end != len(data):
        raise InvalidRlp("bytes after the item")
    items = []
    while position < end:
        stop = _payload_of(data, position, end)[1]
        items.append(data[position:stop])
        position = stop
    return items


def _decode_items(data: bytes, position: int, end: int, depth: int) -> list[Decoded]:
    """All items between two positions. Recursion is bounded by `MAX_DEPTH`."""
    items: list[Decoded] = []
    append = items.append
    while position < end:
        prefix = data[position]
        if prefix < 0x80:
            append(data[position : position + 1])
            position += 1
        elif prefix < 0xB8:
            start = position + 1
            position = start + prefix - 0x80
            if position > end:
                raise InvalidRlp("bytes longer than what holds them")
            if prefix == 0x81 and data[start] < 0x80:
                raise InvalidRlp("a byte below 0x80 with a length prefix")
            append(data[start:position])
        elif prefix < 0xC0:
            start, position = _payload_of(data, position, end)
            append(data[start:position])
        else:
            start, position = _payload_of(data, position, end)
            if depth >= MAX_DEPTH:
                raise InvalidRlp(f"lists nested deeper than {MAX_DEPTH}")
            append(_decode_items(data, start, position, depth + 1))
    return items


def _payload_of(data: bytes, position: int, end: int) -> tuple[int, int]:
    """Where the payload of the item at ``position`` begins and ends."""
    prefix = data[position]
    if prefix < 0x80:
        return position, position + 1
    offset = 0xC0 if prefix >= 0xC0 else 0x80
    start = position + 1
    length = prefix - offset
    if length > 55:
        digits_end = start + length - 55
        if digits_end > end:
            raise InvalidRlp("a length longer than what holds it")
        if data[start] == 0:
            raise InvalidRlp("a length with leading zeros")
        length = int.from_bytes(data[start:digits_end], "big")
        if length < 56:
            raise InvalidRlp("a long length for a short payload")
        start = digits_end
    stop = start + length
    if stop > end:
        raise InvalidRlp("a payload longer than what holds it")
    if offset == 0x80 and length == 1 and data[start] < 0x80:
        raise InvalidRlp("a byte below 0x80 with a length prefix")
    return start, stop
