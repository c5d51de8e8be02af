"""The session service of a simulated node: real sessions and files, one command at a time, over `Life`."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

from debugger.session import Session
from debugger.sharing import export_session
from node.engine.requests import KeepSession, KeepTemplate
from node.sessions.base_state import BaseStates
from node.sessions.gallery import Gallery
from node.sessions.repository import SessionRepository
from node.sessions.service import SessionService
from storage.sessions.files import SessionFiles
from storage.sessions.records import Kept, SessionPosition
from tests.simulation.life import Life, machine, raise_error

T = TypeVar("T")
INLINE_BYTES = 3_000
"""A larger session is a file."""


def service_of(life: Life) -> SessionService:
    """A service as the daemon makes it."""

    async def keep(session: int, change: Kept | SessionPosition | None) -> None:
        life.turn(KeepSession(raise_error, session, change))

    async def keep_template(name: str, content: bytes | None) -> None:
        life.turn(KeepTemplate(raise_error, name, content))

    store = life.store
    files = SessionFiles(life.disk.fs)
    files.remove_unfinished(store.sessions)
    repository = SessionRepository(store.sessions, keep, files, store.session_search, life.clock.now, INLINE_BYTES)
    return SessionService(BaseStates(None, machine()), repository, Gallery(store.templates, keep_template))  # type: ignore[arg-type]


def with_service(life: Life, work: Callable[[SessionService], Awaitable[T]]) -> T:
    """Do something with a service of its own."""

    async def run() -> T:
        service = service_of(life)
        try:
            return await work(service)
        finally:
            await service.stop()

    return asyncio.run(run())


def look(session: Session) -> Any:
    """Everything of a session that a user can see."""
    return (
        session.state(), session.digest(), session.branch, dict(session.branches), dict(session.breakpoints),
        session.name, session.tags, export_session(session),
    )  # fmt: skip


async def view(service: SessionService) -> dict[object, Any]:
    """All sessions and templates, as users see them."""
    seen: dict[object, Any] = {}
    for row in service.repository.rows():
        seen[row.id] = (await service.read(look, row.id), row.pinned, row.created)
    for template in service.gallery.templates():
        if service.gallery.is_own(template.name):
            seen[template.name] = template
    return seen
