"""Reads a datagram's first packet without cryptography, and makes and validates the tokens of Retry packets.

Pure: time is an argument. Sources: RFC 8999 (invariant header), RFC 9000, 8.1 (address validation), 14.1 and 17.2.
"""

from __future__ import annotations

import os
from hashlib import blake2b
from hmac import compare_digest
from typing import Any, Final, NamedTuple

VERSION_1: Final = 1
INITIAL_DATAGRAM_MIN_BYTES: Final = 1200
CLIENT_CHOSEN_ID_MIN_BYTES: Final = 8
"""RFC 9000, 7.2: the destination of a client's first Initial is at least so long and unpredictable."""
CONNECTION_ID_MAX_BYTES: Final = 20
RETRY_TOKEN_SECONDS: Final = 30
_TAG_BYTES = 16
_ID_BYTES = 8


class Initial(NamedTuple):
    """The header of a client's first packet."""

    version: int
    destination: bytes
    source: bytes
    token: bytes


def read_initial(data: bytes) -> Initial | None:
    """The header, None if this datagram cannot begin a connection.

    Of another version than 1 only the invariant part is read; its token is empty.
    """
    if len(data) < INITIAL_DATAGRAM_MIN_BYTES or data[0] & 0xC0 != 0xC0:
        return None
    version = int.from_bytes(data[1:5], "big")
    at = 6 + data[5]
    destination = data[6:at]
    end = at + 1 + data[at]
    source = data[at + 1 : end]
    if not version or data[5] > CONNECTION_ID_MAX_BYTES or len(source) > CONNECTION_ID_MAX_BYTES:
        return None
    if version != VERSION_1:
        return Initial(version, destination, source, b"")
    if data[0] & 0x30 or len(destination) < CLIENT_CHOSEN_ID_MIN_BYTES:
        return None
    width = 1 << (data[end] >> 6)
    length = int.from_bytes(data[end : end + width], "big") & ((1 << (8 * width - 2)) - 1)
    begin = end + width
    if begin + length > len(data):
        return None
    return Initial(version, destination, source, data[begin : begin + length])


class Validated(NamedTuple):
    """Content of a valid token: the destination ID the client chose first, and the one a Retry gave it."""

    original_destination: bytes
    retry_source: bytes


class RetryTokens:
    """Tokens bound to an address and a time, authenticated with a key of this process.

    They are not encrypted: the client knows their content anyway.
    """

    def __init__(self, key: bytes | None = None) -> None:
        self._key = os.urandom(32) if key is None else key

    def create(self, address: Any, original_destination: bytes, retry_source: bytes, now: float) -> bytes:
        """A token that proves control of ``address``; ``retry_source`` has 8 bytes, ``now`` is in seconds."""
        assert len(retry_source) == _ID_BYTES, "connection IDs of this node have 8 bytes"
        body = int(now).to_bytes(8, "big") + retry_source + original_destination
        return self._tag(address, body) + body

    def validate(self, address: Any, token: bytes, destination: bytes, now: float) -> Validated | None:
        """The token's content; None if it is forged, too old, or for another address or destination."""
        tag, body = token[:_TAG_BYTES], token[_TAG_BYTES:]
        if not compare_digest(tag, self._tag(address, body)):
            return None
        if not 0 <= now - int.from_bytes(body[:8], "big") <= RETRY_TOKEN_SECONDS:
            return None
        retry_source = body[8 : 8 + _ID_BYTES]
        return Validated(body[8 + _ID_BYTES :], retry_source) if retry_source == destination else None

    def _tag(self, address: Any, body: bytes) -> bytes:
        place = f"{address[0]} {address[1]} ".encode()
        return blake2b(place + body, key=self._key, digest_size=_TAG_BYTES).digest()
