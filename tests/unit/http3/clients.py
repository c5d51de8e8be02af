"""A listener that speaks HTTP/3 over a chain in memory, and aioquic's client, which also says what no client does."""

from __future__ import annotations

import asyncio
import datetime
import json
import logging
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, NamedTuple, Protocol

from aioquic.asyncio.protocol import QuicConnectionProtocol
from aioquic.buffer import encode_uint_var
from aioquic.h3.connection import H3Connection
from aioquic.h3.events import DataReceived, HeadersReceived
from aioquic.quic.configuration import QuicConfiguration
from aioquic.quic.connection import QuicConnection
from aioquic.quic.events import (
    ConnectionTerminated,
    HandshakeCompleted,
    PingAcknowledged,
    QuicEvent,
    StreamDataReceived,
    StreamReset,
)

import zvmd
from node.auth.certificate import TlsFiles
from node.auth.tls import load_or_create_certificate
from node.auth.tokens import TokenChecker, load_or_create_token
from node.doors.doors import Doors
from node.doors.limits import DoorLimits
from node.doors.rule import GuardRules
from node.doors.token_book import TokenBook
from node.doors.visitor import Way
from node.gateway.limits import HttpLimits
from node.gateway.routes import Routes
from node.http3.counts import Http3Counts
from node.http3.limits import Http3Limits
from node.http3.speaker import http3_speaker
from node.rpc.limits import RpcLimits
from node.rpc.service import RpcService
from node.wire.certificates import PemPair
from node.wire.library import load_library
from node.wire.limits import WireLimits
from node.wire.server import WireListener, open_socket, serve_wire
from tests.unit.rpc.memory_backend import MemoryBackend, rpc_service
from zvmd.client import Client

NOW = datetime.datetime.now(datetime.UTC)
CALL = json.dumps({"jsonrpc": "2.0", "id": 1, "method": "eth_chainId"}).encode()
Fields = list[tuple[bytes, bytes]]


class Limits(NamedTuple):
    """Those of a test's listener."""

    wire: WireLimits = WireLimits()
    http: HttpLimits = HttpLimits()
    http3: Http3Limits = Http3Limits()
    rpc: RpcLimits = RpcLimits()
    doors: DoorLimits = DoorLimits()


class Server:
    """A listener over a memory backend."""

    def __init__(
        self,
        listener: WireListener,
        service: RpcService,
        port: int,
        folder: Path,
        doors: Doors,
        counts: Http3Counts | None = None,
    ) -> None:
        self.listener, self.service, self.port, self.folder = listener, service, port, folder
        self.doors, self.counts = doors, counts or Http3Counts()

    @property
    def tls(self) -> TlsFiles:
        """The node's own certificate."""
        return load_or_create_certificate(self.folder / "tls", NOW)

    async def sdk(self) -> Client:
        """A client of zvmd/1 on the same port."""
        return await zvmd.connect(f"quic://127.0.0.1:{self.port}", data_dir=self.folder, timeout=20)


def run(
    folder: Path,
    library: str,
    work: Callable[[Server], Awaitable[None]],
    limits: Limits | None = None,
    rules: GuardRules | None = None,
    backend: MemoryBackend | None = None,
    http3: bool = True,
    given: PemPair | None = None,
) -> None:
    """Do ``work`` with a listener; ``given`` is the certificate that HTTP/3 shows, if it is not the node's own."""
    limits = limits or Limits()

    async def served() -> None:
        tls = load_or_create_certificate(folder / "tls", NOW)
        service = rpc_service(backend or MemoryBackend(), limits.rpc)
        bound = open_socket("127.0.0.1", 0)
        quic = load_library(library)
        is_owner = TokenChecker(load_or_create_token(folder))
        doors = Doors(rules, is_owner, limits=limits.doors, tokens=TokenBook.read(folder))
        routes, counts = Routes(service, doors, lambda: True, Way.HTTP3), Http3Counts()
        speaker = http3_speaker(quic.http3(), service, routes, limits.http, counts, limits.http3)
        protocols = {"h3": speaker} if http3 else None
        shown = {} if given is None else {"h3": quic.read_pair(given)}
        listener = await serve_wire(service, bound, tls, doors, quic, limits.wire, protocols, shown)
        try:
            async with asyncio.timeout(60):
                await work(Server(listener, service, bound.getsockname()[1], folder, doors, counts))
        finally:
            listener.close()
            doors.close()
            service.close()

    asyncio.run(served())


class Got(NamedTuple):
    """An answer."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def code(self) -> str:
        """The slug of a refusal."""
        return str(json.loads(self.body)["error"]["data"]["code"])


class Heard:
    """What came on a stream."""

    def __init__(self) -> None:
        self.fields: list[Fields] = []
        self.body = b""
        self.is_ended = False
        self.reset: int | None = None
        self.changed = asyncio.Event()


class Http3Client(QuicConnectionProtocol):
    """aioquic's client. What it hears is kept by stream."""

    def __init__(self, connection: QuicConnection, plain: bool = False) -> None:
        super().__init__(connection)
        self.quic: Any = self._quic
        self.shaken = asyncio.Event()
        self.ended: asyncio.Future[ConnectionTerminated] = asyncio.get_running_loop().create_future()
        self.heard: dict[int, Heard] = {}
        self.raw: dict[int, bytes] = {}
        self.pongs = 0
        self.h3: Any = None if plain else H3Connection(connection)

    def quic_event_received(self, event: QuicEvent) -> None:
        if isinstance(event, HandshakeCompleted):
            self.shaken.set()
        elif isinstance(event, ConnectionTerminated) and not self.ended.done():
            self.ended.set_result(event)
            for heard in self.heard.values():
                heard.changed.set()
        elif isinstance(event, PingAcknowledged):
            self.pongs += 1
        elif isinstance(event, StreamReset):
            heard = self.on(event.stream_id)
            heard.reset = event.error_code
            heard.changed.set()
        if isinstance(event, StreamDataReceived):
            self.raw[event.stream_id] = self.raw.get(event.stream_id, b"") + event.data
        if self.h3 is None:
            return
        for found in self.h3.handle_event(event):
            heard = self.on(found.stream_id)
            if isinstance(found, HeadersReceived):
                heard.fields.append(found.headers)
            elif isinstance(found, DataReceived):
                heard.body += found.data
            heard.is_ended = heard.is_ended or found.stream_ended
            heard.changed.set()

    def on(self, stream_id: int) -> Heard:
        """What came on a stream so far."""
        return self.heard.setdefault(stream_id, Heard())

    def begin(self, fields: Fields, body: bytes | None = None, ends: bool = True) -> int:
        """Send a request, and return its stream."""
        stream_id: int = self.quic.get_next_available_stream_id()
        self.h3.send_headers(stream_id, fields, ends and body is None)
        if body is not None:
            self.h3.send_data(stream_id, body, ends)
        self.transmit()
        return stream_id

    def more(self, stream_id: int, body: bytes, ends: bool = True) -> None:
        """Send more of a body."""
        self.h3.send_data(stream_id, body, ends)
        self.transmit()

    def say(self, stream_id: int, data: bytes, ends: bool = False) -> None:
        """Send bytes, whatever they are."""
        self.quic.send_stream_data(stream_id, data, ends)
        self.transmit()

    def vanish(self) -> None:
        """Go without a word."""
        self._transport.close()
        if self._timer is not None:
            self._timer.cancel()

    async def heard_out(self) -> None:
        """Return when the node has taken what was sent, or closed the connection."""
        pongs = self.pongs
        self.quic.send_ping(pongs)
        self.transmit()
        while self.pongs == pongs and not self.ended.done():
            await asyncio.sleep(0.001)

    async def answer(self, stream_id: int) -> Got:
        """The answer on a stream."""
        heard = self.on(stream_id)
        while not heard.is_ended:
            assert heard.reset is None, f"reset with {heard.reset:#x}"
            assert not self.ended.done(), self.ended.result()
            heard.changed.clear()
            await heard.changed.wait()
        fields = [(name.decode(), value.decode()) for name, value in heard.fields[-1]]
        headers = dict(fields[1:])
        assert len(headers) == len([name for name, _ in fields[1:] if name != "vary"]) + ("vary" in headers)
        assert fields[0][0] == ":status"
        return Got(int(fields[0][1]), headers, heard.body)

    async def reset(self, stream_id: int) -> int:
        """The error code with which the node resets a stream."""
        heard = self.on(stream_id)
        while heard.reset is None:
            assert not self.ended.done(), self.ended.result()
            heard.changed.clear()
            await heard.changed.wait()
        return heard.reset

    async def closed(self) -> int:
        """The error code with which the node closes the connection."""
        return (await asyncio.shield(self.ended)).error_code

    async def ask(self, fields: Fields, body: bytes | None = None) -> Got:
        """The answer to a request."""
        return await self.answer(self.begin(fields, body))


def head(
    method: bytes = b"POST",
    path: bytes = b"/",
    *more: tuple[bytes, bytes],
    authority: bytes = b"localhost:8545",
    content_type: bool = True,
) -> Fields:
    """The fields of a good request."""
    fields = [(b":method", method), (b":scheme", b"https"), (b":authority", authority), (b":path", path)]
    if content_type and method == b"POST":
        fields.append((b"content-type", b"application/json"))
    return [*fields, *more]


def h3_frame(kind: int, content: bytes) -> bytes:
    """A frame of HTTP/3."""
    return bytes(encode_uint_var(kind) + encode_uint_var(len(content)) + content)


class Reached(Protocol):
    """Where a client connects: a `Server`, or a daemon."""

    @property
    def port(self) -> int: ...

    @property
    def folder(self) -> Path: ...


@asynccontextmanager
async def connected(
    server: Reached,
    plain: bool = False,
    authority: Path | None = None,
    alpn: tuple[str, ...] = ("h3",),
    local: tuple[str, int] | None = None,
) -> AsyncIterator[Http3Client]:
    """A client that has shaken hands. A ``plain`` one speaks QUIC, and says h3's bytes by hand.

    It trusts the node's own authority or another one. ``local`` is the address it connects from, of the system's choice
    by default. Raises `ConnectionError` if it does not trust the node.
    """
    logging.getLogger("quic").setLevel(logging.CRITICAL)
    configuration = QuicConfiguration(is_client=True, alpn_protocols=list(alpn), server_name="localhost")
    configuration.load_verify_locations(str(authority or server.folder / "tls" / "authority.pem"))
    configuration.verify_mode = ssl.CERT_REQUIRED
    connection = QuicConnection(configuration=configuration)
    address = ("127.0.0.1", server.port)
    _, client = await asyncio.get_running_loop().create_datagram_endpoint(
        lambda: Http3Client(connection, plain), local_addr=local, remote_addr=address
    )
    client.connect(address)
    shaken = asyncio.create_task(client.shaken.wait())
    await asyncio.wait((shaken, client.ended), return_when=asyncio.FIRST_COMPLETED)
    try:
        if not shaken.done():
            shaken.cancel()
            raise ConnectionError(client.ended.result().reason_phrase)
        yield client
    finally:
        client.close()
