"""The listener over TLS, with the certificate that the node makes for itself."""

from __future__ import annotations

import asyncio
import datetime
import json
import ssl

import httpx
import pytest
import uvloop
import websockets

from node.auth.certificate import TlsFiles
from node.auth.tls import load_or_create_certificate
from node.gateway.limits import HttpLimits
from node.gateway.listener import open_socket, serve_http
from node.rpc.limits import RpcLimits
from tests.unit.gateway.test_connections import SLOW, Generous, until
from tests.unit.gateway.wire import CALL
from tests.unit.rpc.memory_backend import rpc_service

RUNNERS = {"asyncio": asyncio.run, "uvloop": uvloop.run}


@pytest.fixture(scope="module")
def tls(tmp_path_factory: pytest.TempPathFactory) -> TlsFiles:
    return load_or_create_certificate(tmp_path_factory.mktemp("tls"), datetime.datetime.now(datetime.UTC))


def contexts(tls: TlsFiles) -> tuple[ssl.SSLContext, ssl.SSLContext]:
    """The node's and a client's."""
    ours = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    ours.load_cert_chain(tls.certificate, tls.key)
    return ours, ssl.create_default_context(cafile=tls.authority)


@pytest.mark.parametrize("loop", RUNNERS)
def test_https_and_wss(loop: str, tls: TlsFiles) -> None:
    async def run() -> None:
        ours, theirs = contexts(tls)
        service = rpc_service(Generous(), RpcLimits())
        gateway = await serve_http(service, open_socket("127.0.0.1", 0), context=ours)
        host, port = gateway.address
        headers = {"content-type": "application/json"}
        try:
            async with httpx.AsyncClient(base_url=f"https://{host}:{port}", verify=theirs, headers=headers) as client:
                for _ in range(3):
                    assert (await client.post("/", content=CALL)).json()["result"] == "0x7a69"
                assert len((await client.post("/", content=SLOW)).content) > 6_000_000
                assert (await client.post("/", content=bytes(6_000_000))).status_code == 413
                assert len(gateway.connections) == 1
            async with websockets.connect(f"wss://{host}:{port}/ws", ssl=theirs, max_size=None) as peer:
                await peer.send(CALL.decode())
                assert json.loads(await peer.recv())["result"] == "0x7a69"
                await peer.send(SLOW.decode())
                assert len(await peer.recv()) > 6_000_000
            await until(lambda: not len(gateway.connections))
        finally:
            await gateway.close()
            service.close()

    RUNNERS[loop](run())


@pytest.mark.parametrize("loop", RUNNERS)
@pytest.mark.parametrize("sent", [b"", b"\x16\x03\x01", b"POST / HTTP/1.1\r\nHost: localhost\r\n\r\n"])
def test_a_handshake_that_does_not_come_ends_its_connection(loop: str, sent: bytes, tls: TlsFiles) -> None:
    """Which counts as one from when it was accepted."""

    async def run() -> None:
        ours, _ = contexts(tls)
        service = rpc_service(Generous())
        limits = HttpLimits(tls_handshake_s=0.3, linger_s=0.1, look_every_s=0.05)
        gateway = await serve_http(service, open_socket("127.0.0.1", 0), limits=limits, context=ours)
        try:
            _, writer = await asyncio.open_connection(*gateway.address)
            writer.write(sent)
            if not sent.startswith(b"POST"):
                await until(lambda: len(gateway.connections) == 1)
            await asyncio.sleep(0.1)
            await until(lambda: not len(gateway.connections))
            writer.close()
        finally:
            await gateway.close()
            service.close()

    RUNNERS[loop](run())


@pytest.mark.parametrize("secure", [True, False])
def test_only_answers_over_tls_say_where_http3_is_spoken(secure: bool, tls: TlsFiles) -> None:
    async def run() -> None:
        ours, theirs = contexts(tls)
        service = rpc_service(Generous(), RpcLimits())
        context = ours if secure else None
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

    asyncio.run(run())
