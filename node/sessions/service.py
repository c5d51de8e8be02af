"""Many debug sessions at once: each used by one job at a time, off the event loop, kept before it is answered.

A change is performed, logged and durable, then answered. When any of it fails the session in memory is given up and
comes back from its last record, so it is never between two states.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Coroutine, Generator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any, TypeVar

import msgspec

from debugger.errors import SessionLimitReached
from debugger.limits import SESSIONS
from debugger.persist import restore
from debugger.program import Program
from debugger.session import Session
from debugger.sharing import import_session
from node.errors import NodeStopping, ReadOnly, WriterBusy
from node.sessions.gallery import Gallery
from node.sessions.keeping import Keeper
from node.sessions.kept import KEYFRAME_BYTES, bring_back, content_of, label_of, place_of, renamed, traits
from node.sessions.origin import Ground, Origin
from storage.wal.session_records import Kept, Place
from vm.evm.layout import Field

T = TypeVar("T")
Work = Generator[None, None, T]
"""What to do with a session; after each ``yield`` others may have the thread first."""

THREADS = 2
LIVE_MAX = 64
"""Sessions kept ready in memory; the others are brought back from their records when they are used."""
LIVE_BYTES = 512 << 20
"""Memory of all ready sessions."""
SESSION_BYTES = 1 << 20
"""What a ready session takes besides keyframes and memory."""
KEPT_BYTES = 256 << 20
"""Contents of all sessions that are not in files."""
TOUCH_SECONDS = 6 * 3600
"""Looking at a session counts as use; that is written down this often at most."""

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


class SessionService:
    """See the module. Use it from one event loop."""

    def __init__(self, ground: Ground, keeper: Keeper, gallery: Gallery) -> None:
        self.ground = ground
        self.keeper = keeper
        self.gallery = gallery
        self.active: int | None = None
        """The session a client wants to be remembered; nothing depends on it."""
        self._shelf = keeper.shelf
        self._seats: dict[int, Seat] = {}
        """Least recently used first."""
        self._next_id = keeper.shelf.highest + 1
        self._creating = 0
        self._pool = ThreadPoolExecutor(THREADS, "session")
        self._tasks: set[asyncio.Task[Any]] = set()
        self._removed = 0
        self._stopping = False

    # Life

    async def create(self, program: Program, origin: Origin, name: str = "", tags: tuple[str, ...] = ()) -> int:
        """A new session. Raises `InvalidProgram`, `SessionLimitReached`, errors of the transaction."""

        def make(_: int) -> Session:
            base, block_hash = self.ground.base(origin)
            return Session(
                program, self.ground.machine, base, block_hash, name=name, tags=tags, keyframe_bytes=KEYFRAME_BYTES
            )

        return await self._shielded(self._add(make, origin))

    async def create_plain(self, program: Program, name: str) -> int:
        """A new session over an empty state."""
        return await self.create(program, Origin(), name)

    async def on_thread(self, job: Callable[[], T]) -> T:
        """Something long that concerns no session."""
        return await self._on_thread(job)

    async def import_file(self, data: bytes) -> int:
        """A session of a file, over the state in the file. Raises `SessionFileRefused`, `SessionDiverged`."""

        def make(_: int) -> Session:
            session = restore(import_session(data).record, self.ground.machine, keyframe_bytes=KEYFRAME_BYTES)
            session.is_running = False
            return session

        return await self._shielded(self._add(make, Origin()))

    async def _add(self, make: Callable[[int], Session], origin: Origin) -> int:
        number = self._new_id()
        self._creating += 1
        try:
            session = await self._on_thread(lambda: make(number))
            seat = Seat(number, session=session, origin=origin)
            await self._keep_now(seat)
        finally:
            self._creating -= 1
        self._seats[number] = seat
        self._make_room()
        return number

    def _new_id(self) -> int:
        if len(self._shelf) + self._creating >= SESSIONS or self.keeper.bytes > KEPT_BYTES:
            raise SessionLimitReached(f"at most {SESSIONS} sessions, of {KEPT_BYTES} bytes, are kept at once")
        number, self._next_id = self._next_id, self._next_id + 1
        return number

    async def copy(self, source: int, target: int | None = None) -> int:
        """The session ``source`` once more under a new id, or in place of ``target``."""
        self.keeper.kept(source)
        if target is None:
            target = self._new_id()
        else:
            self.keeper.kept(target)
        return await self._shielded(self._copy(source, target))

    async def _copy(self, source: int, target: int) -> int:
        keeper = self.keeper
        async with self._held(target, new=True) as seat:
            kept, over = keeper.kept(source), self._shelf.get(target)
            label = msgspec.structs.replace(kept.label, created=keeper.now(), pinned=False)
            if over is not None:
                created, pinned = over.label.created, over.label.pinned
                label = msgspec.structs.replace(
                    label, name=over.label.name, tags=over.label.tags, created=created, pinned=pinned
                )

            def copied() -> Kept:
                made, content = renamed(kept, keeper.content(source, kept), label)
                sharing = b"" if over is None else over.place.sharing
                place = msgspec.structs.replace(made.place, used=keeper.now(), sharing=sharing)
                return msgspec.structs.replace(made, place=place, content=keeper.store(target, content))

            await keeper.put(target, await self._on_thread(copied))
            self._give_up(seat)
        return target

    async def close(self, session: int) -> None:
        """End a session. Raises `SessionNotFound`."""
        await self._shielded(self._close(session))

    async def _close(self, session: int, used: int | None = None) -> None:
        """``used``: only if nobody has used it since then."""
        async with self._held(session) as seat:
            if used is None or self.keeper.kept(session).place.used == used:
                await self.keeper.put(session, None)
                self._give_up(seat)

    async def pin(self, session: int, pinned: bool) -> None:
        """Have the session stay whatever the policy says, or no longer. Raises `SessionNotFound`."""

        async def pinning() -> None:
            async with self._held(session):
                label = self.keeper.kept(session).label
                await self.keeper.relabel(session, msgspec.structs.replace(label, pinned=pinned))

        await self._shielded(pinning())

    def is_used(self, session: int) -> bool:
        """Whether somebody uses it or waits for it."""
        seat = self._seats.get(session)
        return seat is not None and bool(seat.users)

    async def close_unused(self, session: int, used: int) -> bool:
        """Remove a session unless somebody has used it since; whether it went. Raises `SessionNotFound`."""
        await self._shielded(self._close(session, used))
        is_gone = self._shelf.get(session) is None
        self._removed += is_gone
        return is_gone

    def status(self) -> dict[str, int | None]:
        """How many there are, and what they take."""
        rows = self.keeper.everything().rows
        return {
            "sessions": len(rows),
            "pinned": sum(row.pinned for row in rows),
            "ready": sum(seat.session is not None for seat in self._seats.values()),
            "inUse": sum(bool(seat.users) for seat in self._seats.values()),
            "bytes": sum(row.bytes for row in rows),
            "files": len(self._shelf.snapshots()),
            "removed": self._removed,
            "active": self.active,
        }

    async def stop(self) -> None:
        """Let jobs under way end; nothing is lost without it."""
        self._stopping = True
        for seat in self._seats.values():
            seat.pause = True
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=5.0)
        self._pool.shutdown(wait=False, cancel_futures=True)

    # Use

    async def change(self, session: int, work: Callable[[Session, Callable[[], bool]], Work[T]]) -> T:
        """Do something to a session and keep it; ``work`` may ask whether a pause is wanted.

        Raises `SessionNotFound` and what the work raises; then the session is as it was.
        """

        async def changing() -> T:
            async with self._held(session) as seat:
                seat.pause = False
                try:
                    result = await self._drive(work(await self._ready(seat), lambda: seat.pause))
                    await self._keep_now(seat)
                except BaseException:
                    self._give_up(seat)
                    raise
                return result

        return await self._shielded(changing())

    async def read(self, work: Callable[..., T], *sessions: int) -> T:
        """Look at one session or several at once; ``work`` leaves them where they are. Raises `SessionNotFound`."""

        async def reading() -> T:
            async with contextlib.AsyncExitStack() as stack:
                seats = {n: await stack.enter_async_context(self._held(n)) for n in sorted(set(sessions))}
                ready = {number: await self._ready(seat) for number, seat in seats.items()}
                found = await self._on_thread(lambda: work(*(ready[number] for number in sessions)))
                for number in seats:
                    await self._touch(number)
                return found

        return await self._shielded(reading())

    def pause(self, session: int) -> None:
        """Have a run of the session stop at its next slice. Raises `SessionNotFound`."""
        self.keeper.kept(session)
        if session in self._seats:
            self._seats[session].pause = True

    def set_active(self, session: int) -> None:
        """Remember the session that is looked at. Raises `SessionNotFound`."""
        self.keeper.kept(session)
        self.active = session

    def begin(self, work: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
        """Do something to its end, even if nobody waits for it any more."""
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    # Within

    async def _touch(self, session: int) -> None:
        place, now = self.keeper.kept(session).place, self.keeper.now()
        if now - place.used > TOUCH_SECONDS:
            # A node that writes nothing now removes no session either; the next look is written down.
            with contextlib.suppress(ReadOnly, WriterBusy, NodeStopping):
                await self.keeper.put(session, msgspec.structs.replace(place, used=now))

    @contextlib.asynccontextmanager
    async def _held(self, session: int, new: bool = False) -> AsyncIterator[Seat]:
        if self._stopping:
            raise NodeStopping("the node is stopping; sessions are as they were kept last")
        if not new:
            self.keeper.kept(session)
        seat = self._seats.setdefault(session, Seat(session))
        seat.users += 1
        try:
            async with seat.lock:
                if not new:
                    self.keeper.kept(session)  # it may have been closed meanwhile
                yield seat
        finally:
            seat.users -= 1
            if session in self._seats:
                self._seats[session] = self._seats.pop(session)
            self._make_room()

    async def _ready(self, seat: Seat) -> Session:
        if seat.session is None:
            kept, keeper = self.keeper.kept(seat.id), self.keeper
            session, origin = await self._on_thread(
                lambda: bring_back(keeper.content(seat.id, kept), kept.place, self.ground)
            )
            seat.session, seat.origin, seat.bytes = session, origin, memory_of(session)
            seat.traits = traits(session, origin)
        return seat.session

    async def _drive(self, work: Work[T]) -> T:
        """One slice a job, so that others get the thread in between."""
        ends: list[T] = []

        def run_slice() -> bool:
            try:
                next(work)
            except StopIteration as end:
                ends.append(end.value)
            return bool(ends)

        while not await self._on_thread(run_slice):
            pass
        return ends[0]

    async def _keep_now(self, seat: Seat) -> None:
        """Keep the session as it is: only where it stands if the rest is in the log already."""
        session, keeper = seat.session, self.keeper
        assert session is not None
        before, now = self._shelf.get(seat.id), keeper.now()

        def kept() -> tuple[Kept | Place, tuple[Any, ...]]:
            place = place_of(session, now, b"" if before is None else before.place.sharing)
            found = traits(session, seat.origin)
            if found == seat.traits and before is not None:
                return place, found
            created, pinned = (now, False) if before is None else (before.label.created, before.label.pinned)
            label, content = label_of(session, created, pinned), content_of(session, seat.origin)
            return Kept(label, place, keeper.store(seat.id, content)), traits(session, seat.origin)

        change, found = await self._on_thread(kept)
        seat.bytes = memory_of(session)
        await keeper.put(seat.id, change)
        seat.traits = found

    def _give_up(self, seat: Seat) -> None:
        if seat.session is not None:
            seat.session.close()
        seat.session, seat.bytes, seat.traits = None, 0, None

    def _make_room(self) -> None:
        """Give up the ready sessions not used for longest until the rest fits."""
        for number, seat in list(self._seats.items()):
            if not seat.users and self._shelf.get(number) is None:
                self._give_up(seat)
                del self._seats[number]
        ready = [seat for seat in self._seats.values() if seat.session is not None]
        count, total = len(ready), sum(seat.bytes for seat in ready)
        for seat in ready:
            if count <= LIVE_MAX and total <= LIVE_BYTES:
                return
            if not seat.users:
                count, total = count - 1, total - seat.bytes
                self._give_up(seat)
                del self._seats[seat.id]

    async def _on_thread(self, job: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._pool, job)

    async def _shielded(self, work: Coroutine[Any, Any, T]) -> T:
        """Finish what was begun even if whoever asked goes away: a session is never left half used."""
        return await asyncio.shield(self.begin(work))


def memory_of(session: Session) -> int:
    """Bytes a ready session takes, roughly."""
    timeline = session.timeline
    frames = sum(int(frame.words[Field.MEMORY_SIZE]) for frame in timeline.execution.frames)
    return SESSION_BYTES + timeline.keyframes.bytes + frames
