"""Following a debug session over the WebSocket ``/ws`` of a node's HTTP port: where QUIC cannot pass."""

from __future__ import annotations

import json
import ssl
from collections.abc import AsyncGenerator, Mapping

from websockets.asyncio.client import connect
from websockets.exceptions import WebSocketException

from zvmd.errors import ConnectionFailed, typed_error
from zvmd.results import SessionChange, result_of

HANDSHAKE_S = 60.0
EVENT_BYTES_MAX = 4 << 20
"""Largest event taken; a node keeps 1 MiB of a session's."""


async def follow(
    url: str,
    session: int | str,
    cursor: int | None = None,
    headers: Mapping[str, str] | None = None,
    context: ssl.SSLContext | None = None,
) -> AsyncGenerator[SessionChange, None]:
    """Changes of a session, as `zvmd.Client.watch` gives them.

    ``url`` is the node's HTTP address, ``headers`` go with the handshake, ``context`` is the TLS for ``https``. Raises
    `ConnectionFailed` when the node goes away, and `SessionError` when the access ends.
    """
    address = url.replace("http", "ws", 1).rstrip("/") + "/ws"
    params = [session] if cursor is None else [session, cursor]
    request = {"jsonrpc": "2.0", "id": 1, "method": "zvmd_session_watch", "params": params}
    reason = "the node closed the connection"
    try:
        async with connect(
            address, additional_headers=headers, open_timeout=HANDSHAKE_S, max_size=EVENT_BYTES_MAX, ssl=context
        ) as socket:
            await socket.send(json.dumps(request))
            async for text in socket:
                message = json.loads(text)
                told = message.get("params", message)
                if "error" in told:
                    raise typed_error(told["error"])
                if told is not message:
                    yield result_of(SessionChange, told["result"])
    except (OSError, ValueError, WebSocketException) as error:
        reason = str(error)
    raise ConnectionFailed(f"{address}: {reason}", code="client.connect", hint="watch again with the last cursor")
