"""The listener over TLS, with the certificate that the node makes for itself: clients, and peers that mean harm."""

from __future__ import annotations

import asyncio
import contextlib
import datetime
import json
import socket
import ssl
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path
from typing import cast

import httpx
import pytest
import uvloop
import websockets

from node.auth.certificate import TlsFiles
from node.auth.serving import Paths, served_tls
from node.auth.tls import issue_client_certificate, load_or_create_certificate
from node.gateway.limits import HttpLimits
from node.gateway.link import ClientLink
from node.gateway.listener import Gateway, open_socket, serve_http
from node.gateway.tls import HandshakeTurns, TlsLayer
from node.rpc.limits import RpcLimits
from node.rpc.service import RpcService
from tests.unit.gateway.key_updates import DATA, ByHand
from tests.unit.gateway.test_connections import SLOW, Generous, until
from tests.unit.gateway.wire import CALL, PROBE, answers_in, post
from tests.unit.rpc.memory_backend import rpc_service

RUNNERS = {"asyncio": asyncio.run, "uvloop": uvloop.run}
NOW = datetime.datetime.now(datetime.UTC)
Work = Callable[[Gateway, RpcService, ssl.SSLContext], Awaitable[None]]


@pytest.fixture(scope="module")
def tls(tmp_path_factory: pytest.TempPathFactory) -> TlsFiles:
    return load_or_create_certificate(tmp_path_factory.mktemp("tls"), NOW)


def tried(
    work: Work, tls: TlsFiles, loop: str = "uvloop", limits: HttpLimits | None = None, mutual: bool = False
) -> None:
    """Have a listener with the node's certificate, and a client's context that trusts it."""

    async def run() -> None:
        paths = Paths(tls.certificate, tls.key, (tls.authority,) if mutual else ())
        service = rpc_service(Generous(), RpcLimits())
        context = served_tls(paths, NOW).context
        gateway = await serve_http(service, open_socket("127.0.0.1", 0), limits=limits, context=context)
        try:
            async with asyncio.timeout(60):
                await work(gateway, service, ssl.create_default_context(cafile=tls.authority))
        finally:
            await gateway.close()
            service.close()

    RUNNERS[loop](run())


async def connected(gateway: Gateway, client: ssl.SSLContext) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    return await asyncio.open_connection(*gateway.address, ssl=client, server_hostname="localhost")


def links(gateway: Gateway) -> list[ClientLink]:
    """The connections there are."""
    return [member for member in gateway.connections._members if isinstance(member, ClientLink)]


async def refused(gateway: Gateway, client: ssl.SSLContext) -> bool:
    """Whether a handshake fails. With TLS 1.3 the client learns of it with the first answer."""
    try:
        reader, writer = await connected(gateway, client)
        writer.write(PROBE)
        return not await reader.read()
    except (ssl.SSLError, ConnectionError):
        return True


class Peer:
    """A client whose TLS records are in the test's hands."""

    def __init__(self, client: ssl.SSLContext) -> None:
        self._received, self._sent = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.tls = client.wrap_bio(self._received, self._sent, server_hostname="localhost")
        self.has_ended = False

    async def connect(self, gateway: Gateway) -> None:
        self.reader, self.writer = await asyncio.open_connection(*gateway.address)
        while True:
            try:
                self.tls.do_handshake()
                self.flush()
                return
            except ssl.SSLWantReadError:
                self.flush()
                self._received.write(await self.reader.read(65_536))

    def flush(self) -> bytes:
        said = self._sent.read()
        self.writer.write(said)
        return said

    def sealed(self, data: bytes) -> bytes:
        """Records that carry ``data``, not sent."""
        self.tls.write(data)
        return self._sent.read()

    async def rest(self) -> bytes:
        """What comes until the node ends the connection."""
        parts = []
        while arrived := await self.reader.read(65_536):
            self._received.write(arrived)
            with contextlib.suppress(ssl.SSLWantReadError):
                while part := self.tls.read(65_536):
                    parts.append(part)
                self.has_ended = True
        return b"".join(parts)


@pytest.mark.parametrize("loop", RUNNERS)
def test_https_and_wss(loop: str, tls: TlsFiles) -> None:
    async def work(gateway: Gateway, _: RpcService, client: ssl.SSLContext) -> None:
        host, port = gateway.address
        headers = {"content-type": "application/json"}
        async with httpx.AsyncClient(base_url=f"https://{host}:{port}", verify=client, headers=headers) as http:
            for _ in range(3):
                assert (await http.post("/", content=CALL)).json()["result"] == "0x7a69"
            assert len((await http.post("/", content=SLOW)).content) > 6_000_000
            assert (await http.post("/", content=bytes(6_000_000))).status_code == 413
            assert len(gateway.connections) == 1
        async with websockets.connect(f"wss://{host}:{port}/ws", ssl=client, max_size=None) as peer:
            await peer.send(CALL.decode())
            assert json.loads(await peer.recv())["result"] == "0x7a69"
            await peer.send(SLOW.decode())
            assert len(await peer.recv()) > 6_000_000
        await until(lambda: not len(gateway.connections))

    tried(work, tls, loop)


@pytest.mark.parametrize("loop", RUNNERS)
@pytest.mark.parametrize("sent", [b"", b"\x16", b"\x16\x03\x01", b"\x16\x03\x01\x40\x00" + bytes(300)])
def test_a_handshake_that_does_not_come_ends_its_connection(loop: str, sent: bytes, tls: TlsFiles) -> None:
    """Which counts as one from when it was accepted."""

    async def work(gateway: Gateway, _: RpcService, __: ssl.SSLContext) -> None:
        reader, writer = await asyncio.open_connection(*gateway.address)
        writer.write(sent)
        await until(lambda: len(gateway.connections) == 1)
        with contextlib.suppress(ConnectionError):
            await reader.read()
        await until(lambda: not len(gateway.connections))
        writer.close()

    tried(work, tls, loop, HttpLimits(tls_handshake_s=0.3, linger_s=0.1, look_every_s=0.05))


@pytest.mark.parametrize("loop", RUNNERS)
@pytest.mark.parametrize("sent", [PROBE, post(), b"G", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", post(body=bytes(300_000))])
def test_plain_http_is_told_that_the_port_speaks_tls(loop: str, sent: bytes, tls: TlsFiles) -> None:
    async def work(gateway: Gateway, _: RpcService, __: ssl.SSLContext) -> None:
        reader, writer = await asyncio.open_connection(*gateway.address)
        writer.write(sent)
        (told,) = answers_in(await reader.read())
        assert told.status == 400
        assert json.loads(told.body)["error"]["data"]["code"] == "http.tls"
        writer.close()
        await until(lambda: not len(gateway.connections))
        assert gateway.security is not None
        assert (gateway.security.plain, gateway.security.failed) == (1, 0)

    tried(work, tls, loop)


@pytest.mark.parametrize("sent", [b"\x80\x2e\x01\x00\x02", bytes(100), b"ssh\r\n", b"\x15\x03\x01\x00\x02\x02\x28"])
def test_what_is_neither_ends_at_once(sent: bytes, tls: TlsFiles) -> None:
    async def work(gateway: Gateway, _: RpcService, __: ssl.SSLContext) -> None:
        reader, writer = await asyncio.open_connection(*gateway.address)
        writer.write(sent)
        with contextlib.suppress(ConnectionError):
            await reader.read()
        writer.close()
        await until(lambda: not len(gateway.connections))

    tried(work, tls)


def test_a_broken_handshake_gets_its_alert(tls: TlsFiles) -> None:
    async def work(gateway: Gateway, _: RpcService, client: ssl.SSLContext) -> None:
        reader, writer = await asyncio.open_connection(*gateway.address)
        writer.write(b"\x16\x03\x01\x00\x05\x01\x00\x00\x01\x00")
        assert (await reader.read())[:1] == b"\x15", "an alert record"
        writer.close()
        old = ssl.create_default_context(cafile=tls.authority)
        with pytest.warns(DeprecationWarning, match="TLSv1"):
            old.minimum_version, old.maximum_version = ssl.TLSVersion.TLSv1, ssl.TLSVersion.TLSv1_1
        old.set_ciphers("ALL:@SECLEVEL=0")
        with pytest.raises(ssl.SSLError):
            await connected(gateway, old)
        assert gateway.security is not None
        assert (gateway.security.completed, gateway.security.failed) == (0, 2)
        _, writer = await connected(gateway, client)
        writer.close()

    tried(work, tls)


@pytest.mark.parametrize("piece", [1, 7, 100])
def test_a_handshake_and_a_request_in_small_pieces(piece: int, tls: TlsFiles) -> None:
    async def work(gateway: Gateway, _: RpcService, client: ssl.SSLContext) -> None:
        peer = Peer(client)
        peer.reader, peer.writer = await asyncio.open_connection(*gateway.address)
        with contextlib.suppress(ssl.SSLWantReadError):
            peer.tls.do_handshake()
        hello = peer._sent.read()
        for start in range(0, len(hello), piece):
            peer.writer.write(hello[start : start + piece])
            await asyncio.sleep(0)
        while True:
            peer._received.write(await peer.reader.read(65_536))
            try:
                peer.tls.do_handshake()
                break
            except ssl.SSLWantReadError:
                continue
        peer.flush()
        request = peer.sealed(post(b"Connection: close"))
        for start in range(0, len(request), piece):
            peer.writer.write(request[start : start + piece])
            await asyncio.sleep(0)
        assert [got.status for got in answers_in(await peer.rest())] == [200]

    tried(work, tls)


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_a_request_in_the_same_bytes_as_the_end_of_the_handshake(version: ssl.TLSVersion, tls: TlsFiles) -> None:
    async def work(gateway: Gateway, _: RpcService, client: ssl.SSLContext) -> None:
        client.maximum_version = version
        peer = Peer(client)
        peer.reader, peer.writer = await asyncio.open_connection(*gateway.address)
        while True:
            try:
                peer.tls.do_handshake()
                break
            except ssl.SSLWantReadError:
                peer.flush()
                peer._received.write(await peer.reader.read(65_536))
        peer.tls.write(post(b"Connection: close"))
        peer.flush()
        assert [got.status for got in answers_in(await peer.rest())] == [200]
        assert peer.has_ended, "the node said that nothing more comes (close_notify)"

    tried(work, tls)


def test_renegotiation_is_refused(tls: TlsFiles) -> None:
    """TLS 1.2 lets a client ask for another handshake within the connection, as often as it likes."""

    async def work(gateway: Gateway, _: RpcService, client: ssl.SSLContext) -> None:
        host, port = gateway.address
        done = await asyncio.create_subprocess_exec(
            "openssl", "s_client", "-connect", f"{host}:{port}", "-tls1_2", "-quiet", "-no_ign_eof",
            stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
        )  # fmt: skip
        said, complaint = await done.communicate(b"R\n" * 3)
        assert b"renegotiat" in complaint.lower(), (said, complaint)
        await until(lambda: not len(gateway.connections))

    tried(work, tls)


def test_a_connection_that_is_cut_ends_like_any_other(tls: TlsFiles) -> None:
    """Without ``close_notify``, within a request and behind one: a part of a request is never taken for a whole one."""

    async def work(gateway: Gateway, service: RpcService, client: ssl.SSLContext) -> None:
        before = service.context.backend.head().number
        for cut in (len(post()) - 1, len(post())):
            peer = Peer(client)
            await peer.connect(gateway)
            peer.writer.write(peer.sealed(post()[:cut]))
            await peer.writer.drain()
            peer.writer.write_eof()
            told = [got.status for got in answers_in(await peer.rest())]
            assert told == ([400] if cut < len(post()) else [200])
            peer.writer.close()
        await until(lambda: not len(gateway.connections))
        assert service.context.backend.head().number == before

    tried(work, tls, limits=HttpLimits(linger_s=0.1, look_every_s=0.05))


def test_a_client_that_says_that_it_sends_no_more_gets_its_answers(tls: TlsFiles) -> None:
    async def work(gateway: Gateway, _: RpcService, client: ssl.SSLContext) -> None:
        peer = Peer(client)
        await peer.connect(gateway)
        request = peer.sealed(post() + post(body=SLOW))
        with contextlib.suppress(ssl.SSLError):
            peer.tls.unwrap()
        peer.writer.write(request + peer._sent.read())
        # OpenSSL reads nothing behind its own close_notify, so only the records are counted
        size = 0
        while arrived := await peer.reader.read(65_536):
            size += len(arrived)
        assert size > 6_000_000

    tried(work, tls)


def test_records_that_were_changed_end_the_connection(tls: TlsFiles) -> None:
    async def work(gateway: Gateway, _: RpcService, client: ssl.SSLContext) -> None:
        peer = Peer(client)
        await peer.connect(gateway)
        request = bytearray(peer.sealed(post()))
        request[-1] ^= 1
        peer.writer.write(bytes(request))
        assert b"HTTP" not in await peer.reader.read()
        peer.writer.close()
        await until(lambda: not len(gateway.connections))

    tried(work, tls)


def test_a_handshake_without_end(tls: TlsFiles) -> None:
    """A ClientHello may announce 16 MiB, and be sent in records of a byte."""

    async def work(gateway: Gateway, _: RpcService, __: ssl.SSLContext) -> None:
        reader, writer = await asyncio.open_connection(*gateway.address)
        ended = asyncio.ensure_future(reader.read())
        writer.write(b"".join(b"\x16\x03\x01\x00\x01" + bytes([byte]) for byte in b"\x01\x01\xff\xf0"))
        for _ in range(10_000):  # 60 MB
            writer.write(b"\x16\x03\x01\x00\x01\x00" * 1_000)
            with contextlib.suppress(ConnectionError):
                await writer.drain()
            await asyncio.sleep(0)
            if ended.done():
                break
        assert ended.done()
        with contextlib.suppress(ConnectionError):
            await ended
        writer.close()
        await until(lambda: not len(gateway.connections))

    tried(work, tls, limits=HttpLimits(linger_s=0.1, look_every_s=0.05, linger_bytes_max=100_000))


async def by_hand(gateway: Gateway, client: ssl.SSLContext, log: Path) -> tuple[Peer, ByHand]:
    """A connection whose next records are made by hand."""
    client.keylog_filename = str(log)
    peer = Peer(client)
    await peer.connect(gateway)
    return peer, ByHand(log, peer.tls.cipher())


def test_a_flood_of_key_updates_ends_its_connection(tls: TlsFiles, tmp_path: Path) -> None:
    """Each takes 36 us, and 64 KiB of them held the event loop for 86 ms."""

    async def work(gateway: Gateway, _: RpcService, client: ssl.SSLContext) -> None:
        peer, hand = await by_hand(gateway, client, tmp_path / "log")
        peer.writer.write(hand.key_updates(100) + hand.seal(DATA, PROBE))
        assert await peer.reader.read(5) != b"", "these are few enough"
        peer.writer.write(hand.key_updates(1_000))
        with contextlib.suppress(ConnectionError):
            await peer.reader.read()
        peer.writer.close()
        await until(lambda: not len(gateway.connections))

    tried(work, tls, limits=HttpLimits(linger_s=0.1, look_every_s=0.05))


def test_records_of_a_byte(tls: TlsFiles, tmp_path: Path) -> None:
    """Requests in records of a byte are answered."""

    async def work(gateway: Gateway, _: RpcService, client: ssl.SSLContext) -> None:
        peer, hand = await by_hand(gateway, client, tmp_path / "log")
        requests = PROBE * 20
        peer.writer.write(b"".join(hand.seal(DATA, requests[at : at + 1]) for at in range(len(requests))))
        data = b""
        while data.count(b"alive") < 20:
            peer._received.write(await peer.reader.read(65_536))
            with contextlib.suppress(ssl.SSLWantReadError):
                while part := peer.tls.read(65_536):
                    data += part
        peer.writer.close()

    tried(work, tls)


def test_no_more_records_are_taken_in_a_turn_than_allowed(tls: TlsFiles, tmp_path: Path) -> None:
    layer = TlsLayer(served_tls(Paths(tls.certificate, tls.key), NOW).context)
    client = ssl.create_default_context(cafile=tls.authority)
    client.keylog_filename = str(tmp_path / "log")
    received, sent = ssl.MemoryBIO(), ssl.MemoryBIO()
    peer = client.wrap_bio(received, sent, server_hostname="localhost")
    while not layer.is_established:
        with contextlib.suppress(ssl.SSLWantReadError):
            peer.do_handshake()
        assert layer.receive(sent.read(), 32) == (b"", b"")
        received.write(layer.sent())
    hand = ByHand(tmp_path / "log", peer.cipher())
    records = [hand.seal(DATA, bytes([number])) for number in range(10)]
    stream = b"".join(records)
    for cut in (1, 3, len(records[0]) + 2, len(stream)):
        plain, left = b"", b""
        for start in range(0, len(stream), cut):
            left += stream[start : start + cut]
            while left:
                part, rest = layer.receive(left, 3)
                assert len(part) <= 3
                assert len(rest) < len(left)
                plain, left = plain + part, rest
        assert plain == bytes(range(10))
        stream = b"".join(hand.seal(DATA, bytes([number])) for number in range(10))
    assert layer.silent_records == 0


@pytest.mark.parametrize("loop", RUNNERS)
def test_an_answer_is_encrypted_as_it_is_taken(loop: str, tls: TlsFiles) -> None:
    """Not in one go, which would hold the loop and a second copy; and it arrives whole."""

    async def work(gateway: Gateway, service: RpcService, client: ssl.SSLContext) -> None:
        plain = socket.socket()
        plain.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
        plain.setblocking(False)
        await asyncio.get_running_loop().sock_connect(plain, gateway.address)
        reader, writer = await asyncio.open_connection(
            sock=plain, ssl=client, server_hostname="localhost", limit=4_096
        )
        writer.write(post(b"Connection: close", body=SLOW))
        await until(lambda: service.held.bound()[0] > 6_000_000)
        (link,) = links(gateway)
        await until(lambda: link.is_behind)
        assert sum(map(len, link._unsealed)) > 1_000_000
        (got,) = answers_in(await reader.read())
        assert len(got.body) > 6_000_000
        writer.close()
        await until(lambda: service.held.bound()[0] == 0)

    tried(work, tls, loop)


def test_a_peer_that_does_not_take_its_answer_over_tls(tls: TlsFiles) -> None:
    async def work(gateway: Gateway, service: RpcService, client: ssl.SSLContext) -> None:
        peer = Peer(client)
        await peer.connect(gateway)
        cast("asyncio.Transport", peer.writer.transport).pause_reading()
        peer.writer.write(peer.sealed(post(body=SLOW) * 3))
        await until(lambda: service.held.bound()[0] > 6_000_000)
        await until(lambda: not len(gateway.connections))
        assert service.held.bound()[0] == 0
        peer.writer.close()

    tried(work, tls, limits=HttpLimits(take_answer_s=0.5, look_every_s=0.05))


def test_handshakes_are_under_the_limits_of_connections(tls: TlsFiles) -> None:
    """Silent ones make room for others, as those do that were accepted and sent nothing."""

    async def work(gateway: Gateway, _: RpcService, client: ssl.SSLContext) -> None:
        silent = [await asyncio.open_connection(*gateway.address) for _ in range(4)]
        for _, writer in silent[:2]:
            writer.write(b"\x16\x03\x01")
        await until(lambda: gateway.is_full)
        peer = Peer(client)
        await peer.connect(gateway)
        peer.writer.write(peer.sealed(post(b"Connection: close")))
        assert [got.status for got in answers_in(await peer.rest())] == [200]
        for _, writer in silent:
            writer.close()

    tried(work, tls, limits=HttpLimits(connections_max=4))


def test_few_handshakes_go_on_in_one_turn_of_the_loop() -> None:
    async def run() -> None:
        turns = HandshakeTurns(2)
        done: list[int] = []
        for number in range(5):
            turns.take(partial(done.append, number))
        counts = []
        while len(done) < 5:
            counts.append(len(done))
            await asyncio.sleep(0)
        assert done == [0, 1, 2, 3, 4]
        assert max(after - before for before, after in zip(counts, [*counts[1:], 5], strict=True)) <= 2

    asyncio.run(run())


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_a_client_certificate_is_required_and_kept(version: ssl.TLSVersion, tls: TlsFiles, tmp_path: Path) -> None:
    async def work(gateway: Gateway, _: RpcService, client: ssl.SSLContext) -> None:
        client.maximum_version = version
        assert await refused(gateway, client)
        other = load_or_create_certificate(tmp_path / "other", NOW)
        shown = {
            "its own": issue_client_certificate(tls.certificate.parent, "alice", NOW, 30),
            "of another": issue_client_certificate(other.certificate.parent, "alice", NOW, 30),
            "a server's": tls.certificate.read_bytes() + tls.key.read_bytes(),
        }
        for kind, content in shown.items():
            (tmp_path / "client.pem").write_bytes(content)
            context = ssl.create_default_context(cafile=tls.authority)
            context.maximum_version = version
            context.load_cert_chain(tmp_path / "client.pem")
            if kind != "its own":
                assert await refused(gateway, context)
                continue
            reader, writer = await connected(gateway, context)
            writer.write(PROBE)
            await reader.readuntil(b"\r\n\r\n")
            kept = [link.certificate for link in links(gateway) if link.certificate is not None]
            assert kept == [ssl.PEM_cert_to_DER_cert(content.decode().partition("-----BEGIN PRIVATE")[0])]
            writer.close()
        assert gateway.security is not None
        assert (gateway.security.completed, gateway.security.failed) == (1, 3)

    tried(work, tls, mutual=True)


def test_new_connections_get_the_new_certificate_and_old_ones_stay(tls: TlsFiles, tmp_path: Path) -> None:
    async def work(gateway: Gateway, _: RpcService, client: ssl.SSLContext) -> None:
        reader, writer = await connected(gateway, client)
        other = load_or_create_certificate(tmp_path, NOW)
        assert gateway.security is not None
        gateway.security.use(served_tls(Paths(other.certificate, other.key), NOW).context)
        with pytest.raises(ssl.SSLCertVerificationError):
            await connected(gateway, client)
        _, new = await connected(gateway, ssl.create_default_context(cafile=other.authority))
        writer.write(PROBE)
        assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 200")
        for one in (writer, new):
            one.close()

    tried(work, tls)


def test_only_modern_ciphers_and_http_1_1(tls: TlsFiles) -> None:
    context = served_tls(Paths(tls.certificate, tls.key), NOW).context
    names = [cipher["name"] for cipher in context.get_ciphers()]
    assert all(name.startswith("TLS_") or ("ECDHE" in name and ("GCM" in name or "CHACHA" in name)) for name in names)
    assert context.minimum_version == ssl.TLSVersion.TLSv1_2

    async def work(gateway: Gateway, _: RpcService, client: ssl.SSLContext) -> None:
        client.set_alpn_protocols(["h2", "http/1.1"])
        _, writer = await connected(gateway, client)
        assert writer.get_extra_info("ssl_object").selected_alpn_protocol() == "http/1.1"
        writer.close()

    tried(work, tls)


@pytest.mark.parametrize("secure", [True, False])
def test_only_answers_over_tls_say_where_http3_is_spoken(secure: bool, tls: TlsFiles) -> None:
    async def run() -> None:
        service = rpc_service(Generous(), RpcLimits())
        context = served_tls(Paths(tls.certificate, tls.key, ()), NOW).context if secure else None
        theirs = ssl.create_default_context(cafile=tls.authority)
        gateway = await serve_http(service, open_socket("127.0.0.1", 0), context=context, http3_port=4433)
        try:
            base_url = f"http{'s' if secure else ''}://127.0.0.1:{gateway.address[1]}"
            async with httpx.AsyncClient(base_url=base_url, verify=theirs) as client:
                for path, status in (("/healthz", 200), ("/nothing", 404)):
                    answer = await client.get(path)
                    assert answer.status_code == status
                    assert answer.headers.get("alt-svc") == ('h3=":4433"; ma=3600' if secure else None)
        finally:
            await gateway.close()
            service.close()

    uvloop.run(run())
