"""HTTP answers as bytes: status line, headers and body. Refusals have the shape of JSON-RPC errors.

>>> head_of(HttpAnswer(200, b"{}"), b"date: x\\r\\n", b"").splitlines()[0]
b'HTTP/1.1 200 OK'
"""

from __future__ import annotations

from dataclasses import dataclass
from http import HTTPStatus
from typing import NamedTuple

import msgspec

JSON = b"content-type: application/json\r\n"
CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
CLOSE, KEEP_ALIVE, NO_WORD = b"connection: close\r\n", b"connection: keep-alive\r\n", b""
"""What an answer says of its connection. Nothing means in HTTP/1.1 that it stays."""
BODILESS = frozenset((HTTPStatus.NO_CONTENT,))
INVALID_REQUEST, LIMIT_EXCEEDED = -32600, -32005
ALTERNATIVE_S = 3_600
"""How long a client may remember where HTTP/3 is spoken. A development node is soon somewhere else."""
STATUS_LINES = {int(status): f"HTTP/1.1 {int(status)} {status.phrase}\r\n".encode() for status in HTTPStatus}


@dataclass(frozen=True, slots=True)
class HttpRefusal:
    """The answer to a request that is refused."""

    status: int
    code: str
    message: str
    hint: str


class HttpAnswer(NamedTuple):
    """What a request gets. ``headers`` are whole lines, without those of length, date and connection."""

    status: int
    body: bytes = b""
    headers: bytes = JSON
    closes: bool = False
    """Whether the connection ends with it."""


def refusing(refusal: HttpRefusal, headers: bytes = b"", closes: bool = False) -> HttpAnswer:
    """A refusal in the shape of a JSON-RPC error, for people who read answers with curl."""
    data = {"code": refusal.code, "hint": refusal.hint}
    code = LIMIT_EXCEEDED if refusal.status == HTTPStatus.TOO_MANY_REQUESTS else INVALID_REQUEST
    error = {"code": code, "message": refusal.message, "data": data}
    body = msgspec.json.encode({"jsonrpc": "2.0", "id": None, "error": error})
    return HttpAnswer(refusal.status, body, JSON + headers, closes)


def alternative(port: int) -> bytes:
    """The line that says at which UDP port of this host HTTP/3 is spoken (RFC 7838, RFC 9114, 3.1.1)."""
    return b'alt-svc: h3=":%d"; ma=%d\r\n' % (port, ALTERNATIVE_S)


def head_of(answer: HttpAnswer, date: bytes, connection: bytes) -> bytes:
    """All of an answer but its body."""
    length = b"\r\n" if answer.status in BODILESS else b"content-length: %d\r\n\r\n" % len(answer.body)
    return b"".join((STATUS_LINES[answer.status], date, answer.headers, connection, length))
