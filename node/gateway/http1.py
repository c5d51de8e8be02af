"""HTTP/1.1 requests out of bytes, without I/O: where a head ends, what it says, and its body (RFC 9112).

A request means one thing or is refused: wherever a proxy in front might see another request than we do (request
smuggling), there is a fault, and the connection ends. The head is framed here, by its first empty line, and its syntax
is llhttp's; both have to agree. Bodies are framed here. How bytes were split on their way changes nothing.

>>> parser = RequestParser(HttpLimits(), 1_000, lambda head: head)
>>> parser.receive(b"POST / HTTP/1.1\\r\\nHost: a\\r\\nContent-Length: 2\\r\\n\\r\\n{}")
>>> parser.next_head().method, parser.next_body(), parser.is_complete
('POST', b'{}', True)
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Generic, TypeVar

import httptools

from node.gateway.answers import HttpRefusal
from node.gateway.limits import HttpLimits

Plan = TypeVar("Plan")
Field = tuple[bytes, bytes]

END_OF_LINE, END_OF_HEAD = b"\r\n", b"\r\n\r\n"
METHODS = ("GET", "HEAD", "POST", "PUT", "DELETE", "CONNECT", "OPTIONS", "TRACE", "PATCH")
"""The methods of RFC 9110 and RFC 5789; any other is refused with 405, which ends its connection."""
_TOKEN = rb"[\w!#$%&'*+.^`|~-]"
_BEGINNING = re.compile(_TOKEN)
_REQUEST_LINE = re.compile(rb"(" + _TOKEN + rb"+) ([!-~]+) HTTP/(\d)\.(\d)")
_UNSAFE = re.compile(rb"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]|\r(?!\n)|(?<!\r)\n|\r\n[ \t]")
"""In a head: control characters, halves of line ends, folded headers. One reader's header is another's two."""
_LENGTH = re.compile(rb"\d{1,15}")
_ABSOLUTE = re.compile(rb"[A-Za-z][A-Za-z0-9+.-]*://([^/?#]*)")
"""The beginning of a target that names its host, which then counts in place of the Host header (RFC 9112, 3.2.2)."""
_CHUNK_LINE = re.compile(rb"([0-9A-Fa-f]{1,8})(?:;[\t -~]*)?")
_TRAILER = re.compile(_TOKEN + rb"+:[\t -~\x80-\xff]*")

MALFORMED_HINT = "send HTTP/1.1 as in RFC 9112; this connection is closed"


class HttpFault(Exception):
    """A request that cannot be read. Its answer ends the connection: nobody knows where the next request begins."""

    def __init__(self, refusal: HttpRefusal) -> None:
        super().__init__(refusal.message)
        self.refusal = refusal


def malformed(message: str) -> HttpFault:
    """The fault of a request that is not HTTP."""
    return HttpFault(HttpRefusal(400, "http.malformed", message, MALFORMED_HINT))


def too_large(message: str) -> HttpFault:
    """The fault of a body above a limit."""
    return HttpFault(HttpRefusal(413, "rpc.too_large", message, "send smaller requests or batches"))


class RequestHead:
    """The head of a request, as its headers were sent but for their names, which are in lower case."""

    __slots__ = (
        "expectation", "headers", "hosts", "keeps_alive", "length", "method", "minor", "offer", "path", "query", "raw"
    )  # fmt: skip

    def __init__(self, raw: bytes, method: str, target: bytes, minor: int, headers: list[Field]) -> None:
        """Raises `HttpFault`."""
        self.raw = raw
        self.method = method
        self.minor = minor
        """Version: 1 for HTTP/1.1, 0 for HTTP/1.0."""
        self.headers = headers
        self.hosts = self.values(b"host")
        self.path, self.query = self._path(target)
        """The path of the target, and its query, which is empty for most."""
        self.length = self._length()
        """Bytes of the body; None if it is chunked."""
        options = self.tokens(b"connection")
        self.keeps_alive = b"close" not in options and (minor == 1 or b"keep-alive" in options)
        """Whether the connection stays when the request is answered."""
        self.offer = b", ".join(self.values(b"upgrade")).lower() if minor == 1 and b"upgrade" in options else b""
        """The protocols that the client would rather speak."""
        self.expectation = b", ".join(self.values(b"expect")).lower() if minor == 1 else b""

    def values(self, name: bytes) -> list[bytes]:
        """The values of a header, as often as it was sent."""
        return [value.strip(b" \t") for key, value in self.headers if key == name]

    def tokens(self, name: bytes) -> list[bytes]:
        """The members of a header that is a list, in lower case."""
        return [token.strip(b" \t").lower() for value in self.values(name) for token in value.split(b",")]

    def text(self, name: bytes) -> str | None:
        """The first value of a header."""
        values = self.values(name)
        return str(values[0], "latin-1") if values else None

    def without_query(self) -> bytes:
        """Its bytes without the query of the target, which may hold a token."""
        line, end, rest = self.raw.partition(END_OF_LINE)
        return line.replace(b"?" + self.query.encode("latin-1"), b"", 1) + end + rest

    def _path(self, target: bytes) -> tuple[str, str]:
        authority = _ABSOLUTE.match(target)
        if authority is not None:
            self.hosts = [authority[1]] * max(1, len(self.hosts))  # two of them are refused (`node.doors.rule`)
            rest = target[authority.end() :]
            target = rest if rest.startswith(b"/") else b"/" + rest
        elif not target.startswith(b"/") and (self.method, target) != ("OPTIONS", b"*") and self.method != "CONNECT":
            raise malformed("the target of a request is a path or a whole URL")
        path, _, query = str(target, "latin-1").partition("?")
        return path, query

    def _length(self) -> int | None:
        lengths, codings = self.values(b"content-length"), self.values(b"transfer-encoding")
        if codings:
            if lengths or len(codings) > 1 or self.minor == 0:
                raise malformed("a request has one Content-Length, or in HTTP/1.1 one Transfer-Encoding, not both")
            if codings[0].lower() != b"chunked":
                message = "the only transfer coding is chunked"
                raise HttpFault(HttpRefusal(501, "http.malformed", message, "send the body as it is, or chunked"))
            return None
        if len(lengths) > 1 or (lengths and not _LENGTH.fullmatch(lengths[0])):
            raise malformed("a request has at most one Content-Length, a decimal number")
        return int(lengths[0]) if lengths else 0


class _Fields:
    """What llhttp finds in a head."""

    __slots__ = ("headers", "is_whole", "target")

    def __init__(self) -> None:
        self.target = b""
        self.headers: list[Field] = []
        self.is_whole = False

    def on_url(self, part: bytes) -> None:
        """A part of the target."""
        self.target += part

    def on_header(self, name: bytes, value: bytes) -> None:
        """A header."""
        self.headers.append((name.lower(), value))

    def on_headers_complete(self) -> None:
        """The empty line."""
        self.is_whole = True


def read_head(raw: bytes, limits: HttpLimits) -> RequestHead:
    """A head from its request line to its empty line. Raises `HttpFault`."""
    line = _REQUEST_LINE.fullmatch(raw, 0, raw.index(END_OF_LINE))
    assert line is not None, "the request line was checked"
    method = line[1].decode("ascii")
    if method not in METHODS:
        message = f"{method:.40} is not served here"
        raise HttpFault(HttpRefusal(405, "http.method", message, "POST a JSON-RPC request"))
    if _UNSAFE.search(raw):
        raise malformed("a head has no control characters and no folded or half line ends")
    fields = _Fields()
    try:
        httptools.HttpRequestParser(fields).feed_data(raw)
    except httptools.HttpParserUpgrade:
        pass  # an offer, which may be declined: the body is still ours to read
    except httptools.HttpParserError as error:
        raise malformed(f"the head cannot be read: {error}") from None
    if not fields.is_whole:
        raise malformed("the head cannot be read")
    if len(fields.headers) > limits.headers_max:
        raise _large_head(f"a request has at most {limits.headers_max} headers")
    return RequestHead(raw, method, fields.target, int(line[4]), fields.headers)


def _large_head(message: str) -> HttpFault:
    return HttpFault(HttpRefusal(431, "http.too_large", message, "send fewer and shorter headers"))


def check_request_line(line: bytes) -> None:
    """Raises `HttpFault` for what cannot begin a request of HTTP/1."""
    found = _REQUEST_LINE.fullmatch(line)
    if found is None:
        raise malformed("a request begins with a method, a target and HTTP/1.1")
    if found[3] != b"1" or found[4] not in (b"0", b"1"):
        message = f"HTTP/{found[3].decode()}.{found[4].decode()} is not spoken here"
        raise HttpFault(HttpRefusal(505, "http.malformed", message, "send HTTP/1.1, or HTTP/3 where it is offered"))


class _Received:
    """Bytes that arrived and were not looked at yet."""

    __slots__ = ("at", "data")

    def __init__(self) -> None:
        self.data: bytes | bytearray = b""
        """Empty when there are none."""
        self.at = 0
        """Where they begin."""

    def __len__(self) -> int:
        return len(self.data) - self.at

    def add(self, data: bytes) -> None:
        """More of them."""
        if not self.data:
            self.data = data
            return
        if self.at or isinstance(self.data, bytes):
            self.data, self.at = bytearray(memoryview(self.data)[self.at :]), 0
        self.data += data

    def take(self, size: int) -> bytes:
        """At most so many of them."""
        data, begin = self.data, self.at
        end = min(len(data), begin + size)
        self.skip_to(end)
        return data if end - begin == len(data) and isinstance(data, bytes) else bytes(memoryview(data)[begin:end])

    def skip_to(self, at: int) -> None:
        """Go on at a place in ``data``; what is used up is not kept."""
        self.at = at
        if at == len(self.data):
            self.data, self.at = b"", 0

    def find(self, mark: bytes, begin: int = 0) -> int:
        """Where ``mark`` is, from the first byte, looking from the byte ``begin`` on; -1 if it is not there."""
        found = self.data.find(mark, self.at + begin)
        return found if found < 0 else found - self.at

    def line(self, size_max: int, fault: Callable[[], HttpFault]) -> bytes | None:
        """The next line without its end, None if it is not there yet. Raises ``fault`` above ``size_max`` bytes."""
        end = self.find(END_OF_LINE)
        if (len(self) - 1 if end < 0 else end) > size_max:  # without its end, the last byte may be half of that
            raise fault()
        if end < 0:
            return None
        return self.take(end + len(END_OF_LINE))[:end]


class _ChunkedBody:
    """A chunked body (RFC 9112, 7.1). Its extensions and trailers are checked and discarded."""

    __slots__ = ("_ends_chunk", "_in_trailers", "_left", "_limits", "_overhead", "_room", "is_complete")

    def __init__(self, limits: HttpLimits, size_max: int) -> None:
        self._limits = limits
        self._room = size_max
        self._left = 0
        self._overhead = 0
        self._ends_chunk = self._in_trailers = self.is_complete = False

    def read(self, received: _Received) -> bytes:
        """What there is of the data. Raises `HttpFault`."""
        parts = []
        while not self.is_complete:
            if self._left:
                part = received.take(self._left)
                if not part:
                    break
                self._left -= len(part)
                self._ends_chunk = self._left == 0
                parts.append(part)
            else:
                line = received.line(self._limits.chunk_line_bytes_max, _long_chunk_line)
                if line is None:
                    break
                self._understand(line)
        return b"".join(parts)

    def _understand(self, line: bytes) -> None:
        self._overhead += len(line) + len(END_OF_LINE)
        if self._overhead > self._limits.chunk_overhead_bytes_max:
            raise too_large("the chunks of a body are too small, or their extensions and trailers too long")
        if self._ends_chunk:
            if line:
                raise malformed("a chunk is longer than it says")
            self._ends_chunk = False
        elif self._in_trailers:
            if line and not _TRAILER.fullmatch(line):
                raise malformed("a trailer is a header")
            self.is_complete = not line
        else:
            found = _CHUNK_LINE.fullmatch(line)
            if found is None:
                raise malformed("a chunk begins with its size in hexadecimal digits")
            self._left = int(found[1], 16)
            self._in_trailers = self._left == 0
            self._room -= self._left
            if self._room < 0:
                raise too_large("the body is too large")


def _long_chunk_line() -> HttpFault:
    return malformed("the line of a chunk is too long")


class RequestParser(Generic[Plan]):
    """Requests of one connection, one after the other: `next_head`, then `next_body` until `is_complete`.

    ``plan`` says what is done with a head; it is asked once for all heads that are the same byte for byte, as those of
    a connection often are. Raises what it raises.
    """

    def __init__(self, limits: HttpLimits, body_bytes_max: int, plan: Callable[[RequestHead], Plan]) -> None:
        self._limits = limits
        self._body_bytes_max = body_bytes_max
        self._plan = plan
        self._known: dict[bytes, tuple[Plan, int | None]] = {}
        """By their bytes, heads with the lengths of their bodies."""
        self._received = _Received()
        self._looked = 0
        """Bytes of an unfinished head that were searched for its end."""
        self._is_line_checked = False
        self._left = 0
        self._chunks: _ChunkedBody | None = None

    def receive(self, data: bytes) -> None:
        """More bytes have arrived."""
        self._received.add(data)

    @property
    def buffered(self) -> int:
        """Bytes received that belong to nothing read so far."""
        return len(self._received)

    @property
    def has_begun(self) -> bool:
        """Whether there is a part of another request; an empty line before it is none."""
        received = self._received
        if not received.data:
            return False
        return len(received) > len(END_OF_LINE) or received.data[received.at] != ord("\r")

    def rest(self) -> bytes:
        """What was received behind the last request, which is not HTTP any more."""
        return self._received.take(len(self._received))

    def next_head(self) -> Plan | None:
        """What is done with the next request, once its head has arrived. Raises `HttpFault`."""
        received = self._received
        data, begin = received.data, received.at
        if not data:
            return None
        if data.startswith(END_OF_LINE, begin):
            begin += len(END_OF_LINE)  # one empty line before a request is ignored (RFC 9112, 2.2)
        end = data.find(END_OF_HEAD, max(begin, received.at + self._looked))
        if end < 0:
            self._check_beginning(begin)
            self._looked = max(0, len(received) - len(END_OF_HEAD) + 1)
            return None
        end += len(END_OF_HEAD)
        raw = bytes(memoryview(data)[begin:end])
        known = self._known.get(raw)
        if known is None:
            known = self._understand(raw, begin)
        received.skip_to(end)
        self._looked, self._is_line_checked = 0, False
        plan, length = known
        if length is None:
            self._chunks = _ChunkedBody(self._limits, self._body_bytes_max)
        else:
            self._left = length
        return plan

    def next_body(self) -> bytes:
        """What has arrived of the body of the request. Raises `HttpFault`."""
        if self._chunks is None:
            part = self._received.take(self._left)
            self._left -= len(part)
            return part
        part = self._chunks.read(self._received)
        if self._chunks.is_complete:
            self._chunks = None
        return part

    @property
    def is_complete(self) -> bool:
        """Whether the whole body was read."""
        return not self._left and self._chunks is None

    def _understand(self, raw: bytes, begin: int) -> tuple[Plan, int | None]:
        self._check_beginning(begin)
        if len(raw) - len(END_OF_HEAD) > self._limits.head_bytes_max:
            raise _large_head(f"a head has at most {self._limits.head_bytes_max} bytes")
        head = read_head(raw, self._limits)
        made = self._plan(head), head.length
        if len(raw) <= self._limits.head_remembered_bytes_max:
            if len(self._known) >= self._limits.heads_remembered_max:
                self._known.clear()
            self._known[raw] = made
        return made

    def _check_beginning(self, begin: int) -> None:
        """Refuse what is not a request or too long, as soon as that is known. Raises `HttpFault`."""
        data = self._received.data
        size = len(data) - begin
        if not size or (size == 1 and data[begin] == ord("\r")):
            return
        if not self._is_line_checked:
            if not _BEGINNING.match(data, begin):
                raise malformed("this is not HTTP")
            limit = self._limits.request_line_bytes_max
            end = data.find(b"\n", begin, begin + limit + len(END_OF_LINE)) - 1
            if end < 0 and size > limit + 1:
                message = f"a request line has at most {limit} bytes"
                raise HttpFault(HttpRefusal(414, "http.too_large", message, "POST the request to / as a body"))
            if end < 0:
                return
            if data[end] != ord("\r"):
                raise malformed("a line ends with CR and LF")
            check_request_line(bytes(data[begin:end]))
            self._is_line_checked = True
        if size > self._limits.head_bytes_max + len(END_OF_HEAD) - 1 and data.find(END_OF_HEAD, begin) < 0:
            raise _large_head(f"a head has at most {self._limits.head_bytes_max} bytes")
