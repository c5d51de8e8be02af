"""Ready sessions in memory: each used by one job at a time, off the event loop, brought back when it is wanted."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Coroutine, Generator, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any, TypeVar

from debugger.footprint import footprint
from debugger.session import Session
from node.api.errors import NodeStopping
from node.sessions.keeping import Keeper
from node.sessions.kept import bring_back, content_of, label_of, place_of, traits
from node.sessions.origin import Ground, Origin
from storage.sessions.records import Kept, Place

T = TypeVar("T")
Work = Generator[None, None, T]
"""What to do with a session; after each ``yield`` others may have the thread first."""

THREADS = 2
LIVE_MAX = 64
"""Sessions kept ready in memory; the others are brought back from their records when they are used."""
LIVE_BYTES = 512 << 20
"""Memory of all ready sessions."""
STOP_SECONDS = 5.0

NOWHERE = Origin()
"""An empty state."""


@dataclass(slots=True, eq=False)
class Seat:
    """A session's place: whoever holds the lock uses it."""

    id: int
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    session: Session | None = None
    origin: Origin = NOWHERE
    traits: tuple[Any, ...] | None = None
    """What the kept content says; while that stays, a change is kept as a place."""
    bytes: int = 0
    users: int = 0
    """Jobs that hold or await the lock."""
    pause: bool = False


class Seats:
    """Use it from one event loop."""

    def __init__(self, ground: Ground, keeper: Keeper) -> None:
        self._ground = ground
        self._keeper = keeper
        self._seats: dict[int, Seat] = {}
        """Least recently used first."""
        self._pool = ThreadPoolExecutor(THREADS, "session")
        self._tasks: set[asyncio.Task[Any]] = set()
        self._stopping = False

    def __iter__(self) -> Iterator[Seat]:
        return iter(tuple(self._seats.values()))

    def users(self, session: int) -> int:
        """Jobs that use the session or wait for it."""
        seat = self._seats.get(session)
        return 0 if seat is None else seat.users

    def pause(self, session: int) -> None:
        """Have the job that uses the session stop at its next slice."""
        if session in self._seats:
            self._seats[session].pause = True

    @contextlib.asynccontextmanager
    async def held(self, session: int, new: bool = False) -> AsyncIterator[Seat]:
        """The session's seat, for oneself. Raises `SessionNotFound` unless it is ``new``, `NodeStopping`."""
        if self._stopping:
            raise NodeStopping("the node is stopping; sessions are as they were kept last")
        if not new:
            self._keeper.kept(session)
        seat = self._seats.setdefault(session, Seat(session))
        seat.users += 1
        try:
            async with seat.lock:
                if not new:
                    self._keeper.kept(session)  # it may have been closed meanwhile
                yield seat
        finally:
            seat.users -= 1
            if session in self._seats:
                self._seats[session] = self._seats.pop(session)
            self._make_room()

    async def ready(self, seat: Seat) -> Session:
        """The session of a seat that is held. Raises `SessionDiverged`, `SnapshotLost`."""
        if seat.session is None:
            kept = self._keeper.kept(seat.id)
            content = await self.on_thread(lambda: self._keeper.content(seat.id, kept))
            session, origin = await self.drive(bring_back(content, kept.place, self._ground))
            seat.session, seat.origin, seat.bytes = session, origin, footprint(session)
            seat.traits = traits(session, origin)
        return seat.session

    async def keep(self, seat: Seat, sharing: bytes) -> None:
        """Keep the session as it is: only where it stands if the rest is in the log already."""
        session, keeper = seat.session, self._keeper
        assert session is not None
        before, now = keeper.shelf.get(seat.id), keeper.now()

        def kept() -> tuple[Kept | Place, tuple[Any, ...]]:
            place, found = place_of(session, now, sharing), traits(session, seat.origin)
            if found == seat.traits and before is not None:
                return place, found
            created, pinned = (now, False) if before is None else (before.label.created, before.label.pinned)
            label, content = label_of(session, created, pinned), content_of(session, seat.origin)
            return Kept(label, place, keeper.store(seat.id, content)), traits(session, seat.origin)

        change, found = await self.on_thread(kept)
        seat.bytes = footprint(session)
        await keeper.put(seat.id, change)
        seat.traits = found

    async def add(self, session: int, made: Session, origin: Origin, sharing: bytes) -> None:
        """Keep a new session and give it a seat."""
        seat = Seat(session, session=made, origin=origin)
        await self.keep(seat, sharing)
        self._seats[session] = seat
        self._make_room()

    def give_up(self, seat: Seat) -> None:
        """Forget the session in memory: the next who wants it gets it as it was kept."""
        if seat.session is not None:
            seat.session.close()
        seat.session, seat.bytes, seat.traits = None, 0, None

    def _make_room(self) -> None:
        """Give up the ready sessions not used for longest until the rest fits."""
        for number, seat in list(self._seats.items()):
            if not seat.users and self._keeper.shelf.get(number) is None:
                self.give_up(seat)
                del self._seats[number]
        ready = [seat for seat in self._seats.values() if seat.session is not None]
        count, total = len(ready), sum(seat.bytes for seat in ready)
        for seat in ready:
            if count <= LIVE_MAX and total <= LIVE_BYTES:
                return
            if not seat.users:
                count, total = count - 1, total - seat.bytes
                self.give_up(seat)
                del self._seats[seat.id]

    # Jobs

    async def drive(self, work: Work[T]) -> T:
        """One slice a job, so that others get the thread in between."""
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
        """Something long."""
        return await asyncio.get_running_loop().run_in_executor(self._pool, job)

    def begin(self, work: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
        """Do something to its end, even if nobody waits for it any more."""
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    async def shielded(self, work: Coroutine[Any, Any, T]) -> T:
        """Finish what was begun even if whoever asked goes away: a session is never left half used."""
        return await asyncio.shield(self.begin(work))

    async def stop(self) -> None:
        """Let jobs under way end, and begin no others; nothing is lost without it."""
        self._stopping = True
        for seat in self._seats.values():
            seat.pause = True
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=STOP_SECONDS)
        self._pool.shutdown(wait=False, cancel_futures=True)
