"""Answers as HTTP/3 fields, out of the same `HttpAnswer` that HTTP/1.1 sends.

>>> fields_of(HttpAnswer(200, b"{}", b"content-type: text/plain\\r\\n"), b"date: x\\r\\n")
[(b':status', b'200'), (b'date', b'x'), (b'content-type', b'text/plain'), (b'content-length', b'2')]
"""

from __future__ import annotations

from functools import lru_cache

from node.gateway.answers import BODILESS, HttpAnswer
from node.http3.head import OF_CONNECTIONS
from node.wire.http3 import Fields

UPGRADE_REQUIRED, BAD_REQUEST = 426, 400
"""Nothing can be upgraded in HTTP/3 (RFC 9114, 4.2), so what asks for it is refused otherwise."""
CONTINUE: Fields = [(b":status", b"100")]


def fields_of(answer: HttpAnswer, date: bytes) -> Fields:
    """All of an answer but its body. ``date`` is a whole line."""
    status = BAD_REQUEST if answer.status == UPGRADE_REQUIRED else answer.status
    fields = [(b":status", b"%d" % status), *_fields(date), *_fields(answer.headers)]
    if status not in BODILESS:
        fields.append((b"content-length", b"%d" % len(answer.body)))
    return fields


@lru_cache(64)
def _fields(lines: bytes) -> Fields:
    parted = (line.split(b": ", 1) for line in lines.split(b"\r\n") if line)
    return [(name, value) for name, value in parted if name not in OF_CONNECTIONS]
