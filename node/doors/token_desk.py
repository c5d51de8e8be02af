"""Makes, lists and revokes tokens for ``zvmd_token...`` while the node runs. What is on disk is written on a thread."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from functools import partial
from typing import Any, TypeVar

from node.doors.doors import Doors
from node.doors.errors import TokenRefused
from node.doors.token_book import scopes_of, shown, wish_of
from node.rpc.caller import Caller

Changed = TypeVar("Changed")


class TokenDesk:
    """The only one who changes the tokens of a running node; one change at a time."""

    def __init__(self, doors: Doors, wall: Callable[[], float] = time.time) -> None:
        self._doors = doors
        self._wall = wall
        self._changing = asyncio.Lock()

    async def create(self, caller: Caller, name: str, scopes: list[Any], options: Any) -> dict[str, Any]:
        """Make a token: what `shown` tells of it, and the token. Nobody gives a scope that he does not have.

        Raises `TokenRefused`, `StorageFull`, `StoragePanic`.
        """
        wanted, wish = scopes_of(scopes), wish_of(options)
        beyond = [scope.value for scope in wanted if not caller.rights.has(scope)]
        if beyond:
            raise TokenRefused(f"this token cannot give the scope {', '.join(beyond)}, which it does not have itself")
        make = partial(self._doors.tokens.create, name, wanted, wish, self._wall())
        entry, secret = await self._change(make, lambda _: None)
        return shown(entry) | ({"token": secret} if secret else {})

    def entries(self) -> list[dict[str, Any]]:
        """All tokens, without their secrets, and how many connections use each."""
        return [shown(entry) | {"connected": self._doors.connected(entry.id)} for entry in self._doors.tokens.entries]

    async def revoke(self, name_or_id: str) -> dict[str, Any]:
        """Remove a token and close the connections that used it. Raises `UnknownToken` and what writing raises."""
        revoke = partial(self._doors.tokens.revoke, name_or_id)
        return shown(await self._change(revoke, lambda entry: self._doors.end(entry.id)))

    async def _change(self, change: Callable[[], Changed], then: Callable[[Changed], None]) -> Changed:
        """Make a change, and what follows from it, also if nobody waits for it any more."""

        async def whole() -> Changed:
            async with self._changing:
                changed = await asyncio.to_thread(change)
                then(changed)
                return changed

        return await asyncio.shield(asyncio.ensure_future(whole()))
