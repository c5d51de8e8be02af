"""Many debug sessions at once: each used by one job at a time, off the event loop, kept before it is answered.

A change is performed, logged and durable, then answered. When any of it fails the session in memory is given up and
comes back from its last record, so it is never between two states.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Coroutine, Generator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any, TypeVar

import msgspec

from debugger.errors import SessionLimitReached, SessionNotFound
from debugger.limits import SESSIONS
from debugger.persist import restore_slices
from debugger.ports import SessionSummary
from debugger.program import Program
from debugger.session import Session
from node.sessions.import_worker import import_apart
from node.sessions.kept import KEYFRAME_BYTES, UNSHARED, bring_back, copied, decode_kept, encode_kept, with_sharing
from node.sessions.live import Live, Ref
from node.sessions.origin import Ground, Origin
from node.sessions.shares import OWNER, Access, Sharing
from node.sessions.watching import watching
from node.sessions.where import Json, event_of, where
from storage.sessions import SessionShelf
from storage.wal.records import MAX_SESSION
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
"""Records of all sessions."""

NOWHERE = Origin()
"""An empty state."""

Keep = Callable[[int, bytes | None], Awaitable[object]]


@dataclass(slots=True, eq=False)
class Seat:
    """A session's place: whoever holds the lock uses it."""

    id: int
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    session: Session | None = None
    origin: Origin = NOWHERE
    bytes: int = 0
    users: int = 0
    """Jobs that hold or await the lock."""
    pause: bool = False


class SessionService:
    """See the module. Use it from one event loop."""

    def __init__(self, ground: Ground, shelf: SessionShelf, keep: Keep, record_bytes_max: int = MAX_SESSION) -> None:
        """``keep`` returns once the record is durable and on the shelf."""
        self.ground = ground
        self.live = Live(shelf)
        self._shelf = shelf
        self._keep = keep
        self._record_bytes_max = min(record_bytes_max, MAX_SESSION)
        self._seats: dict[int, Seat] = {}
        """Least recently used first."""
        self._next_id = shelf.highest + 1
        self._creating = 0
        self._kept_bytes = sum(len(shelf.get(session) or b"") for session in shelf)
        self._pool = ThreadPoolExecutor(THREADS, "session")
        self._importing = asyncio.Lock()
        """One worker process at a time."""
        self._tasks: set[asyncio.Task[Any]] = set()

    # Life

    async def create(self, program: Program, origin: Origin, name: str = "", tags: tuple[str, ...] = ()) -> int:
        """A new session. Raises `InvalidProgram`, `SessionLimitReached`, errors of the transaction."""

        def make() -> Work[Session]:
            yield from ()
            base, block_hash = self.ground.base(origin)
            return Session(
                program, self.ground.machine, base, block_hash, name=name, tags=tags, keyframe_bytes=KEYFRAME_BYTES
            )

        return await self._shielded(self._add(make(), origin))

    async def create_plain(self, program: Program, name: str) -> int:
        """A new session over an empty state."""
        return await self.create(program, NOWHERE, name)

    async def on_thread(self, job: Callable[[], T]) -> T:
        """Something long that concerns no session."""
        return await self._on_thread(job)

    async def import_file(self, data: bytes) -> int:
        """A session of a file, over the state in the file. Raises `SessionFileRefused`, `SessionDiverged`."""

        async def importing() -> int:
            async with self._importing:
                record = msgspec.structs.replace(await import_apart(data), is_running=False)
            return await self._add(restore_slices(record, self.ground.machine, None, None, KEYFRAME_BYTES), NOWHERE)

        return await self._shielded(importing())

    async def _add(self, make: Work[Session], origin: Origin) -> int:
        if len(self._shelf) + self._creating >= SESSIONS or self._kept_bytes > KEPT_BYTES:
            raise SessionLimitReached(f"at most {SESSIONS} sessions, of {KEPT_BYTES} bytes, are kept at once")
        number, self._next_id = self._next_id, self._next_id + 1
        self._creating += 1
        try:
            seat = Seat(number, session=await self._drive(make), origin=origin)
            await self._keep_now(seat, UNSHARED)
        finally:
            self._creating -= 1
        self._seats[number] = seat
        self._make_room()
        return number

    async def copy(self, source: int, target: int | None = None) -> int:
        """The session ``source`` once more under a new id, or in place of ``target``. Raises `NotDriving`."""
        if target is None:
            if len(self._shelf) + self._creating >= SESSIONS or self._kept_bytes > KEPT_BYTES:
                raise SessionLimitReached(f"at most {SESSIONS} sessions are kept at once")
            target, self._next_id = self._next_id, self._next_id + 1
            return await self._shielded(self._copy(source, target))
        self._record(target)
        return await self._shielded(self._copy(source, target))

    async def _copy(self, source: int, target: int) -> int:
        async with self._held(target, new=True) as seat:
            over = self._shelf.get(target)
            sharing = UNSHARED if over is None else self.live.changed(Access(target, OWNER, True))
            data = with_sharing(copied(self._record(source), target, over), sharing)
            await self._put(target, data)
            self._give_up(seat)
            self.live.kept(target, sharing)
            if self.live.is_watched(target):
                session = await self._ready(seat)
                position = await self._on_thread(lambda: where(session, []))
                self.live.publish(target, sharing, "restore", {"position": position})
        return target

    async def close(self, session: int) -> None:
        """End a session. Raises `SessionNotFound`."""

        async def work() -> None:
            async with self._held(session) as seat:
                await self._put(session, None)
                self.live.kept(session, None)
                self._give_up(seat)

        await self._shielded(work())

    def summaries(self) -> list[SessionSummary]:
        """All sessions as they were kept last, the newest first."""
        found = [(number, self._shelf.get(number)) for number in self._shelf]
        return [decode_kept(data).summary for _, data in reversed(found) if data is not None]

    async def stop(self) -> None:
        """Let jobs under way end; nothing is lost without it."""
        for seat in self._seats.values():
            seat.pause = True
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=5.0)
        self._pool.shutdown(wait=False, cancel_futures=True)

    # Use

    async def change(
        self, ref: Ref, work: Callable[[Session, Callable[[], bool]], Work[T]], command: str = "change"
    ) -> T:
        """Do something to a session and keep it; ``work`` may ask whether a pause is wanted.

        Watchers are told of it under the name ``command``. Raises `SessionNotFound`, `WatchOnly`, `NotDriving`, errors
        of the token, and what the work raises; then the session is as it was.
        """
        access = self.live.driver(ref)

        async def changing() -> T:
            async with self._held(access.session) as seat:
                seat.pause = False
                sharing = self.live.changed(access)
                try:
                    session = await self._ready(seat)
                    moves = work(session, lambda: seat.pause)
                    result, event = await self._drive(
                        _observed(session, moves, self.live.is_watched(access.session))
                    )
                    await self._keep_now(seat, sharing)
                except BaseException:
                    self._give_up(seat)
                    raise
                self.live.publish(access.session, sharing, command, event)
                return result

        return await self._shielded(changing())

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
                seats = {n: await stack.enter_async_context(self._held(n)) for n in sorted(set(sessions))}
                for seat in seats.values():
                    seat.pause = False
                ready = {number: await self._ready(seat) for number, seat in seats.items()}
                wants_pause = lambda: any(seat.pause for seat in seats.values())  # noqa: E731
                return await self._drive(work(wants_pause, *(ready[number] for number in sessions)))

        return await self._shielded(looking())

    def pause(self, ref: Ref) -> None:
        """Have a move of the session stop at its next slice. Raises like `Live.driver`."""
        session = self.live.driver(ref).session
        if session in self._seats:
            self._seats[session].pause = True

    async def share(self, session: int, change: Callable[[Sharing], Sharing], command: str = "") -> Sharing:
        """Change how a session is shared and keep that; with ``command`` its watchers are told.

        Raises `SessionNotFound` and what ``change`` raises.
        """

        async def sharing_now() -> Sharing:
            async with self._held(session):
                sharing = change(self.live.sharing(session))
                await self._put(session, with_sharing(self._record(session), sharing))
                self.live.kept(session, sharing)
                if command:
                    self.live.publish(session, sharing, command, {})
                self.live.wake(session)
                return sharing

        return await self._shielded(sharing_now())

    def watch(self, ref: Ref, cursor: int | None = None) -> AsyncGenerator[list[Json], None]:
        """Events behind the cursor for ever; first the position of now if there is no cursor, or a gap behind it.

        Raises like `Live.enter`, also later when the access ends, and `SlowWatcher`.
        """
        return watching(self.live, self.read, ref, self.live.enter(ref), cursor)

    # Within

    def _record(self, session: int) -> bytes:
        data = self._shelf.get(session)
        if data is None:
            raise SessionNotFound(f"no session {session}")
        return data

    @contextlib.asynccontextmanager
    async def _held(self, session: int, new: bool = False) -> AsyncIterator[Seat]:
        if not new:
            self._record(session)
        seat = self._seats.setdefault(session, Seat(session))
        seat.users += 1
        try:
            async with seat.lock:
                if not new:
                    self._record(session)  # it may have been closed meanwhile
                yield seat
        finally:
            seat.users -= 1
            if session in self._seats:
                self._seats[session] = self._seats.pop(session)
            self._make_room()

    async def _ready(self, seat: Seat) -> Session:
        if seat.session is None:
            data = self._record(seat.id)
            session, origin = await self._drive(bring_back(data, self.ground))
            seat.session, seat.origin, seat.bytes = session, origin, memory_of(session)
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

    async def _keep_now(self, seat: Seat, sharing: Sharing) -> None:
        session = seat.session
        assert session is not None
        limit = self._record_bytes_max
        data = await self._on_thread(lambda: encode_kept(seat.id, session, seat.origin, limit, sharing))
        seat.bytes = memory_of(session)
        await self._put(seat.id, data)

    async def _put(self, session: int, data: bytes | None) -> None:
        before = self._shelf.get(session)
        await self._keep(session, data)
        self._kept_bytes += len(data or b"") - len(before or b"")

    def _give_up(self, seat: Seat) -> None:
        if seat.session is not None:
            seat.session.close()
        seat.session, seat.bytes = None, 0

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
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return await asyncio.shield(task)


def _observed(session: Session, work: Work[T], is_watched: bool) -> Work[tuple[T, Json]]:
    """The work with what there is to tell watchers of it."""
    before = session.state() if is_watched else None
    result = yield from work
    return result, event_of(session, before, result)


def memory_of(session: Session) -> int:
    """Bytes a ready session takes, roughly."""
    timeline = session.timeline
    frames = sum(int(frame.words[Field.MEMORY_SIZE]) for frame in timeline.execution.frames)
    return SESSION_BYTES + timeline.keyframes.bytes + frames
