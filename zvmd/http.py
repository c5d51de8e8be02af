"""JSON-RPC over HTTP with the standard library, the fallback where QUIC is blocked."""

from __future__ import annotations

import http.client
import json
import urllib.error
import urllib.request
from collections.abc import AsyncGenerator, Generator
from typing import Any
from urllib.parse import urlsplit

from zvmd.errors import ConnectionFailed, typed_error
from zvmd.results import SessionChange

TIMEOUT_S = 60.0
NODE_HINT = "is this a zvmd node?"


class HttpClient:
    """Blocking JSON-RPC calls. The token is sent in clear; without it a node answers other machines less."""

    def __init__(self, url: str, token: str | None = None) -> None:
        if urlsplit(url).scheme not in ("http", "https"):
            raise ConnectionFailed(
                f"{url!r} is not an HTTP address", code="client.url", hint="like http://127.0.0.1:8545"
            )
        self.url = url
        self.headers = {"Authorization": f"Bearer {token}"} if token else {}
        self._next_id = 0

    def rpc(self, method: str, *params: Any) -> Any:
        """Result of a method. Raises `ZvmdError`."""
        self._next_id += 1
        body = {"jsonrpc": "2.0", "id": self._next_id, "method": method, "params": list(params)}
        request = urllib.request.Request(  # noqa: S310 - the scheme was checked
            self.url, json.dumps(body).encode(), {"Content-Type": "application/json"} | self.headers
        )
        try:
            with urllib.request.urlopen(request, timeout=TIMEOUT_S) as response:  # noqa: S310
                answer = json.load(response)
        except urllib.error.HTTPError as error:
            answer = _refusal(error)
        except (OSError, ValueError, http.client.HTTPException) as error:
            hint = "is the node running?"
            is_refused = isinstance(getattr(error, "reason", None), ConnectionRefusedError)
            code = "client.unsent" if is_refused else "client.connect"
            raise ConnectionFailed(f"{self.url}: {error}", code=code, hint=hint) from None
        if isinstance(answer, dict) and isinstance(answer.get("error"), dict):
            raise typed_error(answer["error"])
        if not isinstance(answer, dict) or "result" not in answer:
            raise ConnectionFailed(f"{self.url}: the answer is not JSON-RPC", code="client.http", hint=NODE_HINT)
        return answer["result"]

    def watch(self, session: int | str, cursor: int | None = None) -> Generator[SessionChange, None, None]:
        """Changes of a debug session, like `zvmd.Client.watch`, over a separate WebSocket."""
        # Imported here, since few HTTP clients need it.
        import asyncio

        from zvmd.following import follow

        with asyncio.Runner() as runner:
            events = follow(self.url, session, cursor, self.headers)
            try:
                while True:
                    yield runner.run(_next(events))
            finally:
                runner.run(events.aclose())


async def _next(events: AsyncGenerator[SessionChange, None]) -> SessionChange:
    return await anext(events)


def _refusal(error: urllib.error.HTTPError) -> dict[str, Any]:
    try:
        answer = json.load(error)
    except (OSError, ValueError):
        answer = None
    if not isinstance(answer, dict) or "error" not in answer:
        message = f"HTTP status {error.code}"
        raise ConnectionFailed(message, code="client.http", hint=NODE_HINT) from None
    return answer
