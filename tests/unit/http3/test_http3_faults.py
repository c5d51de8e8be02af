"""What RFC 9114 forbids, byte by byte: which error it is, and that others on the port notice nothing."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pylsqpack

from tests.unit.http3.clients import CALL, Fields, Server, connected, h3_frame, head, run

DATA, HEADERS, CANCEL_PUSH, SETTINGS, PUSH_PROMISE, GOAWAY, MAX_PUSH_ID = 0, 1, 3, 4, 5, 7, 13
STREAM_CREATION, CLOSED_CRITICAL, UNEXPECTED, FRAME, LOAD, ID, SETTINGS_ERROR, MISSING, INCOMPLETE = (
    0x103, 0x104, 0x105, 0x106, 0x107, 0x108, 0x109, 0x10A, 0x10D,
)  # fmt: skip
QPACK_DECOMPRESSION, QPACK_ENCODER, QPACK_DECODER = 0x200, 0x201, 0x202
GREASE = 0x21 + 0x1F * 7
"""A reserved type of frames, streams and settings, which means nothing (RFC 9114, 7.2.8)."""


def section(fields: Fields) -> bytes:
    """A field section."""
    return bytes(pylsqpack.Encoder().encode(0, fields)[1])


REQUEST = h3_frame(HEADERS, section(head()))
TRAILERS = h3_frame(HEADERS, section([(b"x", b"y")]))
CONTROL = b"\0" + h3_frame(SETTINGS, b"")
Said = list[tuple[int, bytes, bool]]


def on_control(*frames: bytes) -> Said:
    """Said on the control stream behind SETTINGS."""
    return [(2, CONTROL + b"".join(frames), False)]


def on_request(*frames: bytes, ends: bool = False) -> Said:
    """Said on a request's stream."""
    return [(2, CONTROL, False), (0, b"".join(frames), ends)]


CLOSED: dict[str, tuple[Said, int]] = {
    "SETTINGS twice": (on_control(h3_frame(SETTINGS, b"")), UNEXPECTED),
    "no SETTINGS": ([(2, b"\0" + h3_frame(GOAWAY, b"\0"), False)], MISSING),
    "a reserved frame before SETTINGS": ([(2, b"\0" + h3_frame(GREASE, b"x"), False)], MISSING),
    "DATA on the control stream": (on_control(h3_frame(DATA, b"x")), UNEXPECTED),
    "HEADERS on the control stream": (on_control(REQUEST), UNEXPECTED),
    "PUSH_PROMISE on the control stream": (on_control(h3_frame(PUSH_PROMISE, b"\0\0")), UNEXPECTED),
    "PRIORITY of HTTP/2 on the control stream": (on_control(h3_frame(2, b"")), UNEXPECTED),
    "PING of HTTP/2 on the control stream": (on_control(h3_frame(6, b"")), UNEXPECTED),
    "a setting of HTTP/2": ([(2, b"\0" + h3_frame(SETTINGS, b"\2\1"), False)], SETTINGS_ERROR),
    "a setting twice": ([(2, b"\0" + h3_frame(SETTINGS, b"\6\1\6\1"), False)], SETTINGS_ERROR),
    "SETTINGS cut short": ([(2, b"\0" + h3_frame(SETTINGS, b"\6"), False)], FRAME),
    "MAX_PUSH_ID cut short": (on_control(h3_frame(MAX_PUSH_ID, b"\x40")), FRAME),
    "fewer pushes than before": (on_control(h3_frame(MAX_PUSH_ID, b"\7"), h3_frame(MAX_PUSH_ID, b"\3")), ID),
    "a push cancelled": (on_control(h3_frame(CANCEL_PUSH, b"\0")), ID),
    "a second control stream": ([*on_control(), (6, CONTROL, False)], STREAM_CREATION),
    "a push": ([*on_control(), (6, b"\1\0", False)], STREAM_CREATION),
    "the control stream ended": ([(2, CONTROL, True)], CLOSED_CRITICAL),
    "the encoder stream ended": ([*on_control(), (6, b"\2", True)], CLOSED_CRITICAL),
    "two encoder streams": ([*on_control(), (6, b"\2", False), (10, b"\2", False)], STREAM_CREATION),
    "an entry for the dynamic table": ([*on_control(), (6, b"\2Aa\1b", False)], QPACK_ENCODER),
    "a larger dynamic table": ([*on_control(), (6, b"\2\x3f\1", False)], QPACK_ENCODER),
    "an entry acknowledged": ([*on_control(), (6, b"\3\x80", False)], QPACK_DECODER),
    "DATA before HEADERS": (on_request(h3_frame(DATA, b"x")), UNEXPECTED),
    "SETTINGS of a request": (on_request(h3_frame(SETTINGS, b"")), UNEXPECTED),
    "GOAWAY of a request": (on_request(REQUEST, h3_frame(GOAWAY, b"\0")), UNEXPECTED),
    "PUSH_PROMISE of a client": (on_request(REQUEST, h3_frame(PUSH_PROMISE, b"\0\0")), UNEXPECTED),
    "a frame of HTTP/2": (on_request(REQUEST, h3_frame(8, b"")), UNEXPECTED),
    "DATA behind trailers": (on_request(REQUEST, TRAILERS, h3_frame(DATA, b"x")), UNEXPECTED),
    "trailers twice": (on_request(REQUEST, TRAILERS, TRAILERS), UNEXPECTED),
    "a body cut short": (on_request(REQUEST, h3_frame(DATA, b"xyz")[:-1], ends=True), FRAME),
    "a head cut short": (on_request(REQUEST[:-1], ends=True), FRAME),
    "a frame's length cut short": (on_request(REQUEST, b"\0\x40", ends=True), FRAME),
    "a head that is none": (on_request(h3_frame(HEADERS, b"\xff" * 9)), QPACK_DECOMPRESSION),
    "no field section": (on_request(h3_frame(HEADERS, b"")), QPACK_DECOMPRESSION),
    "an entry of the dynamic table": (on_request(h3_frame(HEADERS, b"\2\0\x80")), QPACK_DECOMPRESSION),
    "a head of a megabyte": (on_request(b"\1\x80\x10\0\0" + b"\0" * 100_000), LOAD),
    "SETTINGS of a megabyte": ([(2, b"\0\4\x80\x10\0\0" + b"\x21" * 100_000, False)], LOAD),
    "heads without an end on many streams": (
        [(2, CONTROL, False), *((4 * at, b"\1\x80\x01\0\0" + b"\0" * 60_000, False) for at in range(16))],
        LOAD,
    ),
    "2,000 reserved frames": (on_request(REQUEST, h3_frame(GREASE, b"") * 2_000), LOAD),
    "2,000 reserved frames on the control stream": (on_control(h3_frame(GREASE, b"") * 2_000), LOAD),
    "2,000 bytes each in a frame": (on_request(REQUEST, h3_frame(DATA, b" ") * 2_000), LOAD),
    "a stream of WebTransport": (on_request(b"\x40\x41\0"), UNEXPECTED),
}


async def answers(server: Server) -> None:
    """Both protocols are served still."""
    async with connected(server) as client:
        assert (await client.ask(head(), CALL)).status == 200
    sdk = await server.sdk()
    assert await sdk.rpc("eth_chainId") == "0x7a69"
    await sdk.close()


def test_errors_that_end_the_connection(library: str, tmp_path: Path) -> None:
    async def work(server: Server) -> None:
        for name, (said, code) in CLOSED.items():
            async with connected(server, plain=True) as client:
                for stream_id, data, ends in said:
                    client.say(stream_id, data, ends)
                assert await client.closed() == code, name
        await answers(server)

    run(tmp_path, library, work)


def test_critical_streams_are_neither_reset_nor_stopped(library: str, tmp_path: Path) -> None:
    async def work(server: Server) -> None:
        for stream_id in (2, 3):
            async with connected(server, plain=True) as client:
                client.say(2, CONTROL)
                client.say(0, REQUEST + h3_frame(DATA, CALL), ends=True)
                while 0 not in client.raw:
                    await asyncio.sleep(0.002)
                if stream_id == 2:
                    client.quic.reset_stream(2, 0)
                else:
                    client.quic.stop_stream(3, 0)
                client.transmit()
                assert await client.closed() == CLOSED_CRITICAL
        await answers(server)

    run(tmp_path, library, work)


def test_a_stream_without_a_request_is_reset_and_no_more(library: str, tmp_path: Path) -> None:
    async def work(server: Server) -> None:
        async with connected(server) as client:
            for data in (b"", h3_frame(GREASE, b"xyz")):
                stream_id = client.quic.get_next_available_stream_id()
                client.say(stream_id, data, ends=True)
                assert await client.reset(stream_id) == INCOMPLETE
            assert (await client.ask(head(), CALL)).status == 200

    run(tmp_path, library, work)


def test_what_is_unknown_or_reserved_is_ignored(library: str, tmp_path: Path) -> None:
    grease = h3_frame(GREASE, b"x" * 100)
    settings = b"\x21\5\x80\0\x4a\1\1\x33\0"  # two reserved ones, and no datagrams

    async def work(server: Server) -> None:
        async with connected(server, plain=True) as client:
            client.say(2, b"\0" + h3_frame(SETTINGS, settings) + grease + h3_frame(GOAWAY, b"\0") + grease)
            client.say(6, b"\x40\x54" + bytes(100))  # WebTransport
            client.say(10, b"\x21" + bytes(100), ends=True)
            client.say(14, b"\2\x20")  # a dynamic table of no bytes
            client.say(18, b"\3\x44")  # a stream cancelled
            body = grease + h3_frame(DATA, CALL[:9]) + grease + h3_frame(DATA, CALL[9:]) + grease
            client.say(0, grease + REQUEST + body + TRAILERS + grease, ends=True)
            while b"0x7a69" not in client.raw.get(0, b""):
                assert not client.ended.done(), client.ended.result()
                await asyncio.sleep(0.002)

    run(tmp_path, library, work)


def test_a_request_that_comes_byte_by_byte_is_the_same(library: str, tmp_path: Path) -> None:
    async def work(server: Server) -> None:
        async with connected(server, plain=True) as client:
            client.say(2, CONTROL)
            said = REQUEST + h3_frame(DATA, CALL)
            for at in range(len(said)):
                client.quic.send_stream_data(0, said[at : at + 1], at == len(said) - 1)
                client.transmit()
                await asyncio.sleep(0)
            while b"0x7a69" not in client.raw.get(0, b""):
                assert not client.ended.done(), client.ended.result()
                await asyncio.sleep(0.002)

    run(tmp_path, library, work)


def without(name: bytes) -> Fields:
    """A good request but for one field."""
    return [field for field in head() if field[0] != name]


MALFORMED: dict[str, Fields] = {
    "no method": without(b":method"),
    "no scheme": without(b":scheme"),
    "no path": without(b":path"),
    "no authority": without(b":authority"),
    "an empty authority": head(authority=b""),
    "an empty path": head(b"POST", b""),
    "a path without a slash": head(b"POST", b"x"),
    "a whole URL": head(b"POST", b"https://localhost/"),
    "a space in the path": head(b"POST", b"/ HTTP/1.1"),
    "a method that is none": head(b"PO ST"),
    "another scheme": [(b":scheme", b"http") if name == b":scheme" else (name, value) for name, value in head()],
    "a pseudo-header twice": [(b":path", b"/x"), *head()],
    "a pseudo-header behind others": [*without(b":path"), (b":path", b"/")],
    "an unknown pseudo-header": [(b":status", b"200"), *head()],
    "CONNECT with a protocol": [
        (b":protocol", b"websocket"), (b":method", b"CONNECT"), (b":scheme", b"https"), (b":path", b"/ws"),
        (b":authority", b"localhost"),
    ],
    "CONNECT with a path": [(b":method", b"CONNECT"), (b":authority", b"localhost"), (b":path", b"/")],
    "Host and another authority": head(b"POST", b"/", (b"host", b"attacker.example")),
    "upper case": head(b"POST", b"/", (b"X-App", b"1")),
    "a name that is none": head(b"POST", b"/", (b"x app", b"1")),
    "a line end in a value": head(b"POST", b"/", (b"x-app", b"1\r\nhost: attacker.example")),
    "a zero in a value": head(b"POST", b"/", (b"x-app", b"1\0")),
    "a space before a value": head(b"POST", b"/", (b"x-app", b" 1")),
    "connection": head(b"POST", b"/", (b"connection", b"close")),
    "upgrade": head(b"GET", b"/ws", (b"upgrade", b"websocket")),
    "transfer-encoding": head(b"POST", b"/", (b"transfer-encoding", b"chunked")),
    "te": head(b"POST", b"/", (b"te", b"gzip")),
    "a length that is none": head(b"POST", b"/", (b"content-length", b"+5")),
    "a negative length": head(b"POST", b"/", (b"content-length", b"-5")),
    "an empty length": head(b"POST", b"/", (b"content-length", b"")),
    "two lengths": head(b"POST", b"/", *[(b"content-length", b"%d" % size) for size in (len(CALL), 5)]),
    "a shorter length": head(b"POST", b"/", (b"content-length", b"5")),
    "a longer length": head(b"POST", b"/", (b"content-length", b"%d" % (len(CALL) + 1))),
}  # fmt: skip
TWO_HOSTS = head(b"POST", b"/", *[(b"host", b"localhost:8545")] * 2)


def test_malformed_requests_are_refused(library: str, tmp_path: Path) -> None:
    """With 400, and others on the connection go on."""

    async def work(server: Server) -> None:
        for name, fields in [*MALFORMED.items(), ("two hosts", TWO_HOSTS)]:
            async with connected(server) as client:
                got = await client.ask(fields, CALL)
                slug = "http.headers" if fields in (TWO_HOSTS, MALFORMED["no authority"]) else "http.malformed"
                assert (got.status, got.code) == (400, slug), name
                assert json.loads((await client.ask(head(), CALL)).body)["result"] == "0x7a69", name
        await answers(server)

    run(tmp_path, library, work)


def test_host_may_stand_for_the_authority_or_repeat_it(library: str, tmp_path: Path) -> None:
    host = (b"host", b"localhost:8545")

    async def work(server: Server) -> None:
        async with connected(server) as client:
            assert (await client.ask([*without(b":authority"), host], CALL)).status == 200
            assert (await client.ask(head(b"POST", b"/", host), CALL)).status == 200

    run(tmp_path, library, work)


def test_trailers_are_fields(library: str, tmp_path: Path) -> None:
    async def work(server: Server) -> None:
        async with connected(server) as client:
            stream_id = client.begin(head(), CALL, ends=False)
            client.h3.send_headers(stream_id, [(b":path", b"/")], True)
            client.transmit()
            assert (await client.answer(stream_id)).code == "http.malformed"

    run(tmp_path, library, work)


def test_a_large_field_ends_no_connection(library: str, tmp_path: Path) -> None:
    """qh3 closed it with QPACK_DECOMPRESSION_FAILED for a field of 50 KB, with all that was under way."""

    async def work(server: Server) -> None:
        async with connected(server) as client:
            waiting = client.begin(head(), CALL[:-1], ends=False)
            for size in (40_000, 50_000, 65_000):
                got = await client.ask(head(b"POST", b"/", (b"x", b"v" * size)), CALL)
                assert got.status == 200 or (got.status, got.code) == (431, "http.too_large")
            client.more(waiting, CALL[-1:])
            assert (await client.answer(waiting)).status == 200

    run(tmp_path, library, work)
