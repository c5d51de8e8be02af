"""Many debug sessions at once: each used by one job at a time, off the event loop, kept before it is answered.

A change is performed, logged and durable, then answered. When any of it fails the session in memory is given up and
comes back from its last record, so it is never between two states.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Callable
from typing import TypeVar

import msgspec

from debugger.errors import SessionLimitReached
from debugger.limits import SESSIONS, TEMPLATES
from debugger.persist import restore_slices
from debugger.program import Program
from debugger.session import Session
from node.api.errors import NodeStopping, ReadOnly, WriterBusy
from node.sessions.gallery import Gallery
from node.sessions.import_worker import import_apart
from node.sessions.keeping import Keeper
from node.sessions.kept import KEYFRAME_BYTES, copied
from node.sessions.live import Live, Ref
from node.sessions.origin import Ground, Origin
from node.sessions.seats import LIVE_BYTES, LIVE_MAX, NOWHERE, Seats, Work
from node.sessions.shares import OWNER, UNSHARED, Access, Sharing, encode_sharing
from node.sessions.watching import watching
from node.sessions.where import Json, event_of, where
from storage.sessions.records import Kept

T = TypeVar("T")

KEPT_BYTES = 256 << 20
"""Contents of all sessions that are not in files."""
TOUCH_SECONDS = 6 * 3600
"""Looking at a session counts as use; that is written down this often at most."""


class SessionService:
    """See the module. Use it from one event loop."""

    def __init__(self, ground: Ground, keeper: Keeper, gallery: Gallery) -> None:
        self.ground = ground
        self.keeper = keeper
        self.gallery = gallery
        self.live = Live(keeper.shelf)
        self.seats = Seats(ground, keeper)
        self.active: int | None = None
        """The session a client wants to be remembered; nothing depends on it."""
        self._next_id = keeper.shelf.highest + 1
        self._creating = 0
        self._importing = asyncio.Lock()
        """One worker process at a time."""
        self._removed = 0

    # Life

    async def create(self, program: Program, origin: Origin, name: str = "", tags: tuple[str, ...] = ()) -> int:
        """A new session. Raises `InvalidProgram`, `SessionLimitReached`, errors of the transaction."""

        def make() -> Work[Session]:
            yield from ()
            base, block_hash = self.ground.base(origin)
            return Session(
                program, self.ground.machine, base, block_hash, name=name, tags=tags, keyframe_bytes=KEYFRAME_BYTES
            )

        return await self.seats.shielded(self._add(make(), origin))

    async def create_plain(self, program: Program, name: str) -> int:
        """A new session over an empty state."""
        return await self.create(program, NOWHERE, name)

    async def on_thread(self, job: Callable[[], T]) -> T:
        """Something long that concerns no session."""
        return await self.seats.on_thread(job)

    async def import_file(self, data: bytes) -> int:
        """A session of a file, over the state in the file. Raises `SessionFileRefused`, `SessionDiverged`."""

        async def importing() -> int:
            async with self._importing:
                record = msgspec.structs.replace(await import_apart(data), is_running=False)
            return await self._add(restore_slices(record, self.ground.machine, None, None, KEYFRAME_BYTES), NOWHERE)

        return await self.seats.shielded(importing())

    async def _add(self, make: Work[Session], origin: Origin) -> int:
        number = self._new_id()
        self._creating += 1
        try:
            await self.seats.add(number, await self.seats.drive(make), origin, b"")
        finally:
            self._creating -= 1
        return number

    def _new_id(self) -> int:
        if len(self.keeper.shelf) + self._creating >= SESSIONS or self.keeper.bytes > KEPT_BYTES:
            raise SessionLimitReached(f"at most {SESSIONS} sessions, of {KEPT_BYTES} bytes, are kept at once")
        number, self._next_id = self._next_id, self._next_id + 1
        return number

    async def copy(self, source: int, target: int | None = None) -> int:
        """The session ``source`` once more under a new id, or in place of ``target``. Raises `NotDriving`."""
        self.keeper.kept(source)
        if target is None:
            target = self._new_id()
        else:
            self.keeper.kept(target)
        return await self.seats.shielded(self._copy(source, target))

    async def _copy(self, source: int, target: int) -> int:
        keeper, seats = self.keeper, self.seats
        async with seats.held(target, new=True) as seat:
            kept, over = keeper.kept(source), keeper.shelf.get(target)
            sharing = UNSHARED if over is None else self.live.changed(Access(target, OWNER, True))

            def work() -> Kept:
                made, content = copied(kept, keeper.content(source, kept), over, keeper.now(), encode_sharing(sharing))
                return msgspec.structs.replace(made, content=keeper.store(target, content))

            await keeper.put(target, await seats.on_thread(work))
            seats.give_up(seat)
            self.live.kept(target, sharing)
            if self.live.is_watched(target):
                session = await seats.ready(seat)
                position = await seats.on_thread(lambda: where(session, []))
                self.live.publish(target, sharing, "restore", {"position": position})
        return target

    async def close(self, session: int) -> None:
        """End a session. Raises `SessionNotFound`."""
        await self.seats.shielded(self._close(session))

    async def _close(self, session: int, used: int | None = None) -> None:
        """``used``: only if nobody has used it since then."""
        async with self.seats.held(session) as seat:
            if used is None or self.keeper.kept(session).place.used == used:
                await self.keeper.put(session, None)
                self.live.kept(session, None)
                self.seats.give_up(seat)

    async def pin(self, session: int, pinned: bool) -> None:
        """Have the session stay whatever the policy says, or no longer. Raises `SessionNotFound`."""

        async def pinning() -> None:
            async with self.seats.held(session):
                label = self.keeper.kept(session).label
                await self.keeper.relabel(session, msgspec.structs.replace(label, pinned=pinned))

        await self.seats.shielded(pinning())

    def is_used(self, session: int) -> bool:
        """Whether somebody uses it, waits for it or watches it."""
        return bool(self.seats.users(session)) or self.live.watchers(session) > 0

    async def close_unused(self, session: int, used: int) -> bool:
        """Remove a session unless somebody has used it since; whether it went. Raises `SessionNotFound`."""
        await self.seats.shielded(self._close(session, used))
        is_gone = self.keeper.shelf.get(session) is None
        self._removed += is_gone
        return is_gone

    def set_active(self, session: int) -> None:
        """Remember the session that is looked at. Raises `SessionNotFound`."""
        self.keeper.kept(session)
        self.active = session

    def status(self) -> dict[str, int | None]:
        """How many there are, and what they take."""
        rows = self.keeper.everything().rows
        return {
            "sessions": len(rows),
            "pinned": sum(row.pinned for row in rows),
            "ready": sum(seat.session is not None for seat in self.seats),
            "inUse": sum(self.is_used(row.id) for row in rows),
            "bytes": sum(row.bytes for row in rows),
            "files": len(self.keeper.shelf.snapshots()),
            "removed": self._removed,
            "active": self.active,
        }

    def bounds(self) -> dict[str, tuple[int, int]]:
        """By name: how large what grows in memory is, and how large it may get."""
        ready = [seat.bytes for seat in self.seats if seat.session is not None]
        return {
            "debug sessions": (len(self.keeper.shelf), SESSIONS),
            "debug session bytes": (self.keeper.bytes, KEPT_BYTES),
            "ready sessions": (len(ready), LIVE_MAX),
            "ready session bytes": (sum(ready), LIVE_BYTES),
            "templates": (self.gallery.own, TEMPLATES),
        }

    async def stop(self) -> None:
        """Let jobs under way end; nothing is lost without it."""
        await self.seats.stop()

    # Use

    async def change(
        self, ref: Ref, work: Callable[[Session, Callable[[], bool]], Work[T]], command: str = "change"
    ) -> T:
        """Do something to a session and keep it; ``work`` may ask whether a pause is wanted.

        Watchers are told of it under the name ``command``. Raises `SessionNotFound`, `WatchOnly`, `NotDriving`, errors
        of the token, and what the work raises; then the session is as it was.
        """
        access, seats = self.live.driver(ref), self.seats

        async def changing() -> T:
            async with seats.held(access.session) as seat:
                seat.pause = False
                sharing = self.live.changed(access)
                try:
                    session = await seats.ready(seat)
                    moves = work(session, lambda: seat.pause)
                    result, event = await seats.drive(_observed(session, moves, self.live.is_watched(access.session)))
                    await seats.keep(seat, encode_sharing(sharing))
                except BaseException:
                    seats.give_up(seat)
                    raise
                self.live.publish(access.session, sharing, command, event)
                return result

        return await seats.shielded(changing())

    async def read(self, work: Callable[..., T], *refs: Ref) -> T:
        """Look at one session or several at once in one piece; see `look`."""

        def at_once(_: Callable[[], bool], *found: Session) -> Work[T]:
            yield from ()
            return work(*found)

        return await self.look(at_once, *refs)

    async def look(self, work: Callable[..., Work[T]], *refs: Ref) -> T:
        """Look at one session or several at once; ``work`` leaves them where they are, and may ask whether a pause is
        wanted. Raises like `Live.enter`.
        """
        sessions = [self.live.enter(ref).session for ref in refs]

        async def looking() -> T:
            async with contextlib.AsyncExitStack() as stack:
                seats = {n: await stack.enter_async_context(self.seats.held(n)) for n in sorted(set(sessions))}
                for seat in seats.values():
                    seat.pause = False
                ready = {number: await self.seats.ready(seat) for number, seat in seats.items()}
                wants_pause = lambda: any(seat.pause for seat in seats.values())  # noqa: E731
                found = await self.seats.drive(work(wants_pause, *(ready[number] for number in sessions)))
                for number in seats:
                    await self._touch(number)
                return found

        return await self.seats.shielded(looking())

    async def _touch(self, session: int) -> None:
        place, now = self.keeper.kept(session).place, self.keeper.now()
        if now - place.used > TOUCH_SECONDS:
            # A node that writes nothing now removes no session either; the next look is written down.
            with contextlib.suppress(ReadOnly, WriterBusy, NodeStopping):
                await self.keeper.put(session, msgspec.structs.replace(place, used=now))

    def pause(self, ref: Ref) -> None:
        """Have a move of the session stop at its next slice. Raises like `Live.driver`."""
        self.seats.pause(self.live.driver(ref).session)

    async def share(self, session: int, change: Callable[[Sharing], Sharing], command: str = "") -> Sharing:
        """Change how a session is shared and keep that; with ``command`` its watchers are told.

        Raises `SessionNotFound` and what ``change`` raises.
        """

        async def sharing_now() -> Sharing:
            async with self.seats.held(session):
                sharing = change(self.live.sharing(session))
                place = msgspec.structs.replace(self.keeper.kept(session).place, sharing=encode_sharing(sharing))
                await self.keeper.put(session, place)
                self.live.kept(session, sharing)
                if command:
                    self.live.publish(session, sharing, command, {})
                self.live.wake(session)
                return sharing

        return await self.seats.shielded(sharing_now())

    def watch(self, ref: Ref, cursor: int | None = None) -> AsyncGenerator[list[Json], None]:
        """Events behind the cursor for ever; first the position of now if there is no cursor, or a gap behind it.

        Raises like `Live.enter`, also later when the access ends, and `SlowWatcher`.
        """
        return watching(self.live, self.read, ref, self.live.enter(ref), cursor)


def _observed(session: Session, work: Work[T], is_watched: bool) -> Work[tuple[T, Json]]:
    """The work with what there is to tell watchers of it."""
    before = session.state() if is_watched else None
    result = yield from work
    return result, event_of(session, before, result)
