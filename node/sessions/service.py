"""Many debug sessions at once: each used by one job at a time, off the event loop, kept before it is answered.

A change is performed, logged and durable, then answered. When any of it fails the session in memory is dropped and
comes back from its last record, so it is never between two states.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Callable
from typing import Any, TypeVar

import msgspec
import structlog

from chain.errors import ZvmdError
from debugger.errors import SessionLimitReached, SessionNotFound
from debugger.limits import RUN_SLICE, SESSIONS, TEMPLATES
from debugger.moves import run
from debugger.persist import restore_slices
from debugger.session import Session
from debugger.slices import Slices, one_slice
from node.api.errors import NodeStopping, ReadOnly, WriterBusy
from node.sessions.base_state import BaseStates, NewSession, Origin
from node.sessions.cache import LIVE_BYTES, LIVE_MAX, NOWHERE, SessionCache
from node.sessions.events import Feeds
from node.sessions.gallery import Gallery
from node.sessions.import_worker import import_apart
from node.sessions.record import KEYFRAME_BYTES, copied
from node.sessions.repository import Policy, SessionRepository, expired
from node.sessions.rights import SessionRef
from node.sessions.sharing import OWNER, UNSHARED, SessionAccess, Sharing, Sharings, encode_sharing
from node.sessions.summary import Json, change_event, summary
from storage.sessions.records import Kept

T = TypeVar("T")
log = structlog.get_logger(__name__)

KEPT_BYTES = 256 << 20
"""Contents of all sessions that are not in files."""
TOUCH_SECONDS = 6 * 3600
"""Looking at a session counts as use; that is written down this often at most."""


class SessionService:
    """Everything that is done with sessions, in the right order. Use it from one event loop.

    What a session is now has an owner each: its record `SessionRepository`, its copy in memory `SessionCache`, who may
    use it `Sharings`, what its watchers have yet to see `Feeds`. The service itself owns the ids that it gives, which
    sessions run by themselves, and the session that a client calls active.
    """

    def __init__(self, bases: BaseStates, repository: SessionRepository, gallery: Gallery) -> None:
        self.bases = bases
        self.repository = repository
        self.gallery = gallery
        self.sharings = Sharings(repository.shelf)
        self.feeds = Feeds(self.sharings)
        self.cache = SessionCache(bases, repository)
        self.active: int | None = None
        """The session a client wants to be remembered; nothing depends on it."""
        self._next_id = repository.shelf.highest + 1
        self._creating = 0
        self._importing = asyncio.Lock()
        """One worker process at a time."""
        self._running: set[int] = set()
        """Sessions that run by themselves."""
        self._removed = 0

    # Life

    async def create(self, new: NewSession) -> int:
        """A new session. Raises `InvalidProgram`, `SessionLimitReached`, errors of the transaction."""

        def make() -> Session:
            base, block_hash = self.bases.base(new.origin)
            return Session(
                new.program, self.bases.machine, base, block_hash,
                name=new.name, tags=new.tags, keyframe_bytes=KEYFRAME_BYTES,
            )  # fmt: skip

        return await self.cache.shielded(self._add(one_slice(make)(), new.origin))

    async def on_thread(self, job: Callable[[], T]) -> T:
        """Something long that concerns no session."""
        return await self.cache.on_thread(job)

    async def import_file(self, data: bytes) -> int:
        """A session of a file, over the state in the file. Raises `SessionFileRefused`, `SessionDiverged`."""

        async def importing() -> int:
            async with self._importing:
                record = await import_apart(data)
            return await self._add(restore_slices(record, self.bases.machine, None, None, KEYFRAME_BYTES), NOWHERE)

        return await self.cache.shielded(importing())

    async def _add(self, make: Slices[Session], origin: Origin) -> int:
        number = self._new_id()
        self._creating += 1
        try:
            await self.cache.add(number, await self.cache.drive(make), origin, b"")
        finally:
            self._creating -= 1
        return number

    def _new_id(self) -> int:
        if len(self.repository.shelf) + self._creating >= SESSIONS or self.repository.bytes > KEPT_BYTES:
            raise SessionLimitReached(f"at most {SESSIONS} sessions, of {KEPT_BYTES} bytes, are kept at once")
        number, self._next_id = self._next_id, self._next_id + 1
        return number

    async def copy(self, source: int, target: int | None = None) -> int:
        """The session ``source`` once more under a new id, or in place of ``target``. Raises `NotDriving`."""
        self.repository.kept(source)
        if target is None:
            target = self._new_id()
        else:
            self.repository.kept(target)
        return await self.cache.shielded(self._copy(source, target))

    async def _copy(self, source: int, target: int) -> int:
        repository, cache = self.repository, self.cache
        async with cache.held(target, new=True) as cached:
            kept, over = repository.kept(source), repository.shelf.get(target)
            sharing = UNSHARED if over is None else self.sharings.changed(SessionAccess(target, OWNER, True))

            def work() -> Kept:
                encoded, now = encode_sharing(sharing), repository.now()
                made, content = copied(kept, repository.content(source, kept), over, now, encoded)
                return msgspec.structs.replace(made, content=repository.store(target, content))

            await repository.put(target, await cache.on_thread(work))
            cached.drop()
            self.sharings.kept(target, sharing)
            if self.feeds.has(target):
                session = await cache.ready(cached)
                position = await cache.on_thread(lambda: summary(session, []))
                self.feeds.publish(target, "restore", {"position": position})
        return target

    async def close(self, session: int) -> None:
        """End a session. Raises `SessionNotFound`."""
        await self.cache.shielded(self._close(session))

    async def _close(self, session: int, used: int | None = None) -> None:
        """``used``: only if nobody has used it since then."""
        async with self.cache.held(session) as cached:
            if used is None or self.repository.kept(session).place.used == used:
                await self.repository.put(session, None)
                self.sharings.kept(session, None)
                self.feeds.end(session)
                cached.drop()

    async def pin(self, session: int, pinned: bool) -> None:
        """Have the session stay whatever the policy says, or no longer. Raises `SessionNotFound`."""

        async def pinning() -> None:
            async with self.cache.held(session):
                label = self.repository.kept(session).label
                await self.repository.relabel(session, msgspec.structs.replace(label, pinned=pinned))

        await self.cache.shielded(pinning())

    def is_used(self, session: int) -> bool:
        """Whether somebody uses it, waits for it or watches it."""
        return bool(self.cache.users(session)) or self.feeds.watchers(session) > 0

    async def expire(self, policy: Policy) -> str:
        """Remove the sessions that the policy does not keep, never one in use; what was done, for people.

        Any part of it may be done again, or not at all.
        """
        removed = 0
        for row in expired(self.repository.rows(), policy, self.repository.now()):
            if not self.is_used(row.id):
                with contextlib.suppress(SessionNotFound):  # closed meanwhile
                    await self.cache.shielded(self._close(row.id, row.used))
                    removed += self.repository.shelf.get(row.id) is None
        self._removed += removed
        swept, left = await self.on_thread(self.repository.sweep)
        return f"{removed} sessions removed, {len(self.repository.shelf)} left; {swept} files removed, {left} left"

    def set_active(self, session: int) -> None:
        """Remember the session that is looked at. Raises `SessionNotFound`."""
        self.repository.kept(session)
        self.active = session

    def status(self) -> dict[str, int | None]:
        """How many there are, and what they take."""
        rows = self.repository.rows()
        return {
            "sessions": len(rows),
            "pinned": sum(row.pinned for row in rows),
            "ready": sum(cached.session is not None for cached in self.cache),
            "inUse": sum(self.is_used(row.id) for row in rows),
            "bytes": sum(row.bytes for row in rows),
            "files": len(self.repository.shelf.snapshots()),
            "removed": self._removed,
            "active": self.active,
        }

    def limit_usage(self) -> dict[str, tuple[int, int]]:
        """By name: how large what grows in memory is, and how large it may get."""
        ready = [cached.bytes for cached in self.cache if cached.session is not None]
        return {
            "debug sessions": (len(self.repository.shelf), SESSIONS),
            "debug session bytes": (self.repository.bytes, KEPT_BYTES),
            "ready sessions": (len(ready), LIVE_MAX),
            "ready session bytes": (sum(ready), LIVE_BYTES),
            "templates": (self.gallery.own, TEMPLATES),
        }

    async def stop(self) -> None:
        """Let jobs under way end; nothing is lost without it."""
        await self.cache.stop()

    # Use

    async def change(
        self, ref: SessionRef, work: Callable[..., Slices[T]], *arguments: Any, command: str = "change"
    ) -> T:
        """Change a session and keep it: ``work(session, *arguments, wants_pause=...)``, as in `debugger.moves`.

        Watchers see it under the name ``command``. Raises `SessionNotFound`, `WatchOnly`, `NotDriving`, errors of the
        token, and what the work raises; then the session is as it was.
        """
        access, cache = self.sharings.driver(ref), self.cache

        async def changing() -> T:
            async with cache.held(access.session) as cached:
                sharing = self.sharings.changed(access)
                try:
                    session = await cache.ready(cached)
                    performed = work(session, *arguments, wants_pause=cached.wants_pause)
                    result, event = await cache.drive(_observed(session, performed, self.feeds.has(access.session)))
                    await cache.keep(cached, encode_sharing(sharing))
                except BaseException:
                    cached.drop()
                    raise
                self.sharings.kept(access.session, sharing)
                self.feeds.publish(access.session, command, event)
                return result

        return await cache.shielded(changing())

    async def move(self, ref: SessionRef, work: Callable[..., Slices[Any]], *arguments: Any, command: str) -> Json:
        """`change` by work whose result is events, answered with where the session is then."""

        def moving(session: Session, *arguments: Any, **options: Any) -> Slices[Json]:
            return summary(session, (yield from work(session, *arguments, **options)))

        return await self.change(ref, moving, *arguments, command=command)

    async def read(self, work: Callable[..., T], *refs: SessionRef) -> T:
        """Look at one session or several at once in one piece; see `look`."""
        return await self.look(one_slice(work), *refs)

    async def look(self, work: Callable[..., Slices[T]], *refs: SessionRef) -> T:
        """Look at one session or several at once: ``work(*sessions, wants_pause=...)`` leaves them where they are.

        Raises like `Sharings.enter`.
        """
        sessions = [self.sharings.enter(ref).session for ref in refs]

        async def looking() -> T:
            async with contextlib.AsyncExitStack() as stack:
                held = {n: await stack.enter_async_context(self.cache.held(n)) for n in sorted(set(sessions))}
                ready = {number: await self.cache.ready(cached) for number, cached in held.items()}
                wants_pause = lambda: any(cached.pause for cached in held.values())  # noqa: E731
                work_ = work(*(ready[number] for number in sessions), wants_pause=wants_pause)
                found = await self.cache.drive(work_)
                for number in held:
                    await self._touch(number)
                return found

        return await self.cache.shielded(looking())

    async def _touch(self, session: int) -> None:
        place, now = self.repository.kept(session).place, self.repository.now()
        if now - place.used > TOUCH_SECONDS:
            # A node that writes nothing now removes no session either; the next look is written down.
            with contextlib.suppress(ReadOnly, WriterBusy, NodeStopping):
                await self.repository.put(session, msgspec.structs.replace(place, used=now))

    def pause(self, ref: SessionRef) -> None:
        """Have a move of the session stop at its next slice. Raises like `Sharings.driver`."""
        self.cache.pause(self.sharings.driver(ref).session)

    def toggle_running(self, session: int) -> bool:
        """Have the session run by itself, in pieces that are each kept, or pause it; whether it runs now.

        It runs until it halts, meets a breakpoint or is paused. Raises `SessionNotFound`.
        """
        if session in self._running:
            self._running.discard(session)
            self.pause(session)
            return False
        if self.repository.kept(session).place.halt:
            return False
        self._running.add(session)
        self.cache.begin(self._run(session))
        return True

    async def _run(self, session: int) -> None:
        try:
            while session in self._running:
                answer = await self.move(session, run, RUN_SLICE, command="run")
                if answer["reason"] != "limit":
                    return
        except ZvmdError as error:  # nobody waits for the answer; the session is as it was before this piece
            log.warning("a session stopped running", session=session, error=str(error))
        finally:
            self._running.discard(session)

    # Together with others

    async def share(self, session: int, change: Callable[[Sharing], Sharing], command: str = "") -> Sharing:
        """Change how a session is shared and keep that; with ``command`` its watchers get an event.

        Raises `SessionNotFound` and what ``change`` raises.
        """

        async def sharing_now() -> Sharing:
            async with self.cache.held(session):
                sharing = change(self.sharings.of(session))
                place = msgspec.structs.replace(self.repository.kept(session).place, sharing=encode_sharing(sharing))
                await self.repository.put(session, place)
                self.sharings.kept(session, sharing)
                if command:
                    self.feeds.publish(session, command, {})
                self.feeds.wake(session)
                return sharing

        return await self.cache.shielded(sharing_now())

    def watch(self, ref: SessionRef, cursor: int | None = None) -> AsyncGenerator[list[Json], None]:
        """Events behind the cursor, without end; first the position of now if there is no cursor, or a gap behind it.

        Raises like `Sharings.enter`, also later when the access ends, and `SlowWatcher`.
        """
        return self.feeds.watch(self.read, ref, self.sharings.enter(ref), cursor)


def _observed(session: Session, work: Slices[T], is_watched: bool) -> Slices[tuple[T, Json]]:
    """The work, and the event that watchers get of it."""
    before = session.state() if is_watched else None
    result = yield from work
    return result, change_event(session, before, result)
