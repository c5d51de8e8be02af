"""A stream of JSON values: where each begins and ends. Values follow each other with or without white space between.

Only brackets and strings are looked at; what is in them is the dispatcher's to judge. A stream in which that went
wrong cannot be read on: nobody knows where the next value would begin.

>>> stream = JsonStream(1024)
>>> stream.receive(b'{"a": "}"}[1] {"b"')
>>> stream.take(), stream.take(), stream.take(), stream.is_partial
(b'{"a": "}"}', b'[1]', None, True)
"""

from __future__ import annotations

import re
from typing import Final

from node.rpc.errors import ParseError, RequestTooLarge

MARKS_PER_TURN: Final = 1_024
"""Brackets, quotes and escapes at slice ends looked at by one call of `JsonStream.take`, in less than a millisecond."""
BYTES_PER_TURN: Final = 64 * 1024
"""Bytes looked at by one call."""
QUOTE, BACKSLASH, SPACE = b'"\\ '
CLOSING: Final = dict(zip(b"[{", b"]}", strict=True))
_SPACE = re.compile(rb"[ \t\r\n]*")
_INSIDE = re.compile(rb'(?:[^\[\]{}"]++|"(?:[^"\\\x00-\x1f]++|\\[^\x00-\x1f])*+")*+')
"""Everything up to a bracket, or to a string that does not end here."""
_TEXT = re.compile(rb'(?:[^"\\\x00-\x1f]++|\\[^\x00-\x1f])*+')
"""The rest of a string up to its end, to a backslash that is the last byte, or to a character that may not be there."""


class JsonStream:
    """Cuts a stream of bytes into JSON values, each an object or an array."""

    def __init__(self, value_bytes_max: int) -> None:
        self._value_bytes_max = value_bytes_max
        self._buffer = bytearray()
        self._at = 0
        """Bytes looked at."""
        self._closing = bytearray()
        """The brackets that are to come, the next one last."""
        self._in_string = False
        self._is_escaped = False
        """Whether the next character belongs to a backslash."""

    def __len__(self) -> int:
        """Bytes that are kept."""
        return len(self._buffer)

    @property
    def is_partial(self) -> bool:
        """Whether a value has begun and not ended."""
        return bool(self._buffer)

    @property
    def is_ahead(self) -> bool:
        """Whether there are bytes that were not looked at: `take` goes on with them."""
        return self._at < len(self._buffer)

    def receive(self, data: bytes) -> None:
        """More bytes."""
        self._buffer += data

    def take(self) -> bytes | None:
        """The next value; None if it has not come, or not been found in this turn (`is_ahead`).

        Raises `ParseError` and `RequestTooLarge`, after which nothing more can be taken.
        """
        buffer = self._buffer
        if not self._closing:
            self._begin()
        marks, end = MARKS_PER_TURN, min(len(buffer), self._at + BYTES_PER_TURN)
        while self._at < end and marks:
            marks -= 1
            if self._in_string:
                self._read_string(end)
                continue
            self._at = _end_of(_INSIDE, buffer, self._at, end)
            if self._at < end:
                self._at += 1
                self._read_mark(buffer[self._at - 1])
                if not self._closing:
                    return self._taken()
        if self._at > self._value_bytes_max:
            raise self._too_large()
        return None

    def _begin(self) -> None:
        buffer = self._buffer
        del buffer[: _end_of(_SPACE, buffer, 0, len(buffer))]
        if buffer and buffer[0] not in CLOSING:
            raise ParseError(f"a request begins with {{ or [, not with the byte 0x{buffer[0]:02x}")

    def _read_mark(self, mark: int) -> None:
        if mark == QUOTE:
            self._in_string = True
        elif mark in CLOSING:
            self._closing.append(CLOSING[mark])
        elif self._closing.pop() != mark:
            raise ParseError(f"{chr(mark)} closes another bracket than was opened")

    def _read_string(self, end: int) -> None:
        buffer = self._buffer
        if self._is_escaped and buffer[self._at] >= SPACE:
            self._at += 1
        self._is_escaped = False
        self._at = _end_of(_TEXT, buffer, self._at, end)
        if self._at == end:
            return
        mark = buffer[self._at]
        self._at += 1
        if mark == QUOTE:
            self._in_string = False
        elif mark == BACKSLASH and self._at == end:
            self._is_escaped = True
        else:
            raise ParseError("a string has a control character")

    def _taken(self) -> bytes:
        size, self._at = self._at, 0
        if size > self._value_bytes_max:
            raise self._too_large()
        value = bytes(self._buffer[:size])
        del self._buffer[:size]
        return value

    def _too_large(self) -> RequestTooLarge:
        return RequestTooLarge(f"a request of more than {self._value_bytes_max} bytes")


def _end_of(pattern: re.Pattern[bytes], buffer: bytearray, begin: int, end: int) -> int:
    """Where the longest match of a pattern that begins there ends; it may be empty."""
    found = pattern.match(buffer, begin, end)
    assert found is not None, "it matches nothing, too"
    return found.end()
