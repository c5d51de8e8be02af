"""Runs commands on debug sessions: one job per session at a time, off the event loop, stored before it is answered.

A change is performed, logged and durable, then answered. If any step fails, the session in memory is dropped and
restored from its last record, so it is never between two states.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Callable
from time import thread_time
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
"""Most bytes of all contents that are not in files."""
TOUCH_SECONDS = 6 * 3600
"""Reading a session counts as use; the least interval between two records of that."""


class SessionService:
    """Coordinates all operations on sessions. Use it from one event loop.

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
        """The active session, which a client has set; nothing depends on it."""
        self._next_id = repository.shelf.highest + 1
        self._creating = 0
        self._importing = asyncio.Lock()
        """Allows one import process at a time."""
        self._running: set[int] = set()
        """Sessions that run in the background."""
        self._removed = 0

    # Creating and closing

    async def create(self, new: NewSession) -> int:
        """A new session. Raises `InvalidProgram`, `SessionLimitReached`, errors of the transaction."""

        def make() -> Session:
            base, block_hash = self.bases.base(new.origin)
            return Session(
                new.program, self.bases.machine, base, block_hash,
                name=new.name, tags=new.tags, keyframe_bytes=KEYFRAME_BYTES, clock=thread_time,
            )  # fmt: skip

        return await self.cache.shielded(self._add(one_slice(make)(), new.origin))

    async def on_thread(self, job: Callable[[], T]) -> T:
        """Run long work that concerns no session on a session thread."""
        return await self.cache.on_thread(job)

    async def in_slices(self, work: Slices[T]) -> T:
        """Something very long that concerns no session."""
        return await self.cache.drive(work)

    async def import_file(self, data: bytes) -> int:
        """Create a session from a file, over the state in the file. Raises `SessionFileRefused`, `SessionDiverged`."""

        async def importing() -> int:
            async with self._importing:
                record = await import_apart(data)
            make = restore_slices(record, self.bases.machine, None, None, KEYFRAME_BYTES, thread_time)
            return await self._add(make, NOWHERE)

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
        """Copy the session ``source`` to a new id, or over ``target``. Raises `NotDriving`."""
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
        """Close a session; with ``used``, only if it has not been used since then."""
        async with self.cache.held(session) as cached:
            if used is None or self.repository.kept(session).place.used == used:
                await self.repository.put(session, None)
                self.sharings.kept(session, None)
                self.feeds.end(session)
                cached.drop()

    async def pin(self, session: int, pinned: bool) -> None:
        """Pin or unpin the session; the policy does not remove pinned ones. Raises `SessionNotFound`."""

        async def pinning() -> None:
            async with self.cache.held(session):
                label = self.repository.kept(session).label
                await self.repository.relabel(session, msgspec.structs.replace(label, pinned=pinned))

        await self.cache.shielded(pinning())

    def is_used(self, session: int) -> bool:
        """Whether a job uses it or waits for it, or somebody watches it."""
        return bool(self.cache.users(session)) or self.feeds.watchers(session) > 0

    async def expire(self, policy: Policy) -> str:
        """Remove the sessions that the policy does not keep, except those in use; returns a summary for people.

        Each part is idempotent and may be skipped.
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
        """Set the active session. Raises `SessionNotFound`."""
        self.repository.kept(session)
        self.active = session

    def status(self) -> dict[str, int | None]:
        """Numbers and sizes of the sessions."""
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
        """Sizes and limits of everything that grows in memory, by name."""
        ready = [cached.bytes for cached in self.cache if cached.session is not None]
        return {
            "debug sessions": (len(self.repository.shelf), SESSIONS),
            "debug session bytes": (self.repository.bytes, KEPT_BYTES),
            "ready sessions": (len(ready), LIVE_MAX),
            "ready session bytes": (sum(ready), LIVE_BYTES),
            "templates": (self.gallery.own, TEMPLATES),
        }

    async def stop(self) -> None:
        """Wait for the running jobs. Nothing is lost if this is not called."""
        await self.cache.stop()

    # Using

    async def change(
        self, ref: SessionRef, work: Callable[..., Slices[T]], *arguments: Any, command: str = "change"
    ) -> T:
        """Change a session and store it: ``work(session, *arguments, wants_pause=...)``, as in `debugger.moves`.

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
        """`change` with work that returns events; the answer is the session's new position."""

        def moving(session: Session, *arguments: Any, **options: Any) -> Slices[Json]:
            return summary(session, (yield from work(session, *arguments, **options)))

        return await self.change(ref, moving, *arguments, command=command)

    async def read(self, work: Callable[..., T], *refs: SessionRef) -> T:
        """Read one or several sessions in one slice; see `look`."""
        return await self.look(one_slice(work), *refs)

    async def look(self, work: Callable[..., Slices[T]], *refs: SessionRef) -> T:
        """Read one or several sessions: ``work(*sessions, wants_pause=...)`` leaves their positions unchanged.

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
            # A read-only node removes no session either; the next read is recorded.
            with contextlib.suppress(ReadOnly, WriterBusy, NodeStopping):
                await self.repository.put(session, msgspec.structs.replace(place, used=now))

    def pause(self, ref: SessionRef) -> None:
        """Stop a move of the session at its next slice. Raises like `Sharings.driver`."""
        self.cache.pause(self.sharings.driver(ref).session)

    def toggle_running(self, session: int) -> bool:
        """Run the session in the background, in parts that are each stored, or pause it; returns whether it runs.

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
        except ZvmdError as error:  # nobody waits for the answer; the session is as it was before this part
            log.warning("a session stopped running", session=session, error=str(error))
        finally:
            self._running.discard(session)

    # Sharing

    async def share(self, session: int, change: Callable[[Sharing], Sharing], command: str = "") -> Sharing:
        """Change a session's sharing and store it; with ``command``, its watchers get an event.

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
        """Events after the cursor, without an end; first the current position if there is no cursor, or a gap after it.

        Raises like `Sharings.enter`, also later when the access ends, and `SlowWatcher`.
        """
        return self.feeds.watch(self.read, ref, self.sharings.enter(ref), cursor)


def _observed(session: Session, work: Slices[T], is_watched: bool) -> Slices[tuple[T, Json]]:
    """Do the work and make the event for watchers."""
    before = session.state() if is_watched else None
    result = yield from work
    return result, change_event(session, before, result)
