"""``zvmd session debug``: the terminal debugger."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import click

from node.cli.link import http_client, link_options
from node.cli.output import say
from node.cli.session_command import SESSION
from node.cli.session_program import program_options, request_of
from zvmd.following import follow
from zvmd.http import HttpClient
from zvmd.results import SessionChange
from zvmd.session_view import shown


class HttpConnection:
    """JSON-RPC over HTTP for an event loop: each request waits in a thread."""

    def __init__(self, client: HttpClient) -> None:
        self._client = client

    async def rpc(self, method: str, *params: Any) -> Any:
        """Result of a method. Raises `ZvmdError`."""
        return await asyncio.to_thread(self._client.rpc, method, *params)

    async def watch(self, session: int | str) -> AsyncIterator[SessionChange]:
        """Changes of a session, as `zvmd.Client.watch` gives them."""
        return follow(self._client.url, session, headers=self._client.headers, context=self._client.context)

    async def close(self) -> None:
        """Nothing to close."""


@click.command()
@click.argument("session_id", metavar="[ID|TOKEN]", type=SESSION, required=False)
@program_options
@link_options
def debug(session_id: int | str | None, http: bool, url: str | None, data_dir: str | None, **fields: Any) -> None:
    """Debug in the terminal: a session by its ID, or a new one. Press h to see the keys."""
    wanted = any(value is not None for value in fields.values())
    if (session_id is not None) == wanted:
        raise click.UsageError("give the ID of a session, or --code, --to, --tx or --template for a new one")
    left = asyncio.run(_debug(session_id, fields, http, url, data_dir))
    again = f": zvmd session debug {left}" if isinstance(left, int) else ""
    say(f"session {shown(left)} stays as it is{again}")


async def _debug(
    session_id: int | str | None, fields: dict[str, Any], http: bool, url: str | None, data_dir: str | None
) -> int | str:
    # here, since textual takes a while to load
    from node.tui.app import Debugger
    from node.tui.source import Connection, Line, ViewSource
    from zvmd.async_session import AsyncSession
    from zvmd.client import connect

    client = http_client(http, url, data_dir)

    async def open_connection() -> Connection:
        return HttpConnection(client) if client else await connect(url, data_dir=data_dir)

    line = Line(open_connection)
    try:
        if session_id is None:
            name, parameter = request_of(**fields)
            session_id = int((await line.rpc(f"zvmd_session_{name}", parameter))["id"])
        await Debugger(ViewSource(AsyncSession(line, session_id), line)).run_async()
        return session_id
    finally:
        await line.close()
