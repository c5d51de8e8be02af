"""Every way in, with every right, on every kind of chain, from every origin, tried on real listeners with a method of
each namespace. What is expected is written here again, in words of its own; another way in is a row of `WAYS`."""

from __future__ import annotations

import asyncio
import datetime
import json
import os
import shutil
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from itertools import product
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import websockets

import zvmd
from node.auth.certificate import TlsFiles
from node.auth.tls import load_or_create_certificate
from node.auth.unix_sockets import open_socket as open_unix_socket
from node.doors.doors import Doors
from node.doors.limits import DoorLimits
from node.doors.rule import GuardRules
from node.doors.token_book import TokenBook, TokenWish, scopes_of
from node.doors.visitor import Way
from node.gateway.ipc import serve_ipc
from node.gateway.limits import HttpLimits
from node.gateway.listener import Gateway, open_socket, serve_http
from node.gateway.routes import Routes
from node.http3.speaker import http3_speaker
from node.rpc.methods import load_methods
from node.rpc.registry import SCOPES, STANDARD_NAMESPACES, method_names
from node.settings import HttpSettings
from node.wire.library import load_library
from node.wire.limits import WireLimits
from node.wire.server import open_socket as open_udp_socket
from node.wire.server import serve_wire
from node.wire.socket_peer import serve_socket
from tests.unit.gateway.wire import Client
from tests.unit.http3.clients import Http3Client, Server, connected, head
from tests.unit.rpc.memory_backend import MemoryBackend, rpc_service

OWNER = "ab" * 32
CHAINS = {
    "public": GuardRules.of(HttpSettings(), public=True, uid=os.getuid()),
    "public, tokens required": GuardRules.of(HttpSettings(), public=True, require_token=True, uid=os.getuid()),
    "other": GuardRules.of(HttpSettings(), public=False, uid=os.getuid()),
    "other, tokens required": GuardRules.of(HttpSettings(), public=False, require_token=True, uid=os.getuid()),
}
GIVEN = {"nothing": (), "read": ("read",), "send": ("send",), "debug": ("debug",), "develop": ("develop",),
         "admin": ("admin",), "read and send": ("read", "send"), "all": ("read", "send", "debug", "develop", "admin"),
         "the node's own token": ("read", "send", "debug", "develop", "admin"), "a wrong token": ()}  # fmt: skip
"""What a caller has, and the scopes that it means."""
WITHOUT_TOKEN = "nothing"
WRONG = "a wrong token"
HOSTS = {"localhost": True, "10.0.0.1": False, "anvil": False, "attacker.example": None}
"""What is in Host; whether it means this machine, None: not a name of the node."""
ORIGINS = {"no page": None, "own page": "http://{host}", "other page": "http://localhost:3000", "sandboxed": "null",
           "extension": "chrome-extension://nkbihfbeogaeaoehlefnkodbefgpgknn"}  # fmt: skip
METHODS = {
    "eth_getBalance": ("read", True), "eth_sendRawTransaction": ("send", True), "eth_signTypedData_v4": ("send", True),
    "eth_sendUnsignedTransaction": ("develop", True), "net_version": ("read", True), "web3_sha3": ("read", True),
    "rpc_methods": ("read", True), "txpool_contentFrom": ("read", True), "trace_block": ("debug", True),
    "debug_traceCall": ("debug", True), "debug_getRawBlock": ("debug", False), "anvil_setBalance": ("develop", True),
    "hardhat_mine": ("develop", True), "evm_snapshot": ("develop", True), "tenderly_setBalance": ("develop", False),
    "personal_sign": ("send", False), "zvmd_status": ("read", False), "zvmd_sendRawTransaction": ("send", False),
    "zvmd_mine": ("develop", False), "zvmd_consoleLog": ("debug", False), "zvmd_session_list": ("debug", False),
    "zvmd_createSession": ("debug", False), "zvmd_tokenList": ("admin", False), "zvmd_tokenCreate": ("admin", False),
}  # fmt: skip
"""A method or more of each namespace: its scope, and whether guests may call it."""
NO_FORM = [[[]]] * 20
"""Parameters of no method's form: nothing is called, and what may not be called is refused before they are read."""
Outcome = frozenset[str] | int
"""What may be called, or the status of a refusal."""


class Cell(NamedTuple):
    """One combination."""

    way: str
    chain: str
    given: str
    host: str
    origin: str

    @property
    def address(self) -> str:
        return f"{self.host}:1"

    @property
    def page(self) -> str | None:
        form = ORIGINS[self.origin]
        form = form and (form.replace("http://{", "https://{") if self.way == "http3" else form)
        return None if form is None else form.format(host=self.address)


class Listening(NamedTuple):
    """The listeners of a node, and the tokens it knows by what they give."""

    gateway: Gateway
    quic: str
    data_dir: Path
    tokens: dict[str, str]
    http3: Http3Client
    ipc: Path
    frames: Path


def expected(cell: Cell) -> Outcome:
    scopes = set(GIVEN[cell.given])
    with_token = frozenset(name for name, (scope, _) in METHODS.items() if scope in scopes)
    if cell.way == "ipc" or (cell.way == "socket" and cell.given == WITHOUT_TOKEN):
        return frozenset(METHODS)
    if cell.way in ("quic", "socket"):
        return 401 if cell.given in (WRONG, WITHOUT_TOKEN) else with_token
    if HOSTS[cell.host] is None:
        return 403
    if cell.given == WRONG:
        return 401
    if cell.given != WITHOUT_TOKEN:
        return with_token
    is_own = cell.origin == "no page" or (cell.origin == "own page" and cell.host != "anvil")
    if not is_own and cell.chain.startswith("other"):
        return 403
    if is_own and HOSTS[cell.host]:
        return frozenset(METHODS)
    if cell.chain.endswith("required"):
        return 401
    return frozenset(name for name, (_, is_standard) in METHODS.items() if is_standard)


def body() -> bytes:
    calls = [{"jsonrpc": "2.0", "id": name, "method": name, "params": NO_FORM} for name in METHODS]
    return json.dumps(calls).encode()


def allowed(answers: list[dict[str, Any]]) -> frozenset[str]:
    """Which of the calls were not refused for want of a right. Raises for an answer that says neither."""
    found = set()
    for answer in answers:
        data = answer["error"].get("data")
        slug = data["code"] if isinstance(data, dict) else ""
        message = answer["error"]["message"]
        if not (slug in ("rpc.not_permitted", "rpc.scope") or "needs the scope" in message or "without" in message):
            assert "takes at most" in message, answer
            found.add(answer["id"])
    return frozenset(found)


async def over_http(node: Listening, cell: Cell) -> Outcome:
    client = await Client.of(node.gateway)
    lines = [f"POST / HTTP/1.1\r\nHost: {cell.address}\r\nContent-Type: application/json\r\nConnection: close"]
    lines += [f"Origin: {cell.page}"] if cell.page is not None else []
    lines += [f"Authorization: Bearer {node.tokens[cell.given]}"] if cell.given != WITHOUT_TOKEN else []
    client.send("\r\n".join([*lines, f"Content-Length: {len(body())}", "", ""]).encode() + body())
    got = await client.answer()
    client.close()
    return allowed(json.loads(got.body)) if got.status == 200 else got.status


async def over_http3(node: Listening, cell: Cell) -> Outcome:
    more = [(b"origin", cell.page.encode())] if cell.page is not None else []
    if cell.given != WITHOUT_TOKEN:
        more.append((b"authorization", f"Bearer {node.tokens[cell.given]}".encode()))
    got = await node.http3.ask(head(b"POST", b"/", *more, authority=cell.address.encode()), body())
    return allowed(json.loads(got.body)) if got.status == 200 else got.status


async def over_websocket(node: Listening, cell: Cell) -> Outcome:
    return await _over_websocket(node, cell, by_query=False)


async def over_websocket_with_query(node: Listening, cell: Cell) -> Outcome:
    return await _over_websocket(node, cell, by_query=True)


async def _over_websocket(node: Listening, cell: Cell, by_query: bool) -> Outcome:
    host, port = node.gateway.address
    has_token = cell.given != WITHOUT_TOKEN
    token = node.tokens.get(cell.given, "")
    query = f"?token={token}" if has_token and by_query else ""
    headers = {"Authorization": f"Bearer {token}"} if has_token and not by_query else {}
    url = f"ws://{cell.address}/ws{query}"
    options: dict[str, Any] = {"origin": cell.page, "additional_headers": headers, "proxy": None}
    try:
        async with websockets.connect(url, host=host, port=port, **options) as socket:
            await socket.send(body())
            return allowed(json.loads(await socket.recv()))
    except websockets.InvalidStatus as refused:
        return refused.response.status_code


async def over_quic(node: Listening, cell: Cell) -> Outcome:
    token = node.tokens[cell.given] if cell.given != WITHOUT_TOKEN else "none"
    return await _over_frames(node, node.quic, token)


async def over_socket(node: Listening, cell: Cell) -> Outcome:
    token = node.tokens[cell.given] if cell.given != WITHOUT_TOKEN else None
    return await _over_frames(node, f"unix://{node.frames}", token)


async def over_ipc(node: Listening, _: Cell) -> Outcome:
    reader, writer = await asyncio.open_unix_connection(str(node.ipc), limit=2**20)
    writer.write(body())
    answers = json.loads(await reader.readline())
    writer.close()
    return allowed(answers)


async def _over_frames(node: Listening, url: str, token: str | None) -> Outcome:
    try:
        client = await zvmd.connect(url, token=token, data_dir=node.data_dir, timeout=20)
    except zvmd.WrongToken:
        return 401
    try:
        found = await asyncio.gather(
            *(client.rpc(name, *NO_FORM) for name in METHODS), return_exceptions=True
        )
    finally:
        await client.close()
    for error in found:
        assert isinstance(error, zvmd.NotPermitted | zvmd.InvalidParams), error
    return frozenset(name for name, error in zip(METHODS, found, strict=True) if isinstance(error, zvmd.InvalidParams))


WAYS: dict[str, tuple[Callable[[Listening, Cell], Awaitable[Outcome]], bool]] = {
    "http": (over_http, True),
    "http3": (over_http3, True),
    "websocket": (over_websocket, True),
    "websocket, token in the query": (over_websocket_with_query, True),
    "quic": (over_quic, False),
    "socket": (over_socket, False),
    "ipc": (over_ipc, False),
}
"""How to ask by each way, and whether Host and Origin count there."""


@asynccontextmanager
async def listening(chain: str, directory: Path, tls: TlsFiles) -> AsyncIterator[Listening]:
    book, tokens = TokenBook.read(directory), {"the node's own token": OWNER, WRONG: "cd" * 32}
    for name, scopes in GIVEN.items():
        if scopes and name not in tokens:
            _, tokens[name] = book.create(name.replace(" ", "-"), scopes_of(scopes), TokenWish(), 1e9)
    limits = DoorLimits(failures_per_s=10**6)
    doors = Doors(CHAINS[chain], OWNER.__eq__, limits=limits, tokens=book)
    service, udp = rpc_service(MemoryBackend()), open_udp_socket("127.0.0.1", 0)
    gateway = await serve_http(service, open_socket("127.0.0.1", 0), doors, limits=HttpLimits())
    quic, port, folder = load_library("qh3"), udp.getsockname()[1], directory.parent
    routes = Routes(service, doors, lambda: True, Way.HTTP3)
    protocols = {"h3": http3_speaker(quic.http3(), service, routes, HttpLimits())}
    wire = await serve_wire(service, udp, tls, doors, quic, WireLimits(), protocols)
    short = Path(tempfile.mkdtemp(prefix="zvmd"))
    ipc = await serve_ipc(service, open_unix_socket(short / "zvmd.ipc", owned=True), doors, HttpLimits())
    frames = await serve_socket(service, open_unix_socket(short / "zvmd.sock", owned=True), WireLimits(), doors)
    try:
        async with connected(Server(wire, service, port, folder, doors)) as client:
            quic_url = f"quic://127.0.0.1:{port}"
            yield Listening(gateway, quic_url, folder, tokens, client, short / "zvmd.ipc", short / "zvmd.sock")
    finally:
        frames.close()
        await ipc.close()
        shutil.rmtree(short)
        wire.close()
        await gateway.close()
        doors.close()
        service.close()


def cells(chain: str) -> list[Cell]:
    hosts_and_origins = list(product(HOSTS, ORIGINS))
    found = []
    for way, (_, on_the_web) in WAYS.items():
        places = hosts_and_origins if on_the_web else hosts_and_origins[:1]
        found += [Cell(way, chain, given, *place) for given in GIVEN for place in places]
    return found


@pytest.mark.parametrize("chain", CHAINS)
def test_every_cell(chain: str, tmp_path: Path) -> None:
    tls = load_or_create_certificate(tmp_path / "tls", datetime.datetime.now(datetime.UTC))

    async def run() -> dict[Cell, Outcome]:
        async with AsyncExitStack() as stack:
            node = await stack.enter_async_context(listening(chain, tmp_path / "doors", tls))
            return {cell: await WAYS[cell.way][0](node, cell) for cell in cells(chain)}

    found = asyncio.run(run())
    assert len(found) > 500
    wrong = {cell: (outcome, expected(cell)) for cell, outcome in found.items() if outcome != expected(cell)}
    assert not wrong


def test_the_matrix_has_every_namespace_and_scope() -> None:
    load_methods()
    namespaces = {name.partition("_")[0] for name in method_names()}
    assert {name.partition("_")[0] for name in METHODS} == namespaces
    assert namespaces >= STANDARD_NAMESPACES
    assert {scope for scope, _ in METHODS.values()} >= {scope.value for scope in SCOPES.values()} | {"admin", "send"}
