"""Writes `endpoints.json` for clients, and before READY connects to the node as they do, with the files they read."""

from __future__ import annotations

import asyncio
import json
import ssl
from collections.abc import Callable, Mapping
from pathlib import Path
from urllib.parse import urlsplit

import structlog
from qh3._hazmat import X25519KeyExchange

from node.auth.errors import UnusableCertificate, UnusableToken
from node.auth.private import write_private
from node.daemon.errors import Unreachable
from zvmd.connection import open_connection, shut
from zvmd.endpoint import DEFAULT_HTTP, ENDPOINTS_FILE, announced, find_endpoint
from zvmd.errors import ZvmdError
from zvmd.frames import CallMethod, Result

log = structlog.get_logger(__name__)

DOOR_SECONDS = 30.0
"""Each connection takes milliseconds, but a booting machine may be very busy."""
METHOD = "eth_chainId"


def seed() -> None:
    """Make a key and discard it: a process's first key takes 0.1 s, in which the library gathers randomness.

    It lets other threads run meanwhile, so a start does this beside its recovery instead of in the first handshake.
    """
    X25519KeyExchange()


def announce(data_dir: Path, quic_address: str, http_url: str, more: Mapping[str, str]) -> None:
    """Write `endpoints.json` for clients on this machine; ``more`` is about HTTPS. Raises as `write_private`."""
    known = {"quic": f"quic://{quic_address}", "http": http_url} | dict(more)
    write_private(data_dir / ENDPOINTS_FILE, (json.dumps(known) + "\n").encode())


async def try_doors(data_dir: Path, chain_id: int, is_full: Callable[[], bool] = lambda: False) -> None:
    """Request the chain id as clients on this machine do, with `endpoints.json`, `token` and `authority.pem` from disk.

    ``is_full`` returns whether clients have taken every connection: after a restart they may be faster.
    Raises `Unreachable`, `UnusableCertificate`, `UnusableToken`.
    """
    try:
        await _try(data_dir, chain_id)
    except Unreachable as error:
        if not is_full():
            raise
        log.warning("clients took all connections before the node could connect to itself", error=str(error))


async def _try(data_dir: Path, chain_id: int) -> None:
    expected = hex(chain_id)
    try:
        async with asyncio.timeout(DOOR_SECONDS):
            answers = await asyncio.gather(_over_http(data_dir), _over_quic(data_dir))
    except TimeoutError:
        raise Unreachable(f"the node did not answer itself within {DOOR_SECONDS:g} s") from None
    for door, answer in zip(("HTTP", "QUIC"), answers, strict=True):
        if answer != expected:
            raise Unreachable(f"over {door}, {METHOD} is {answer!r} instead of {expected}: does another node listen?")


async def _over_http(data_dir: Path) -> object:
    url = announced(data_dir, "http", DEFAULT_HTTP)
    address, context, token = urlsplit(url), None, {}
    if url.startswith("https:"):
        from zvmd.http import find_http  # with the standard library's HTTP client, which few nodes need

        try:
            client = find_http(data_dir=data_dir, environ={})
        except ZvmdError as error:
            raise UnusableCertificate(f"the node cannot connect to itself over HTTPS: {error.message}") from None
        context, token = client.context, client.headers
    body = json.dumps({"jsonrpc": "2.0", "id": 1, "method": METHOD, "params": []})
    headers = {"Host": address.netloc, "Content-Type": "application/json", "Content-Length": str(len(body))}
    lines = [f"{name}: {value}\r\n" for name, value in (headers | token).items()]
    head = f"POST / HTTP/1.1\r\n{''.join(lines)}Connection: close\r\n\r\n"
    try:
        reader, writer = await asyncio.open_connection(address.hostname, address.port, ssl=context)
        try:
            writer.write((head + body).encode())
            answer = await reader.read()
        finally:
            writer.close()
        return json.loads(answer.partition(b"\r\n\r\n")[2])["result"]
    except ssl.SSLError as error:
        raise UnusableCertificate(f"the node cannot connect to itself at {url}: {error}") from None
    except OSError as error:
        raise Unreachable(f"the node cannot connect to itself at {url}: {error}") from None
    except (ValueError, KeyError, TypeError):
        raise Unreachable(f"{url} does not answer {METHOD}: {answer[:200]!r}") from None


async def _over_quic(data_dir: Path) -> object:
    try:
        connection = await open_connection(find_endpoint(data_dir=data_dir, environ={}), "zvmd", DOOR_SECONDS)
        try:
            request_id = connection.next_id()
            return (await connection.request(CallMethod(request_id, METHOD, []), request_id, Result)).value
        finally:
            await shut(connection)
    except ZvmdError as error:
        kind = next((kind for word, kind in _KINDS.items() if word in f"{error.code} {error.message}"), Unreachable)
        raise kind(f"the node cannot connect to itself over QUIC: {error.message}") from None
    except OSError as error:
        raise Unreachable(f"the node cannot connect to itself over QUIC: {error}") from None


_KINDS: dict[str, type[Unreachable | UnusableCertificate | UnusableToken]] = {
    "certificate": UnusableCertificate,
    "token": UnusableToken,
}
"""Codes of the client's errors that concern a file in the data directory."""
