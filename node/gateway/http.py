"""``POST /``: a JSON-RPC body in, its answer out."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

import msgspec

from node.errors import NodeStopping
from node.gateway.guard import GuardRules, is_json, origin_allowed, refusal
from node.gateway.patience import PEER, HttpPeer
from node.rpc.errors import NodeBusy
from node.rpc.held import SMALL_BYTES, Holding
from node.rpc.service import RpcService

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

JSON = (b"content-type", b"application/json")
PREFLIGHT_MAX_AGE_S = 600
TAKE_ANSWER_S = 30.0
"""For the peer to take an answer; the connection is closed then."""


def header(scope: Scope, name: bytes) -> str | None:
    """A request header."""
    for key, value in scope["headers"]:
        if key == name:
            return str(value, "latin-1")
    return None


async def respond(send: Send, status: int, body: bytes = b"", *headers: tuple[bytes, bytes]) -> None:
    """Send a whole response."""
    length = (b"content-length", str(len(body)).encode())
    await send({"type": "http.response.start", "status": status, "headers": [length, *headers]})
    is_large = len(body) > SMALL_BYTES
    await send({"type": "http.response.body", "body": body, "more_body": is_large})
    if is_large:  # the server returns from this one when the peer has taken most of the body
        await send({"type": "http.response.body", "body": b""})


async def refuse(send: Send, status: int, code: str, message: str, hint: str) -> None:
    """Refuse in the shape of a JSON-RPC error, for people who read answers with curl."""
    error = {"code": -32600, "message": message, "data": {"code": code, "hint": hint}}
    await respond(send, status, msgspec.json.encode({"jsonrpc": "2.0", "id": None, "error": error}), JSON)


class Guard:
    """ASGI middleware: Host and Origin checks for HTTP and WebSocket, CORS for allowed origins."""

    def __init__(self, app: App, rules: GuardRules) -> None:
        self._app = app
        self._rules = rules

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in ("http", "websocket"):
            await self._app(scope, receive, send)
            return
        origin = header(scope, b"origin")
        reason = refusal(self._rules, header(scope, b"host"), origin)
        if reason is not None:
            if scope["type"] == "websocket":
                await receive()
                await send({"type": "websocket.close", "code": 1008})  # before accept: HTTP 403
            else:
                await refuse(send, 403, "http.refused", reason, "allow it with [http] hosts or origins")
            return
        if origin is None or scope["type"] == "websocket" or not origin_allowed(self._rules, origin):
            await self._app(scope, receive, send)
            return
        cors = (b"access-control-allow-origin", origin.encode("latin-1"))
        vary = (b"vary", b"origin")
        if scope["method"] == "OPTIONS":
            allow = (
                (b"access-control-allow-methods", b"POST"),
                (b"access-control-allow-headers", b"content-type"),
            )
            age = (b"access-control-max-age", str(PREFLIGHT_MAX_AGE_S).encode())
            await respond(send, 204, b"", cors, vary, *allow, age)
            return

        async def send_with_cors(message: MutableMapping[str, Any]) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message.get("headers", ()), cors, vary]
            await send(message)

        await self._app(scope, receive, send_with_cors)


class JsonRpcEndpoint:
    """The ASGI application at ``/``."""

    def __init__(self, service: RpcService) -> None:
        self._service = service
        self._body_max = service.context.limits.body_size_max_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["method"] != "POST":
            await refuse(send, 405, "http.method", f"{scope['method']} is not served here", "POST a JSON-RPC request")
            return
        if not is_json(header(scope, b"content-type")):
            hint = "send Content-Type: application/json"
            await refuse(send, 415, "http.content_type", "the body is not declared as JSON", hint)
            return
        try:
            await self._answer(scope, receive, send)
        except asyncio.CancelledError:  # by the server, which stops and has waited for it
            stopping = NodeStopping("the node stopped before this was answered")
            await refuse(send, 503, stopping.code, str(stopping), stopping.hint)

    async def _answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        peer: HttpPeer | None = scope.get("state", {}).get(PEER)
        holding = self._service.held.holding()
        try:
            body = await self._body(scope, receive, holding)
            if body is None:
                message = f"the body exceeds {self._body_max} bytes"
                await refuse(send, 413, "rpc.too_large", message, "send smaller requests or batches")
                return
            answer = await self._service.answer(body, peer.client if peer is not None else None)
            if answer is None:
                await respond(send, 204)
                return
            holding.hold(len(answer))
            async with asyncio.timeout(TAKE_ANSWER_S):
                await respond(send, 200, answer, JSON)
        except NodeBusy as busy:
            await refuse(send, 503, busy.code, str(busy), busy.hint)
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
