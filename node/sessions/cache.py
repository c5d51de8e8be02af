"""Ready sessions in memory: each used by one job at a time, off the event loop, and restored on demand."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any, TypeVar

from debugger.footprint import footprint
from debugger.session import Session
from debugger.slices import Slices
from node.api.errors import NodeStopping
from node.sessions.base_state import BaseStates, Origin
from node.sessions.record import bring_back, content_of, label_of, place_of, traits
from node.sessions.repository import SessionRepository
from storage.sessions.records import Kept, SessionPosition

T = TypeVar("T")
THREADS = 2
LIVE_MAX = 64
"""Most sessions kept ready in memory; the others are restored from their records when they are used."""
LIVE_BYTES = 512 << 20
"""Most memory of all ready sessions, bytes."""
STOP_SECONDS = 5.0

NOWHERE = Origin()
"""An empty state."""


@dataclass(slots=True, eq=False)
class CachedSession:
    """A session that is or was recently in use. Only the job that holds its lock accesses the other fields."""

    id: int
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    session: Session | None = None
    """None: it must be restored from its record first."""
    origin: Origin = NOWHERE
    traits: tuple[Any, ...] | None = None
    """Traits of the stored content; while they do not change, a command stores only a new position."""
    bytes: int = 0
    users: int = 0
    """Number of jobs that hold or await the lock."""
    pause: bool = False
    """Whether somebody wants the current move to end."""

    def set(self, session: Session, origin: Origin) -> None:
        """Set the ready session, as it was stored last."""
        self.session, self.origin = session, origin
        self.bytes, self.traits = footprint(session), traits(session, origin)

    def drop(self) -> None:
        """Drop the session from memory: the next job restores it from its record."""
        if self.session is not None:
            self.session.close()
        self.session, self.bytes, self.traits = None, 0, None

    def wants_pause(self) -> bool:
        """Whether the current move should end."""
        return self.pause

    def resume(self) -> None:
        """Start a new job: earlier pause requests do not apply to it."""
        self.pause = False

    def kept(self, found: tuple[Any, ...]) -> None:
        """Note that the session was stored, with these traits."""
        assert self.session is not None
        self.traits, self.bytes = found, footprint(self.session)


class SessionCache:
    """Owns all sessions in memory and the threads they run on. Use it from one event loop."""

    def __init__(self, bases: BaseStates, repository: SessionRepository) -> None:
        self._bases = bases
        self._repository = repository
        self._cached: dict[int, CachedSession] = {}
        """Least recently used first."""
        self._pool = ThreadPoolExecutor(THREADS, "session")
        self._tasks: set[asyncio.Task[Any]] = set()
        self._stopping = False

    def __iter__(self) -> Iterator[CachedSession]:
        return iter(tuple(self._cached.values()))

    def users(self, session: int) -> int:
        """Number of jobs that use the session or wait for it."""
        cached = self._cached.get(session)
        return 0 if cached is None else cached.users

    def pause(self, session: int) -> None:
        """Ask the job that uses the session to stop at its next slice."""
        if session in self._cached:
            self._cached[session].pause = True

    @contextlib.asynccontextmanager
    async def held(self, session: int, new: bool = False) -> AsyncIterator[CachedSession]:
        """Lock the session for one job. Raises `SessionNotFound` unless it is ``new``, and `NodeStopping`."""
        if self._stopping:
            raise NodeStopping("the node is stopping; sessions keep their last stored state")
        if not new:
            self._repository.kept(session)
        cached = self._cached.setdefault(session, CachedSession(session))
        cached.users += 1
        try:
            async with cached.lock:
                if not new:
                    self._repository.kept(session)  # it may have been closed meanwhile
                cached.resume()
                yield cached
        finally:
            cached.users -= 1
            if session in self._cached:
                self._cached[session] = self._cached.pop(session)
            self._make_room()

    async def ready(self, cached: CachedSession) -> Session:
        """The session of a locked entry. Raises `SessionDiverged`, `SnapshotLost`."""
        if cached.session is None:
            kept = self._repository.kept(cached.id)
            content = await self.on_thread(lambda: self._repository.content(cached.id, kept))
            cached.set(*await self.drive(bring_back(content, kept.place, self._bases)))
        assert cached.session is not None
        return cached.session

    async def keep(self, cached: CachedSession, sharing: bytes) -> None:
        """Store the session: only its position if the log already has the rest."""
        session, repository = cached.session, self._repository
        assert session is not None
        before, now = repository.shelf.get(cached.id), repository.now()

        def kept() -> tuple[Kept | SessionPosition, tuple[Any, ...]]:
            place, found = place_of(session, now, sharing), traits(session, cached.origin)
            if found == cached.traits and before is not None:
                return place, found
            created, pinned = (now, False) if before is None else (before.label.created, before.label.pinned)
            label, content = label_of(session, created, pinned), content_of(session, cached.origin)
            return Kept(label, place, repository.store(cached.id, content)), traits(session, cached.origin)

        change, found = await self.on_thread(kept)
        await repository.put(cached.id, change)
        cached.kept(found)

    async def add(self, session: int, made: Session, origin: Origin, sharing: bytes) -> None:
        """Store a new session and keep it ready."""
        cached = CachedSession(session, session=made, origin=origin)
        await self.keep(cached, sharing)
        self._cached[session] = cached
        self._make_room()

    def _make_room(self) -> None:
        """Drop the least recently used ready sessions until the rest fits."""
        for number, cached in list(self._cached.items()):
            if not cached.users and self._repository.shelf.get(number) is None:
                cached.drop()
                del self._cached[number]
        ready = [cached for cached in self._cached.values() if cached.session is not None]
        count, total = len(ready), sum(cached.bytes for cached in ready)
        for cached in ready:
            if count <= LIVE_MAX and total <= LIVE_BYTES:
                return
            if not cached.users:
                count, total = count - 1, total - cached.bytes
                cached.drop()
                del self._cached[cached.id]

    # Jobs

    async def drive(self, work: Slices[T]) -> T:
        """Run each slice as a job of its own, so that other jobs can use the thread in between."""
        ends: list[T] = []

        def run_slice() -> bool:
            try:
                next(work)
            except StopIteration as end:
                ends.append(end.value)
            return bool(ends)

        while not await self.on_thread(run_slice):
            pass
        return ends[0]

    async def on_thread(self, job: Callable[[], T]) -> T:
        """Run long work on a session thread."""
        return await asyncio.get_running_loop().run_in_executor(self._pool, job)

    def begin(self, work: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
        """Run a coroutine to its end, even if nobody waits for it any more."""
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    async def shielded(self, work: Coroutine[Any, Any, T]) -> T:
        """Await a coroutine and finish it even if the caller is cancelled, so that no session is left half changed."""
        return await asyncio.shield(self.begin(work))

    async def stop(self) -> None:
        """Wait for the running jobs and start no others. Nothing is lost if this is not called."""
        self._stopping = True
        for cached in self._cached.values():
            cached.pause = True
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=STOP_SECONDS)
        self._pool.shutdown(wait=False, cancel_futures=True)
