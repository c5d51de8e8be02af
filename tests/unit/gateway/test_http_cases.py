"""What a request means: each shape with its answer, and whether the connection stays. Over sockets, by hand."""

from __future__ import annotations

import asyncio
import gzip
from typing import NamedTuple

import pytest
import uvloop

from node.gateway.http1 import RequestParser
from node.gateway.limits import HttpLimits
from tests.unit.gateway.wire import BODY_MAX, CALL, Client, Got, chunked, post, serving

LIMITS = HttpLimits(
    request_line_bytes_max=200, head_bytes_max=1_000, headers_max=20, discarded_body_bytes_max=500,
    chunk_overhead_bytes_max=300, chunk_line_bytes_max=40, linger_s=0.2, look_every_s=0.05,
)  # fmt: skip
CHUNKED = b"Transfer-Encoding: chunked"
OTHER = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n"


class Case(NamedTuple):
    """Bytes, the statuses of the answers, and whether the connection is closed behind them."""

    sent: bytes
    statuses: tuple[int, ...]
    closes: bool = False


def get(*lines: bytes, line: bytes = b"GET /healthz HTTP/1.1", host: bytes = b"Host: localhost") -> bytes:
    return b"\r\n".join((line, *([host] if host else []), *lines, b"", b""))


def in_chunks(body: bytes, *lines: bytes) -> bytes:
    return post(CHUNKED, *lines, body=body, length=False)


SERVED = {
    "a call": Case(post(), (200,)),
    "in chunks": Case(in_chunks(chunked(CALL[:9], CALL[9:])), (200,)),
    "chunk extensions": Case(in_chunks(b"%x;a=b;c=\"d\"\r\n%s\r\n0;e\r\n\r\n" % (len(CALL), CALL)), (200,)),
    "trailers": Case(in_chunks(b"%x\r\n%s\r\n0\r\nA: b\r\nHost: a.example\r\n\r\n" % (len(CALL), CALL)), (200,)),
    "TE in other words": Case(post(b"transfer-encoding: \tChUnKeD ", body=chunked(CALL), length=False), (200,)),
    "two requests at once": Case(post() + OTHER, (200, 200)),
    "an empty line before": Case(b"\r\n" + post() + b"\r\n" + post(), (200, 200)),
    "the last of two": Case(post(b"Connection: close") + OTHER, (200,), True),
    "HTTP/1.0": Case(post(line=b"POST / HTTP/1.0"), (200,), True),
    "HTTP/1.0 that stays": Case(post(b"Connection: keep-alive", line=b"POST / HTTP/1.0"), (200,)),
    "HTTP/1.0 with both": Case(post(b"Connection: keep-alive, close", line=b"POST / HTTP/1.0"), (200,), True),
    "an offer of h2c": Case(
        post(b"Connection: Upgrade, HTTP2-Settings", b"Upgrade: h2c", b"HTTP2-Settings: AAMAAABkAAQAAP__") + OTHER,
        (200, 200),
    ),
    "an offer that is nonsense": Case(post(b"Connection: upgrade", b"Upgrade: a/1, b, websocket") + OTHER, (200, 200)),
    "WebSocket by POST": Case(post(b"Connection: Upgrade", b"Upgrade: websocket") + OTHER, (200, 200)),
    "an offer in chunks": Case(in_chunks(chunked(CALL), b"Connection: upgrade", b"Upgrade: h2c") + OTHER, (200, 200)),
    "a query": Case(post(line=b"POST /?a=b HTTP/1.1"), (200,)),
    "a whole URL": Case(post(line=b"POST http://localhost:8545/ HTTP/1.1"), (200,)),
    "a whole URL without a path": Case(post(line=b"POST HTTP://127.0.0.1?a HTTP/1.1"), (200,)),
    "a GET with a body": Case(post(line=b"GET /healthz HTTP/1.1") + OTHER, (200, 200)),
    "an empty body": Case(post(body=b""), (200,)),
    "no length": Case(post(length=False, body=b""), (200,)),
    "obsolete text in a header": Case(post(b"X: \xe4\xff"), (200,)),
    "Content-Length with spaces": Case(post(b"Content-Length:  %d \t" % len(CALL), length=False), (200,)),
    "Content-Length with zeros before": Case(post(b"Content-Length: 000%d" % len(CALL), length=False), (200,)),
    "a last chunk of many zeros": Case(in_chunks(b"%x\r\n%s\r\n00000000\r\n\r\n" % (len(CALL), CALL)), (200,)),
    "trailers that frame": Case(
        in_chunks(b"%x\r\n%s\r\n0\r\nContent-Length: 5\r\n%s\r\n\r\n" % (len(CALL), CALL, CHUNKED)) + OTHER, (200, 200)
    ),
    "no coding": Case(post(b"Content-Encoding: identity"), (200,)),
    "Expect": Case(post(b"Expect: 100-Continue"), (200,)),
    "a header named like one": Case(post(b"Transfer_Encoding: chunked", b"Content_Length: 3"), (200,)),
}  # fmt: skip
REFUSED = {
    # Refused as a request: the connection stays if the body is short, and known to be.
    "another path": Case(post(line=b"POST /a HTTP/1.1") + OTHER, (404, 200)),
    "no JSON": Case(get(line=b"POST / HTTP/1.1") + OTHER, (415, 200)),
    "two content types": Case(post(b"Content-Type: text/plain") + OTHER, (415, 200)),
    "a compressed body": Case(post(b"Content-Encoding: gzip", body=gzip.compress(CALL)) + OTHER, (415, 200)),
    "a Host with a user": Case(get(host=b"Host: a@localhost") + OTHER, (403, 200)),
    "a target with a user": Case(get(line=b"GET http://a.example@localhost/healthz HTTP/1.1") + OTHER, (403, 200)),
    "a target with a fragment": Case(get(line=b"GET /healthz#a HTTP/1.1") + OTHER, (404, 200)),
    "two slashes": Case(get(line=b"GET //localhost/healthz HTTP/1.1") + OTHER, (404, 200)),
    "another method": Case(post(line=b"PUT / HTTP/1.1") + OTHER, (405, 200)),
    "a method of no RFC": Case(post(line=b"PROPFIND / HTTP/1.1") + OTHER, (405,), True),
    "an invented method": Case(post(line=b"HELLO / HTTP/1.1") + OTHER, (405,), True),
    "a method in small letters": Case(post(line=b"post / HTTP/1.1") + OTHER, (405,), True),
    "CONNECT": Case(get(line=b"CONNECT localhost:80 HTTP/1.1") + OTHER, (405, 200)),
    "TRACE": Case(get(line=b"TRACE / HTTP/1.1") + OTHER, (405, 200)),
    "OPTIONS of the server": Case(get(line=b"OPTIONS * HTTP/1.1") + OTHER, (204, 200)),
    "no WebSocket here": Case(get(b"Connection: Upgrade", b"Upgrade: websocket") + OTHER, (200, 200)),
    "no handshake": Case(get(line=b"GET /ws HTTP/1.1") + OTHER, (426, 200)),
    "a handshake without a key": Case(
        get(b"Connection: Upgrade", b"Upgrade: websocket", b"Sec-WebSocket-Version: 13", line=b"GET / HTTP/1.1"),
        (400,), True,
    ),
    "a refused body in chunks": Case(
        post(CHUNKED, line=b"POST /a HTTP/1.1", body=chunked(b"a"), length=False) + OTHER, (404,), True
    ),
    "a refused body that is long": Case(post(line=b"POST /a HTTP/1.1", body=bytes(501)) + OTHER, (404,), True),
    "a refused body that is expected": Case(post(b"Expect: 100-continue", line=b"POST /a HTTP/1.1"), (404,), True),
    "an unknown expectation": Case(post(b"Expect: 200-ok") + OTHER, (417,), True),
    "no Host": Case(get(host=b"") + OTHER, (400, 200)),
    "no Host in HTTP/1.0": Case(get(host=b"", line=b"GET /healthz HTTP/1.0"), (400,), True),
    "two Hosts": Case(get(b"Host: localhost") + OTHER, (400, 200)),
    "a foreign Host in the target": Case(get(line=b"GET http://a.example/healthz HTTP/1.1") + OTHER, (403, 200)),
    "a body too large": Case(post(body=bytes(BODY_MAX + 1)), (413,), True),
    "too large, expected": Case(
        post(b"Expect: 100-continue", b"Content-Length: 9999", length=False, body=b""), (413,), True
    ),
    "too large in chunks": Case(in_chunks(chunked(bytes(600), bytes(600))), (413,), True),
    "a chunk too large": Case(in_chunks(b"fffffff\r\n"), (413,), True),
    "too many small chunks": Case(in_chunks(chunked(*[b" "] * 61)), (413,), True),
    "long trailers": Case(in_chunks(b"0\r\n" + b"A: 012345678901234567890123456789\r\n" * 9 + b"\r\n"), (413,), True),
    # Limits of the head
    "a long target": Case(get(line=b"GET /" + b"a" * 190 + b" HTTP/1.1"), (414,), True),
    "a line without an end": Case(b"GET /" + b"a" * 300, (414,), True),
    "long headers": Case(get(b"A: " + b"a" * 1_000), (431,), True),
    "a header without an end": Case(get(b"A: " + b"a" * 2_000)[:-4], (431,), True),
    "many headers": Case(get(*[b"A: b"] * 21), (431,), True),
    # Malformed, or another request to somebody else
    "HTTP/2 without being asked": Case(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", (505,), True),
    "HTTP/2.0 as a version": Case(get(line=b"GET / HTTP/2.0"), (505,), True),
    "HTTP/1.2": Case(get(line=b"GET / HTTP/1.2"), (505,), True),
    "HTTP/0.9": Case(b"GET /\r\n\r\n", (400,), True),
    "RTSP": Case(get(line=b"OPTIONS / RTSP/1.0"), (400,), True),
    "TLS": Case(bytes.fromhex("16030100f5010000f10303"), (400,), True),
    "two empty lines before": Case(b"\r\n\r\n" + post(), (400,), True),
    "bare line feeds": Case(post().replace(b"\r\n", b"\n") + b"\r\n\r\n", (400,), True),
    "bare line feeds only": Case(get().replace(b"\r\n", b"\n"), (400,), True),
    "one bare line feed": Case(get(b"A: b\nContent-Length: 3"), (400,), True),
    "a bare carriage return": Case(get(b"A: b\rContent-Length: 3"), (400,), True),
    "a coding behind a carriage return": Case(
        post(b"A: \rxTransfer-Encoding: chunked", body=b"1\r\nA\r\n0\r\n\r\n", length=False), (400,), True
    ),
    "NUL": Case(get(b"A: b\0"), (400,), True),
    "a folded header": Case(get(b"A: b", b" c"), (400,), True),
    "a first header that is folded": Case(get(host=b" Host: localhost"), (400,), True),
    "a space before the colon": Case(post(b"Content-Length : 3"), (400,), True),
    "no colon": Case(get(b"Content-Length 3"), (400,), True),
    "no name": Case(get(b": a"), (400,), True),
    "two spaces in the line": Case(get(line=b"GET  /healthz HTTP/1.1"), (400,), True),
    "a tab in the line": Case(get(line=b"GET\t/healthz HTTP/1.1"), (400,), True),
    "a space behind the line": Case(get(line=b"GET /healthz HTTP/1.1 "), (400,), True),
    "no path": Case(get(line=b"GET healthz HTTP/1.1"), (400,), True),
    "a target of other letters": Case(get(line="GET /ä HTTP/1.1".encode()), (400,), True),
    "two lengths": Case(post(b"Content-Length: %d" % len(CALL)), (400,), True),
    "two differing lengths": Case(post(b"Content-Length: 3"), (400,), True),
    "a list of lengths": Case(post(b"Content-Length: 3, 3", length=False), (400,), True),
    "a negative length": Case(post(b"Content-Length: -3", length=False), (400,), True),
    "a length with a sign": Case(post(b"Content-Length: +3", length=False), (400,), True),
    "a hexadecimal length": Case(post(b"Content-Length: 0x3", length=False), (400,), True),
    "an empty length": Case(post(b"Content-Length:", length=False), (400,), True),
    "a length of many digits": Case(post(b"Content-Length: " + b"9" * 30, length=False), (400,), True),
    "a length and chunks": Case(post(CHUNKED, body=chunked(CALL)), (400,), True),
    "chunks and a length of nothing": Case(post(CHUNKED, b"Content-Length: 0", length=False), (400,), True),
    "chunks in HTTP/1.0": Case(post(CHUNKED, line=b"POST / HTTP/1.0", body=chunked(CALL), length=False), (400,), True),
    "chunked twice": Case(post(CHUNKED, CHUNKED, body=chunked(CALL), length=False), (400,), True),
    "chunked, identity": Case(post(CHUNKED + b", identity", body=chunked(CALL), length=False), (400,), True),
    "identity": Case(post(b"Transfer-Encoding: identity", body=CALL, length=False), (400,), True),
    "xchunked": Case(post(b"Transfer-Encoding: xchunked", body=chunked(CALL), length=False), (400,), True),
    "gzip, chunked": Case(post(b"Transfer-Encoding: gzip, chunked", body=chunked(CALL), length=False), (501,), True),
    "chunked behind a vertical tab": Case(post(b"Transfer-Encoding:\x0bchunked", length=False), (400,), True),
    "an empty coding": Case(post(b"Transfer-Encoding:", length=False), (400,), True),
    "a request line without version and carriage return": Case(
        b"GET /healthz\nHost: localhost\r\nContent-Length: 5\r\n\r\nhello", (400,), True
    ),
    "an empty header behind which a length hides": Case(get(b"A:\rBContent-Length: 10"), (400,), True),
    "a length behind a hard space": Case(post(b"Content-Length: \xa0%d" % len(CALL), length=False), (400,), True),
    "chunked and a next line": Case(post(CHUNKED + b"\x85", body=chunked(CALL), length=False), (400,), True),
    "chunked with a parameter": Case(post(CHUNKED + b";q=1", body=chunked(CALL), length=False), (400,), True),
    "two bytes in place of a chunk's end": Case(in_chunks(b"3\r\n[] xx0\r\n\r\n"), (400,), True),
    "a carriage return in a chunk extension": Case(in_chunks(b"3;a\rb\r\n[] \r\n0\r\n\r\n"), (400,), True),
    "no chunk size": Case(in_chunks(b"\r\n0\r\n\r\n"), (400,), True),
    "a chunk size of letters": Case(in_chunks(b"xyz\r\n"), (400,), True),
    "a chunk size with a sign": Case(in_chunks(b"+3\r\n[] \r\n0\r\n\r\n"), (400,), True),
    "a chunk size with an underscore": Case(in_chunks(b"0_0\r\n\r\n"), (400,), True),
    "a carriage return before a chunk size": Case(in_chunks(b"\r0\r\n\r\n"), (400,), True),
    "a line feed in a trailer": Case(in_chunks(b"0\r\nbad\ntrailer: a\r\n\r\n"), (400,), True),
    "a chunk size with 0x": Case(in_chunks(b"0x3\r\n[] \r\n0\r\n\r\n"), (400,), True),
    "a space behind a chunk size": Case(in_chunks(b"3 \r\n[] \r\n0\r\n\r\n"), (400,), True),
    "a chunk size of many digits": Case(in_chunks(b"0" * 20 + b"3\r\n[] \r\n0\r\n\r\n"), (400,), True),
    "a line feed behind a chunk size": Case(in_chunks(b"3\n[] \r\n0\r\n\r\n"), (400,), True),
    "a chunk longer than it says": Case(in_chunks(b"3\r\n[] x\r\n0\r\n\r\n"), (400,), True),
    "a long chunk extension": Case(in_chunks(b"3;" + b"a" * 50 + b"\r\n"), (400,), True),
    "a line feed in a chunk extension": Case(in_chunks(b"3;a\nb\r\n[] \r\n0\r\n\r\n"), (400,), True),
    "a trailer that is none": Case(in_chunks(b"0\r\nA b\r\n\r\n"), (400,), True),
    "rubbish behind a request": Case(post() + b"\x00\x01", (200, 400), True),
}  # fmt: skip
CASES = SERVED | REFUSED


async def outcome(case: Case, *parts: bytes) -> tuple[list[Got], bool]:
    async with serving(LIMITS) as (gateway, _):
        client = await Client.of(gateway)
        try:
            client.send(*(parts or (case.sent,)))
            got = [await client.answer() for _ in case.statuses]
            return got, await client.is_closed()
        finally:
            client.close()


@pytest.mark.parametrize("name", CASES)
def test_what_a_request_means(name: str) -> None:
    case = CASES[name]
    got, closed = uvloop.run(outcome(case))
    assert ([answer.status for answer in got], closed) == (list(case.statuses), case.closes)
    if case.closes:
        assert got[-1].headers["connection"] == "close"
    for answer in got:
        assert answer.headers["date"].endswith("GMT")
        if answer.status not in (200, 204):
            assert answer.body.startswith(b'{"jsonrpc":"2.0","id":null,"error":{"code":-32600,')
            assert b'"hint":"' in answer.body


def test_continue_is_sent_before_the_body_and_only_if_the_body_is_wanted() -> None:
    async def run() -> None:
        async with serving(LIMITS) as (gateway, _):
            client = await Client.of(gateway)
            head, body = post(b"Expect: 100-continue").split(b"\r\n\r\n")
            client.send(head + b"\r\n\r\n")
            assert await client.reader.readuntil(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
            client.send(body)
            assert (await client.answer()).status == 200
            client.send(post(b"Expect: 100-continue", b"Content-Length: 5000", length=False, body=b""))
            assert (await client.reader.readuntil(b"\r\n")).startswith(b"HTTP/1.1 413 ")
            client.close()

    asyncio.run(run())


@pytest.mark.parametrize(("path", "status"), [("/healthz", 200), ("/", 405), ("/nothing", 404)])
def test_head_is_answered_without_a_body_but_with_its_length(path: str, status: int) -> None:
    async def run() -> None:
        async with serving() as (gateway, _):
            client = await Client.of(gateway)
            client.send(b"HEAD %s HTTP/1.1\r\nHost: localhost\r\n\r\n" % path.encode() + post())
            got = await client.answer("HEAD")
            assert (got.status, got.body) == (status, b"")
            assert int(got.headers["content-length"]) > 0
            assert b'"result":"0x7a69"' in (await client.answer()).body
            client.close()

    asyncio.run(run())


def test_allow_names_what_is_served() -> None:
    async def run() -> None:
        async with serving() as (gateway, _):
            client = await Client.of(gateway)
            for line, allowed in (
                (b"GET / HTTP/1.1", "POST"),
                (b"POST /healthz HTTP/1.1", "GET, HEAD"),
                (b"FOO / HTTP/1.1", "GET, HEAD, POST, OPTIONS"),
            ):
                client.send(get(line=line))
                got = await client.answer()
                assert (got.status, got.headers["allow"]) == (405, allowed)
            client.close()

    asyncio.run(run())


def test_large_heads_are_not_remembered() -> None:
    """Eight of 64 KiB on each of 256 connections took 300 MB."""
    limits = HttpLimits()
    parser: RequestParser[int] = RequestParser(limits, 1_000, lambda head: len(head.raw))
    for size in (10, limits.head_remembered_bytes_max, 60_000):
        for number in range(limits.heads_remembered_max):
            parser.receive(get(b"A: %d%s" % (number, b"a" * size)))
            assert parser.next_head() is not None
    assert len(parser._known) == limits.heads_remembered_max
    assert max(map(len, parser._known)) < 200
