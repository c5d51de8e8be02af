"""A listener over a memory backend, and clients of qh3 and aioquic that do what the SDK would not."""

from __future__ import annotations

import asyncio
import datetime
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import msgspec
from qh3.asyncio.protocol import QuicConnectionProtocol
from qh3.quic.configuration import QuicConfiguration
from qh3.quic.connection import QuicConnection
from qh3.quic.events import ConnectionTerminated, HandshakeCompleted, QuicEvent, StreamDataReceived

import zvmd
from node.auth.tls import load_or_create_certificate
from node.auth.tokens import TokenChecker, load_or_create_token
from node.doors.doors import Doors
from node.doors.limits import DoorLimits
from node.doors.token_book import TokenBook
from node.rpc.service import RpcService
from node.wire.library import load_library
from node.wire.limits import WireLimits
from node.wire.server import WireListener, open_socket, serve_wire
from tests.jumping_loop import JumpingLoop
from tests.unit.rpc.memory_backend import MemoryBackend, rpc_service
from zvmd.client import Client
from zvmd.frames import ALPN

LIBRARIES = ("qh3", "aioquic")
NOW = datetime.datetime.now(datetime.UTC)


class Server:
    """A listener over a memory backend."""

    def __init__(
        self, listener: WireListener, port: int, data_dir: Path, backend: MemoryBackend, service: RpcService
    ) -> None:
        self.listener = listener
        self.service = service
        self.port = port
        self.data_dir = data_dir
        self.backend = backend

    async def client(self, token: str | None = None, timeout: float = 60.0) -> Client:
        url = f"quic://127.0.0.1:{self.port}"
        return await zvmd.connect(url, token=token, data_dir=self.data_dir, timeout=timeout)


@asynccontextmanager
async def serving(
    data_dir: Path,
    limits: WireLimits,
    library: str,
    door_limits: DoorLimits | None = None,
    directory_of_tokens: Path | None = None,
) -> AsyncIterator[Server]:
    tls = load_or_create_certificate(data_dir / "tls", NOW)
    backend = MemoryBackend()
    service = rpc_service(backend)
    is_owner = TokenChecker(load_or_create_token(data_dir))
    tokens = None if directory_of_tokens is None else TokenBook.read(directory_of_tokens)
    doors = Doors(is_owner=is_owner, limits=door_limits, tokens=tokens)
    bound = open_socket("127.0.0.1", 0)
    listener = await serve_wire(service, bound, tls, doors, load_library(library), limits)
    try:
        yield Server(listener, bound.getsockname()[1], data_dir, backend, service)
    finally:
        listener.close()
        service.close()


def run(
    data_dir: Path,
    library: str,
    work: Callable[[Server], Awaitable[None]],
    limits: WireLimits | None = None,
    door_limits: DoorLimits | None = None,
    directory_of_tokens: Path | None = None,
) -> None:
    async def served() -> None:
        async with serving(data_dir, limits or WireLimits(), library, door_limits, directory_of_tokens) as server:
            await work(server)

    with asyncio.Runner(loop_factory=JumpingLoop) as runner:
        runner.run(served())


class Puppet(QuicConnectionProtocol):
    """A client without manners: sends what it is told to, also nothing."""

    def __init__(self, connection: QuicConnection) -> None:
        super().__init__(connection)
        self.shaken = asyncio.Event()
        self.ended: asyncio.Future[ConnectionTerminated] = self._loop.create_future()
        self.heard = bytearray()

    def quic_event_received(self, event: QuicEvent) -> None:
        if isinstance(event, HandshakeCompleted):
            self.shaken.set()
        elif isinstance(event, StreamDataReceived):
            self.heard += event.data
        elif isinstance(event, ConnectionTerminated) and not self.ended.done():
            self.ended.set_result(event)

    @property
    def quic(self) -> QuicConnection:
        return self._quic

    def say(self, stream_id: int, data: bytes, end: bool = False) -> None:
        self._quic.send_stream_data(stream_id, data, end)
        self.transmit()

    def vanish(self) -> None:
        """Gone without a word."""
        assert self._transport is not None
        self._transport.close()
        if self._timer is not None:
            self._timer.cancel()

    async def hear(self, size_bytes: int = 1) -> bytes:
        while len(self.heard) < size_bytes:
            await asyncio.sleep(0.002)
        return bytes(self.heard)


async def puppet(server: Server, alpn: str = ALPN, shaken: bool = True) -> Puppet:
    """A client that has sent its first flight; with ``shaken``, after its handshake."""
    configuration = QuicConfiguration(is_client=True, alpn_protocols=[alpn], server_name="zvmd")
    configuration.verify_mode = ssl.CERT_NONE
    address = ("127.0.0.1", server.port)
    loop = asyncio.get_running_loop()
    connection = QuicConnection(configuration=configuration)
    _, client = await loop.create_datagram_endpoint(lambda: Puppet(connection), remote_addr=address)
    client.connect(address)
    if shaken:
        await client.shaken.wait()
    return client


def frame(*fields: Any) -> bytes:
    """A frame of the protocol, of any message."""
    body = msgspec.msgpack.encode(fields)
    return len(body).to_bytes(4, "big") + body


def hello(server: Server) -> bytes:
    """A good Hello."""
    return frame(0, 1, (server.data_dir / "token").read_text().strip().encode(), "puppet")


def initial(random: bytes, token: bytes = b"", version: int = 1, size: int = 1200) -> bytes:
    """An Initial of random bytes: a good header, and nothing that can be decrypted. ``random`` has 16 bytes."""
    head = b"\xc0" + version.to_bytes(4, "big") + b"\x08" + random[:8] + b"\x08" + random[8:16]
    head += len(token).to_bytes(1, "big") + token
    rest = size - len(head) - 2
    return head + (0x4000 | rest).to_bytes(2, "big") + (random * (rest // len(random) + 1))[:rest]
