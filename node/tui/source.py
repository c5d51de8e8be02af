"""Fetches the terminal debugger's views from the node, over QUIC or HTTP; reconnects after a lost connection."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import replace
from typing import Any, Protocol

from chain.forks import Fork
from chain.lru import Lru
from debugger.frontend import disassemble
from node.tui.view import PAGES, CodeListing, Json, View, query
from zvmd.async_session import AsyncSession
from zvmd.errors import ConnectionFailed
from zvmd.results import SessionChange

CODES_KEPT = 64


class Connection(Protocol):
    """An asynchronous client of the node."""

    async def rpc(self, method: str, *params: Any) -> Any: ...

    async def watch(self, session: int | str) -> AsyncIterator[SessionChange]: ...

    async def close(self) -> None: ...


class Line:
    """A connection opened when it is needed; after it was lost, the next request opens another."""

    def __init__(self, connect: Callable[[], Awaitable[Connection]]) -> None:
        self._connect = connect
        self._connection: Connection | None = None
        self._connecting = asyncio.Lock()

    async def rpc(self, method: str, *params: Any) -> Any:
        """Result of a method. Raises `ZvmdError`."""
        async with self._connecting:
            connection = self._connection = self._connection or await self._connect()
        try:
            return await connection.rpc(method, *params)
        except ConnectionFailed:
            if self._connection is connection:
                self._connection = None
                await connection.close()
            raise

    async def watch(self, session: int | str) -> AsyncIterator[SessionChange]:
        """Changes of a session, as `zvmd.Client.watch` gives them."""
        async with self._connecting:
            connection = self._connection = self._connection or await self._connect()
        async for event in await connection.watch(session):
            yield event

    async def close(self) -> None:
        """Close the connection; sessions stay in the node."""
        if self._connection is not None:
            await self._connection.close()


class ViewSource:
    """Views of one session."""

    def __init__(self, session: AsyncSession, line: Line) -> None:
        self.session, self.line = session, line
        self._codes: Lru[str, CodeListing] = Lru(CODES_KEPT)

    async def look(self, before: View) -> View:
        """The session as it is now, with the message and the options of the view before."""
        session, frame = self.session, before.options.frame
        state, brief, points, marks = await asyncio.gather(
            session.call("state", query(before.options)),
            session.call("code", frame, 0, 0),
            session.call("breakpoint_list"),
            session.call("timeline"),
        )
        tree = before.tree if _run_of(marks) == _run_of(before.marks) else None
        code = await self._code(brief["hash"], frame)
        return replace(
            before, state=state, pages={}, code=code, breakpoints=tuple(points), marks=marks, tree=tree
        )

    def changes(self) -> AsyncIterator[SessionChange]:
        """Yields once at the beginning and after each change of the session, by any client."""
        return self.line.watch(self.session.id)

    async def tree(self) -> Json:
        """The call tree of the whole run."""
        return dict(await self.session.call("call_tree"))

    async def page(self, view: View, name: str, number: int) -> View:
        """The view with one more page of a field."""
        size = PAGES[name]
        window = {name: {"offset": number * size, "limit": size}}
        asked = {**{other: {"offset": 0, "limit": 0} for other in PAGES}, **window}
        frame = view.options.frame
        state = await self.session.call("state", asked if frame is None else {**asked, "frame": frame})
        return view.with_page(int(state["step"]), name, number, state[name])

    async def _code(self, code_hash: str, frame: int | None) -> CodeListing:
        listing = self._codes.get(code_hash)
        if listing is None:
            answer = await self.session.call("code", frame)
            listing = await asyncio.to_thread(_listed, answer)
            self._codes.put(answer["hash"], listing)
        return listing


def _run_of(marks: Json) -> tuple[Any, Any]:
    """Identifies one run among those of the same session."""
    return marks.get("branch"), marks.get("edits")


def _listed(answer: Json) -> CodeListing:
    lines = tuple(disassemble(bytes.fromhex(answer["code"][2:]), Fork[answer["fork"].upper()]))
    return CodeListing(answer["hash"], lines, {line.pc: row for row, line in enumerate(lines)})
