"""One watcher's events of a session: from a cursor on, for ever, at the watcher's own pace."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable
from typing import Any

from debugger.session import Session
from node.sessions.live import Live, Ref
from node.sessions.shares import Access
from node.sessions.where import Json, where


async def watching(
    live: Live, read: Callable[..., Awaitable[Any]], ref: Ref, access: Access, cursor: int | None
) -> AsyncGenerator[list[Json], None]:
    """Events behind the cursor; first the position of now if there is no cursor, or if some behind it are not kept.

    ``read`` is `SessionService.read`. Raises like `Live.enter` when the access ends, and `SlowWatcher`.
    """
    session = access.session
    feed = live.join(session)

    def look(found: Session) -> Json:
        return {**live.heading(session, "watch"), "position": where(found, [])}

    try:
        if cursor is None or not feed.oldest <= cursor <= feed.cursor:
            event: Json = await read(look, session)
            if cursor is not None:
                event["missed"] = max(0, event["cursor"] - cursor)
            cursor = event["cursor"]
            yield [event]
        while True:
            live.enter(ref)
            events = feed.after(cursor)
            if events:
                cursor = events[-1]["cursor"]
                yield events
            else:
                await feed.news(live.seconds_left(access))
    finally:
        feed.watchers -= 1
