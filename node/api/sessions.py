"""What debug sessions need from the node: the chain's states, and durable storage for sessions and templates."""

from __future__ import annotations

from typing import Protocol

from chain.state import StateReader
from node.api.chain import ChainReader
from storage.sessions.records import Kept, SessionPosition


class SessionStore(ChainReader, Protocol):
    """The only way from `node.sessions` to the node, so that sessions can be moved to a process of their own."""

    def state_position(self, number: int) -> int:
        """Position of the newest published state that follows a block (`storage.state.positions`)."""

    def view_at(self, number: int, position: int) -> StateReader:
        """A published state that followed a block. Raises `StateUnavailable`, also after it was reverted."""

    async def keep_session(self, session: int, change: Kept | SessionPosition | None) -> None:
        """Return once a session is durable: the whole of it, its new position, or (None) that it is closed."""

    async def keep_template(self, name: str, content: bytes | None) -> None:
        """Return once a user's template, or (None) its removal, is durable."""
