"""The plainest JSON-RPC client: one kept-alive HTTP connection, no library of the project in between."""

from __future__ import annotations

import http.client
import itertools
import json
import ssl
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

TIMEOUT_SECONDS = 60.0


class RpcFailed(Exception):
    """The node answered with a JSON-RPC error."""

    def __init__(self, method: str, error: dict[str, Any]) -> None:
        super().__init__(f"{method}: {error.get('code')} {error.get('message')}")
        self.code: int = error["code"]
        self.data: Any = error.get("data")


class Rpc:
    """A connection to a node's JSON-RPC. Not for several threads at once.

    A broken connection raises ``OSError`` or ``http.client.HTTPException``: the caller cannot know whether
    the request was carried out.
    """

    def __init__(self, url: str, timeout: float = TIMEOUT_SECONDS, authority: Path | None = None) -> None:
        """``authority``: whose certificates are trusted, for an ``https`` address."""
        self.url = url
        address = urlsplit(url)
        assert address.hostname is not None
        if address.scheme == "https":
            trusting = ssl.create_default_context(cafile=authority)
            self._connection: http.client.HTTPConnection = http.client.HTTPSConnection(
                address.hostname, address.port, timeout=timeout, context=trusting
            )
        else:
            self._connection = http.client.HTTPConnection(address.hostname, address.port, timeout=timeout)
        self._ids = itertools.count(1)

    def call(self, method: str, *params: object) -> Any:
        """The result of one call; raises ``RpcFailed`` for an error answer."""
        answer = self.exchange(self._request(method, params))
        if "error" in answer:
            raise RpcFailed(method, answer["error"])
        return answer["result"]

    def batch(self, calls: Sequence[tuple[str, tuple[object, ...]]]) -> list[Any]:
        """The results of a batch, in the order asked; raises ``RpcFailed`` for the first error among them."""
        requests = [self._request(method, params) for method, params in calls]
        answers = {answer["id"]: answer for answer in self.exchange(requests)}
        results = []
        for request in requests:
            answer = answers[request["id"]]
            if "error" in answer:
                raise RpcFailed(request["method"], answer["error"])
            results.append(answer["result"])
        return results

    def close(self) -> None:
        """Close the connection; the next call opens a new one."""
        self._connection.close()

    def exchange(self, body: object) -> Any:
        """The decoded answer to a body of any form."""
        try:
            self._connection.request(
                "POST", "/", json.dumps(body).encode(), {"Content-Type": "application/json"}
            )
            return json.loads(self._connection.getresponse().read())
        except (OSError, http.client.HTTPException):
            self._connection.close()
            raise

    def _request(self, method: str, params: tuple[object, ...]) -> dict[str, Any]:
        return {"jsonrpc": "2.0", "id": next(self._ids), "method": method, "params": list(params)}
