"""The head of an HTTP/3 request out of its fields (RFC 9114, 4.1.2 to 4.3.1). What is malformed is refused.

>>> fields = [(b":method", b"GET"), (b":scheme", b"https"), (b":authority", b"a:1"), (b":path", b"/healthz")]
>>> head = read_fields(fields, HttpLimits())
>>> head.method, head.path, head.hosts
('GET', '/healthz', [b'a:1'])
"""

from __future__ import annotations

import re
from typing import Final

from node.gateway.answers import HttpRefusal
from node.gateway.http1 import METHODS, HttpFault, RequestHead
from node.gateway.limits import HttpLimits
from node.wire.http3 import Fields

FIELD_OVERHEAD_BYTES: Final = 32
"""Counted for each field besides its name and value (RFC 9114, 4.2.2)."""
OF_CONNECTIONS: Final = frozenset((b"connection", b"keep-alive", b"proxy-connection", b"transfer-encoding", b"upgrade"))
"""Fields that do not exist in HTTP/3 (RFC 9114, 4.2)."""
PSEUDO: Final = frozenset((b":method", b":scheme", b":authority", b":path"))
_NAME = re.compile(rb"[a-z0-9!#$%&'*+.^_`|~-]+")
_UNSAFE = re.compile(rb"[\x00-\x08\x0a-\x1f\x7f]|^[ \t]|[ \t]$")
_METHOD = re.compile(rb"[\w!#$%&'*+.^`|~-]+", re.ASCII)
_PATH = re.compile(rb"/[!-~]*")
_LENGTH = re.compile(rb"\d{1,15}")
_HINT = "send HTTP/3 as in RFC 9114"


class Http3Head(RequestHead):
    """A head whose body is framed by HTTP/3; ``length`` is what it announces, None if it does not."""

    __slots__ = ()

    def _length(self) -> int | None:
        lengths = self.values(b"content-length")
        if len(lengths) > 1 or (lengths and not _LENGTH.fullmatch(lengths[0])):
            raise malformed("a request has at most one content-length, a decimal number")
        return int(lengths[0]) if lengths else None


def malformed(message: str) -> HttpFault:
    """The fault of a request that is not HTTP/3. Its stream ends; others go on (RFC 9114, 4.1.2)."""
    return HttpFault(HttpRefusal(400, "http.malformed", message, _HINT))


def field_bytes(fields: Fields) -> int:
    """The size of a field section (RFC 9114, 4.2.2)."""
    return sum(len(name) + len(value) + FIELD_OVERHEAD_BYTES for name, value in fields)


def read_fields(fields: Fields, limits: HttpLimits) -> RequestHead:
    """The head that these fields are. Raises `HttpFault`."""
    size = field_bytes(fields)
    if len(fields) > limits.headers_max + len(PSEUDO) or size > limits.head_bytes_max:
        message = f"a head has at most {limits.headers_max} fields and {limits.head_bytes_max} bytes"
        raise HttpFault(HttpRefusal(431, "http.too_large", message, "send fewer and shorter headers"))
    pseudo, headers = _separated(fields)
    method = pseudo.get(b":method", b"")
    if not _METHOD.fullmatch(method):
        raise malformed("a request has a :method")
    if method.decode() not in METHODS:
        message = f"{method.decode():.40} is not served here"
        raise HttpFault(HttpRefusal(405, "http.method", message, "POST a JSON-RPC request"))
    _check_target(method, pseudo)
    hosts = [value for name, value in headers if name == b"host"]
    authority = pseudo.get(b":authority")
    if authority is not None:
        if any(host != authority for host in hosts):
            raise malformed("Host and :authority are not the same")
        if not hosts:
            headers.append((b"host", authority))
    return Http3Head(b"", method.decode(), pseudo.get(b":path", b""), 1, headers)


def check_trailers(fields: Fields) -> None:
    """Trailers mean nothing here, but they are fields. Raises `HttpFault`."""
    pseudo, _ = _separated(fields)
    if pseudo:
        raise malformed("trailers have no pseudo-header fields")


def _separated(fields: Fields) -> tuple[dict[bytes, bytes], Fields]:
    """The pseudo-header fields, and the others. Raises `HttpFault` for what neither may be."""
    pseudo: dict[bytes, bytes] = {}
    headers: Fields = []
    for name, value in fields:
        if _UNSAFE.search(value):
            raise malformed("the value of a field has no control characters and no space at its ends")
        if name.startswith(b":"):
            if headers or name in pseudo or name not in PSEUDO:
                raise malformed("pseudo-header fields come first and once, and are those of RFC 9114, 4.3.1")
            pseudo[name] = value
        elif not _NAME.fullmatch(name):
            raise malformed("the name of a field is a token in lower case")
        elif name in OF_CONNECTIONS or (name == b"te" and value.lower() != b"trailers"):
            raise malformed(f"the field {name.decode()} does not exist in HTTP/3")
        else:
            headers.append((name, value))
    return pseudo, headers


def _check_target(method: bytes, pseudo: dict[bytes, bytes]) -> None:
    """Raises `HttpFault`. CONNECT names an authority alone (RFC 9114, 4.4); it is refused as a method."""
    if pseudo.get(b":authority") == b"":
        raise malformed(":authority is not empty")
    if method == b"CONNECT":
        if b":authority" not in pseudo or b":scheme" in pseudo or b":path" in pseudo:
            raise malformed("CONNECT has an :authority, no :scheme and no :path")
        return
    path = pseudo.get(b":path", b"")
    if pseudo.get(b":scheme") != b"https":
        raise malformed("the :scheme is https")
    if not _PATH.fullmatch(path) and (method, path) != (b"OPTIONS", b"*"):
        raise malformed("the :path is a path")
