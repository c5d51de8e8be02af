"""``POST /``: a JSON-RPC body in, its answer out."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

import msgspec

from node.api.errors import NodeStopping
from node.gateway.guard import FORWARDED, GuardRules, HttpRefusal, Verdict, Visitor, is_json, judge
from node.gateway.patience import PEER, HttpPeer
from node.rpc.errors import NodeBusy
from node.rpc.held import SMALL_BYTES, Holding
from node.rpc.service import RpcService

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]
Header = tuple[bytes, bytes]

JSON = (b"content-type", b"application/json")
PREFLIGHT_MAX_AGE_S = 600
PREFLIGHT_HEADERS_MAX = 1_000
"""Most characters of header names that a preflight answer allows at the browser's request."""
DEFAULT_HEADERS = "authorization, content-type"
HEADER_NAMES = re.compile(r"[\w!#$%&'*+.^`|~-]++(?:\s*+,\s*+[\w!#$%&'*+.^`|~-]++)*", re.ASCII)
LOOKED_AT = frozenset((b"host", b"origin", b"authorization", *FORWARDED))
ADMITTED_MAX = 256
FULL = HttpRefusal(503, "http.connections", "all connections are in use", "raise [limits] http_connections")
TAKE_ANSWER_S = 30.0
"""How long a peer may take to receive an answer before the connection is closed."""


def header(scope: Scope, name: bytes) -> str | None:
    """A request header."""
    for key, value in scope["headers"]:
        if key == name:
            return str(value, "latin-1")
    return None


async def respond(send: Send, status: int, body: bytes = b"", *headers: Header, kind: str = "http.response") -> None:
    """Send a whole response; ``kind`` is another when it answers the handshake of a WebSocket."""
    length = () if status == 204 else ((b"content-length", str(len(body)).encode()),)
    await send({"type": f"{kind}.start", "status": status, "headers": [*length, *headers]})
    is_large = len(body) > SMALL_BYTES
    await send({"type": f"{kind}.body", "body": body, "more_body": is_large})
    if is_large:  # the server returns from this one when the peer has taken most of the body
        await send({"type": f"{kind}.body", "body": b""})


async def refuse(send: Send, refusal: HttpRefusal, *headers: Header, kind: str = "http.response") -> None:
    """Refuse in the shape of a JSON-RPC error, for people who read answers with curl."""
    error = {"code": -32600, "message": refusal.message, "data": {"code": refusal.code, "hint": refusal.hint}}
    body = msgspec.json.encode({"jsonrpc": "2.0", "id": None, "error": error})
    await respond(send, refusal.status, body, JSON, *headers, kind=kind)


class Guard:
    """ASGI middleware: applies the rules, puts the rights into ``scope["rights"]``, and answers CORS preflights."""

    def __init__(self, app: App, rules: GuardRules, is_full: Callable[[], bool] = lambda: False) -> None:
        self._app = app
        self._rules = rules
        self._is_full = is_full
        self._admitted: dict[Visitor, Verdict] = {}
        """Decisions on visitors without a token; at most `ADMITTED_MAX`."""

    def _judge(self, visitor: Visitor) -> Verdict:
        verdict = self._admitted.get(visitor)
        if verdict is None:
            verdict = judge(self._rules, visitor)
            if verdict.refusal is None and not visitor.authorizations:  # accepted headers are short, not secret
                if len(self._admitted) >= ADMITTED_MAX:
                    self._admitted.clear()
                self._admitted[visitor] = verdict
        return verdict

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        verdict = self._judge(visitor_of(scope))
        answer = send if verdict.origin is None else _with_headers(send, *readable_by(verdict.origin))
        if verdict.refusal is None and self._is_full():
            await refuse_visitor(scope, receive, answer, FULL)
        elif verdict.refusal is not None:
            await refuse_visitor(scope, receive, answer, verdict.refusal)
        elif scope["type"] == "http" and scope["method"] == "OPTIONS" and verdict.origin is not None:
            await respond(answer, 204, b"", *preflight(scope))
        else:
            scope["rights"] = verdict.rights
            await self._app(scope, receive, send if scope["type"] == "websocket" else answer)


def visitor_of(scope: Scope) -> Visitor:
    """What the guard looks at in a request."""
    hosts, origins, authorizations, forwarded = [], [], [], False
    for name, value in scope["headers"]:
        if name not in LOOKED_AT:
            continue
        if name == b"host":
            hosts.append(str(value, "latin-1"))
        elif name == b"origin":
            origins.append(str(value, "latin-1"))
        elif name == b"authorization":
            authorizations.append(str(value, "latin-1"))
        else:
            forwarded = True
    client = scope.get("client")
    address = client[0] if client else None
    return Visitor(tuple(hosts), address, tuple(origins), tuple(authorizations), forwarded)


async def refuse_visitor(scope: Scope, receive: Receive, send: Send, refusal: HttpRefusal) -> None:
    """Answer a request, or the handshake of a WebSocket, with a refusal."""
    kind = "http.response"
    if scope["type"] == "websocket":
        await receive()  # the request to connect
        kind = "websocket.http.response"
    close = ((b"connection", b"close"),) if refusal is FULL else ()
    scheme = ((b"www-authenticate", b"Bearer"),) if refusal.status == 401 else ()
    await refuse(send, refusal, *close, *scheme, kind=kind)


def readable_by(origin: str) -> tuple[Header, ...]:
    """The headers that let a page's scripts read an answer. No credentials: the node has no cookies."""
    return (b"access-control-allow-origin", origin.encode("latin-1")), (b"vary", b"Origin")


def preflight(scope: Scope) -> list[Header]:
    """What a browser may send next: the methods there are, and the headers it asked for (Fetch standard, 4.8).

    Private Network Access (WICG): a page on the Internet asks whether it may reach this network.
    """
    asked = header(scope, b"access-control-request-headers") or ""
    allowed = asked if len(asked) <= PREFLIGHT_HEADERS_MAX and HEADER_NAMES.fullmatch(asked) else DEFAULT_HEADERS
    answer = [
        (b"access-control-allow-methods", b"GET, POST, OPTIONS"),
        (b"access-control-allow-headers", allowed.encode()),
        (b"access-control-max-age", str(PREFLIGHT_MAX_AGE_S).encode()),
        (b"vary", b"Access-Control-Request-Headers, Access-Control-Request-Private-Network"),
    ]
    if header(scope, b"access-control-request-private-network") == "true":
        answer.append((b"access-control-allow-private-network", b"true"))
    return answer


def _with_headers(send: Send, *headers: Header) -> Send:
    async def send_with_headers(message: MutableMapping[str, Any]) -> None:
        if message["type"] == "http.response.start":
            message["headers"] = [*message.get("headers", ()), *headers]
        await send(message)

    return send_with_headers


class JsonRpcEndpoint:
    """The ASGI application at ``/``."""

    def __init__(self, service: RpcService) -> None:
        self._service = service
        self._body_max = service.context.limits.body_size_max_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["method"] != "POST":
            message = f"{scope['method']} is not served here"
            await refuse(send, HttpRefusal(405, "http.method", message, "POST a JSON-RPC request"), (b"allow", b"POST"))
            return
        if not is_json(header(scope, b"content-type")):
            hint = "send Content-Type: application/json"
            await refuse(send, HttpRefusal(415, "http.content_type", "the body is not declared as JSON", hint))
            return
        try:
            await self._answer(scope, receive, send)
        except asyncio.CancelledError:  # by the server, which stops and has waited for it
            stopping = NodeStopping("the node stopped before this was answered")
            await refuse(send, HttpRefusal(503, stopping.code, str(stopping), stopping.hint))

    async def _answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        peer: HttpPeer | None = scope.get("state", {}).get(PEER)
        holding = self._service.held.holding()
        try:
            body = await self._body(scope, receive, holding)
            if body is None:
                message = f"the body exceeds {self._body_max} bytes"
                await refuse(send, HttpRefusal(413, "rpc.too_large", message, "send smaller requests or batches"))
                return
            client = peer.client if peer is not None else None
            answer = await self._service.answer(body, client, rights=scope["rights"])
            if answer is None:
                await respond(send, 204)
                return
            if len(answer) <= SMALL_BYTES and (peer is None or not peer.is_behind):
                await respond(send, 200, answer, JSON)  # does not wait, so it needs no timer
                return
            holding.hold(len(answer))
            async with asyncio.timeout(TAKE_ANSWER_S):
                await respond(send, 200, answer, JSON)
        except NodeBusy as busy:
            await refuse(send, HttpRefusal(503, busy.code, str(busy), busy.hint))
        except TimeoutError:
            if peer is not None:
                peer.abort()
        finally:
            holding.release()

    async def _body(self, scope: Scope, receive: Receive, holding: Holding) -> bytes | None:
        """The whole body, None if it is too large. Raises `NodeBusy`."""
        declared = header(scope, b"content-length")
        if declared is not None and declared.isdigit() and int(declared) > self._body_max:
            return None
        message = await receive()
        body: bytes = message.get("body", b"")
        if not message.get("more_body"):
            return body if len(body) <= self._body_max else None
        parts, size = [body], len(body)
        while message.get("more_body"):
            message = await receive()
            part = message.get("body", b"")
            size += len(part)
            if size > self._body_max:
                return None
            holding.hold(size)
            parts.append(part)
        return b"".join(parts)
