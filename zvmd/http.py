"""JSON-RPC over HTTP with the standard library, the fallback where QUIC is blocked."""

from __future__ import annotations

import http.client
import json
import os
import ssl
import urllib.error
import urllib.request
from collections.abc import AsyncGenerator, Generator, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from zvmd.endpoint import (
    CERTIFICATE_FILE,
    CERTIFICATE_VARIABLE,
    CLIENT_VARIABLE,
    DEFAULT_HTTP,
    HTTP_CERTIFICATE,
    HTTP_CLIENT,
    TOKEN_FILE,
    TOKEN_VARIABLE,
    announced,
    data_directory,
)
from zvmd.errors import ConnectionFailed, typed_error
from zvmd.results import SessionChange
from zvmd.trust import context_of, pinned_context

TIMEOUT_S = 60.0
NODE_HINT = "is this a zvmd node?"
TOKEN_BYTES_MAX = 1024


class HttpClient:
    """Blocking JSON-RPC calls; without a token a node answers other machines less.

    ``http://`` sends the token in clear. ``https://`` trusts the authorities in the PEM file ``certificate``, such as
    a copy of the node's ``tls/authority.pem``, or without one the system's; ``client_certificate`` is a PEM file with
    the certificate and the key by which to show who we are. Raises `ConnectionFailed` for files it cannot use.
    """

    def __init__(
        self,
        url: str,
        token: str | None = None,
        certificate: str | Path | None = None,
        client_certificate: str | Path | None = None,
        context: ssl.SSLContext | None = None,
    ) -> None:
        if urlsplit(url).scheme not in ("http", "https"):
            raise ConnectionFailed(
                f"{url!r} is not an HTTP address", code="client.url", hint="like http://127.0.0.1:8545"
            )
        self.url = url
        self.headers = {"Authorization": f"Bearer {token}"} if token else {}
        self.context = context or context_of(url, certificate, client_certificate)
        self._next_id = 0

    def rpc(self, method: str, *params: Any) -> Any:
        """Result of a method. Raises `ZvmdError`."""
        self._next_id += 1
        body = {"jsonrpc": "2.0", "id": self._next_id, "method": method, "params": list(params)}
        request = urllib.request.Request(  # noqa: S310 - the scheme was checked
            self.url, json.dumps(body).encode(), {"Content-Type": "application/json"} | self.headers
        )
        try:
            with urllib.request.urlopen(request, timeout=TIMEOUT_S, context=self.context) as response:  # noqa: S310
                answer = json.load(response)
        except urllib.error.HTTPError as error:
            answer = _refusal(error)
        except (OSError, ValueError, http.client.HTTPException) as error:
            raise _unreached(self.url, error) from None
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
            events = follow(self.url, session, cursor, self.headers, self.context)
            try:
                while True:
                    yield runner.run(_next(events))
            finally:
                runner.run(events.aclose())


async def _next(events: AsyncGenerator[SessionChange, None]) -> SessionChange:
    return await anext(events)


def find_http(
    url: str | None = None,
    token: str | None = None,
    certificate: str | Path | None = None,
    client_certificate: str | Path | None = None,
    data_dir: str | Path | None = None,
    environ: Mapping[str, str] = os.environ,
) -> HttpClient:
    """A client of a node, with what is not given taken from the environment and the node's data directory.

    Without ``url`` it is the node of the data directory. Its own token is sent to it only over TLS; to any other
    address only a token that is given. Raises `ConnectionFailed`.
    """
    directory = data_directory(data_dir, environ)
    token = token or environ.get(TOKEN_VARIABLE) or None
    certificate = certificate or environ.get(CERTIFICATE_VARIABLE) or None
    shown = client_certificate or environ.get(CLIENT_VARIABLE) or None
    if url is not None:
        return HttpClient(url, token, context=context_of(url, certificate, shown, directory / CERTIFICATE_FILE))
    url = announced(directory, "http", DEFAULT_HTTP)
    if not url.startswith("https:"):
        return HttpClient(url, token)
    if shown is None and (name := announced(directory, HTTP_CLIENT, "")):
        shown = directory / name
    if certificate is None and (name := announced(directory, HTTP_CERTIFICATE, "")):
        context = pinned_context(directory / name, shown)
    else:
        context = context_of(url, certificate or directory / CERTIFICATE_FILE, shown) or ssl.create_default_context()
    return HttpClient(url, token or _own_token(directory), context=context)


def _own_token(directory: Path) -> str | None:
    try:
        with (directory / TOKEN_FILE).open("rb") as file:
            return file.read(TOKEN_BYTES_MAX).decode("ascii").strip() or None
    except (OSError, ValueError):
        return None


def _unreached(url: str, error: Exception) -> ConnectionFailed:
    """The error of a request that was not answered."""
    reason = getattr(error, "reason", None)
    code, hint = "client.connect", "is the node running?"
    if isinstance(reason, ConnectionRefusedError):
        code = "client.unsent"
    elif isinstance(reason, ssl.SSLCertVerificationError):
        code = "client.certificate"
        hint = "set ZVMD_CERTIFICATE to a copy of the node's tls/authority.pem, or to the authority that signed its own"
        error = ValueError(f"its certificate is not trusted: {reason.verify_message}")
    elif isinstance(reason or error, ssl.SSLError):
        hint = "does the node speak TLS at this port (else use http://), and does it require a client's certificate?"
    return ConnectionFailed(f"{url}: {error}", code=code, hint=hint)


def _refusal(error: urllib.error.HTTPError) -> dict[str, Any]:
    try:
        answer = json.load(error)
    except (OSError, ValueError):
        answer = None
    if not isinstance(answer, dict) or "error" not in answer:
        message = f"HTTP status {error.code}"
        raise ConnectionFailed(message, code="client.http", hint=NODE_HINT) from None
    return answer
