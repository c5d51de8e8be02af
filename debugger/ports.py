"""What a service gives the debugger: where session records are kept. Implementations are outside."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol

import msgspec

from debugger.persist import SessionRecord
from debugger.templates import Template


class SessionSummary(msgspec.Struct, frozen=True):
    """A line of a list of sessions."""

    id: int
    name: str
    tags: tuple[str, ...]
    fork: str
    position: int
    halt: str | None


class SessionStore(Protocol):
    """Keeps sessions over restarts. What `put` returned from is durable."""

    def put(self, session: int, record: SessionRecord) -> None:
        """Keep the record in place of an earlier one of the session."""

    def get(self, session: int) -> SessionRecord:
        """Raises `debugger.errors.SessionNotFound`."""

    def delete(self, session: int) -> None:
        """Forget the session. Raises `debugger.errors.SessionNotFound`."""

    def summaries(self, text: str = "", tag: str = "") -> Iterator[SessionSummary]:
        """Sessions whose name contains the text and that have the tag, newest first."""


class TemplateStore(Protocol):
    """The gallery and the users' own templates."""

    def put(self, template: Template) -> None:
        """Keep a template of a user."""

    def get(self, name: str) -> Template:
        """Raises `debugger.errors.SessionNotFound`."""

    def names(self) -> Iterator[str]:
        """All names, ascending."""
