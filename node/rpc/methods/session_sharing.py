"""``zvmd_session_``: share tokens, who drives, and what follows a session live (pushed over QUIC and WebSocket)."""

from __future__ import annotations

from typing import Any

from msgspec.structs import replace

from node.rpc.context import Context
from node.rpc.params import JsonObject, LooseInt, SessionRef, ToDrive, ToLook, ToOwn, check_keys
from node.rpc.registry import find_method, method
from node.sessions.errors import NoPush
from node.sessions.shares import TTL_SECONDS, Share, Sharing, given, holder, revoked, wheel_released, wheel_taken
from node.sessions.where import Json

S = "zvmd_session_"


def _shown(share: Share, now: float) -> Json:
    """A share without its secret."""
    return {
        "id": share.id,
        "role": share.role,
        "name": share.name,
        "expires": share.expires,
        "isExpired": now >= share.expires,
    }


@method(S + "share")
async def share(
    context: Context, id_: ToOwn, role: str = "watch", ttl: LooseInt | None = None, name: str = ""
) -> Json:
    """Create a share token with the role ``watch`` or ``drive``, valid for ``ttl`` seconds; it is shown only once."""
    service = context.need_sessions()
    session, now = id_, service.live.now()
    made: list[tuple[Share, str]] = []

    def change(sharing: Sharing) -> Sharing:
        changed, added, token = given(sharing, session, role, TTL_SECONDS if ttl is None else ttl, name, now)
        made[:] = [(added, token)]
        return changed

    await service.share(session, change)
    found, token = made[0]
    return {**_shown(found, now), "token": token}


@method(S + "shares")
async def shares(context: Context, id_: ToOwn) -> Json:
    """All shares, and the driver: a share's id, 0 for the owner, null if nobody has control."""
    live = context.need_sessions().live
    now = live.now()
    sharing = live.sharing(id_)
    return {"driver": holder(sharing, now), "shares": [_shown(found, now) for found in sharing.shares]}


@method(S + "unshare")
async def unshare(context: Context, id_: ToOwn, share_: LooseInt) -> bool:
    """Revoke a share: its token is refused from now on, and its watchers are notified."""
    service = context.need_sessions()
    await service.share(id_, lambda sharing: revoked(sharing, share_))
    return True


@method(S + "drive")
async def drive(context: Context, id_: ToDrive, options: JsonObject | None = None) -> Json:
    """Take control of a session that nobody controls, or with ``{takeOver: true}`` from its driver."""
    chosen = JsonObject({}) if options is None else options
    check_keys(chosen, frozenset({"takeOver"}), "taking control")
    return await _wheel(context, id_, "drive", chosen.get("takeOver") is True)


@method(S + "release")
async def release(context: Context, id_: ToDrive) -> Json:
    """Release control: the next one to move the session takes it."""
    return await _wheel(context, id_, "release", False)


async def _wheel(context: Context, ref: SessionRef, command: str, take_over: bool) -> Json:
    service = context.need_sessions()
    access = service.live.driver(ref)

    def change(sharing: Sharing) -> Sharing:
        now = service.live.now()
        if command == "release":
            changed = wheel_released(sharing, access.share, now)
        else:
            changed = wheel_taken(sharing, access.share, now, take_over)
        return replace(changed, changes=sharing.changes + 1)

    sharing = await service.share(access.session, change, command)
    return {"driver": sharing.driver}


@method(S + "watch")
async def watch(context: Context, id_: ToLook, cursor: LooseInt | None = None) -> Any:
    """Follow a session live: events after the cursor are pushed, over QUIC and WebSocket."""
    context.need_sessions().live.enter(id_)
    raise NoPush("this transport cannot push events" + ("" if cursor is None else f" behind cursor {cursor}"))


def watch_params(params: object) -> tuple[SessionRef, int | None]:
    """Reference and cursor of a call to ``zvmd_session_watch`` where events are pushed. Raises `InvalidParams`."""
    ref, cursor = find_method(S + "watch").arguments(params if isinstance(params, (list, dict)) else [params])
    return ref, cursor
