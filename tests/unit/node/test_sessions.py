"""The session service: many at once, each change kept before it is answered, given up when keeping fails."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any

import msgspec
import pytest

from debugger import moves
from debugger.calltree import call_tree_slices
from debugger.diff import compare_slices
from debugger.errors import SessionLimitReached, SessionNotFound, StepOutOfRange
from debugger.program import AccountSetup, Program
from debugger.session import Session
from debugger.sharing import export_session, export_slices
from debugger.slices import Slices, WantsPause, one_slice
from node.api.errors import WriterBusy
from node.machine.assembly import build_machine
from node.machine.object_cache import FileObjectCache
from node.sessions import cache, service
from node.sessions.base_state import BaseStates, NewSession
from node.sessions.gallery import Gallery
from node.sessions.repository import SessionRepository
from node.sessions.service import SessionService
from storage.sessions.files import SessionFiles
from storage.sessions.records import Kept, SessionPosition, decode_session, session_record
from storage.sessions.search import SessionSearch
from storage.sessions.shelf import SessionShelf
from storage.sessions.templates import TemplateShelf
from storage.wal.records import RecordType
from tests.paths import OBJECTS
from tests.simulation.simfs import SimFs

LOOP = Program(code="0x5f5b60010180600052600156", gas=1_000_000_000)
"""Counts up in memory until its gas is gone."""
ENDLESS = Program(code="0x5f5b60010180600052600156", gas=1 << 36)
"""The same for more steps than a session may stand at."""
CALL_AT = 7
CALLING = Program(
    code="0x5f5f5f5f5f61fffe5af1", gas=1 << 36, state={"0x" + "fffe".zfill(40): AccountSetup(code=ENDLESS.code)}
)
"""Calls the endless one after seven pushes."""
SHORT = Program(code="0x6001600201600055600160005260206000f3")
MACHINE = build_machine(cache=FileObjectCache(OBJECTS))


class Log:
    """A shelf as a log would fill it; refuses on demand."""

    def __init__(self) -> None:
        self.shelf = SessionShelf()
        self.refuses = False
        self.records: list[tuple[RecordType, int]] = []
        self.fs = SimFs()
        self.files = SessionFiles(self.fs)
        self.now = 1_700_000_000.0
        self.chain: Any = None

    async def keep(self, session: int, change: Kept | SessionPosition | None) -> None:
        await asyncio.sleep(0)
        if self.refuses:
            raise WriterBusy("busy")
        kind, payload = session_record(session, change)
        self.records.append((kind, len(payload)))
        self.shelf.put(*decode_session(kind, payload), len(self.records))

    def service(self, inline_bytes: int = 2**20) -> SessionService:
        search = SessionSearch(None, self.shelf)  # type: ignore[arg-type]  # no index: it looks at the shelf
        repository = SessionRepository(self.shelf, self.keep, self.files, search, lambda: self.now, inline_bytes)
        gallery = Gallery(TemplateShelf(), self.keep)  # type: ignore[arg-type]
        return SessionService(BaseStates(self.chain, MACHINE), repository, gallery)

    def contents(self) -> list[bytes]:
        """All that is kept of sessions now."""
        return [msgspec.msgpack.encode(kept) for session in self.shelf if (kept := self.shelf.get(session)) is not None]


def run(work: Callable[[Log, SessionService], Awaitable[Any]]) -> Any:
    async def main() -> Any:
        log = Log()
        running = log.service()
        try:
            return await work(log, running)
        finally:
            await running.stop()

    return asyncio.run(main())


async def state(sessions: SessionService, number: int) -> Any:
    return await sessions.read(lambda s: (s.state(), s.digest(), s.branches, s.breakpoints, s.name), number)


def test_a_new_service_over_the_same_records_has_the_same_sessions() -> None:
    async def work(log: Log, sessions: SessionService) -> None:
        numbers = [await sessions.create(NewSession(SHORT if n % 2 else LOOP, name=f"n{n}")) for n in range(6)]
        for number in numbers:
            await sessions.change(number, moves.step, number)
            await sessions.change(number, one_slice(Session.rename), None, ("a",))
        before = [await state(sessions, number) for number in numbers]
        await sessions.close(numbers[-1])
        later = log.service()
        assert [await state(later, number) for number in numbers[:-1]] == before[:-1]
        with pytest.raises(SessionNotFound):
            await state(later, numbers[-1])
        assert await later.create(NewSession(SHORT)) == numbers[-1] + 1, "ids are never given twice"
        assert [row.steps for row in later.repository.rows()] == [0, *reversed(numbers[:-1])]
        await later.stop()

    run(work)


def test_what_is_not_kept_did_not_happen() -> None:
    async def work(log: Log, sessions: SessionService) -> None:
        number = await sessions.create(NewSession(LOOP))
        await sessions.change(number, moves.step, 10)
        before = await state(sessions, number)
        log.refuses = True
        with pytest.raises(WriterBusy):
            await sessions.change(number, moves.step, 5)
        with pytest.raises(WriterBusy):
            await sessions.create(NewSession(SHORT))
        log.refuses = False
        assert await state(sessions, number) == before
        with pytest.raises(StepOutOfRange):
            await sessions.change(number, moves.seek, 900_000_000)
        assert await state(sessions, number) == before
        assert len(sessions.repository.rows()) == 1

    run(work)


def test_long_moves_let_others_work_and_can_be_paused() -> None:
    async def work(log: Log, sessions: SessionService) -> None:
        long_moves: list[tuple[Any, ...]] = [
            (moves.run,), (moves.seek, 900_000_000), (moves.step, 800_000_000), (moves.checkout, 0, 900_000_000),
            (moves.step_over,),
        ]  # fmt: skip
        programs = [*[ENDLESS] * 4, CALLING]
        long = [await sessions.create(NewSession(program)) for program in programs]
        await sessions.change(long[-1], moves.step, CALL_AT)
        short = await sessions.create(NewSession(SHORT))
        tasks = [
            asyncio.create_task(sessions.change(number, *chosen))
            for number, chosen in zip(long, long_moves, strict=True)
        ]
        await asyncio.sleep(0)
        for _ in range(3):
            await sessions.change(short, moves.step, 1)
        assert not any(task.done() for task in tasks)
        for number in long:
            sessions.pause(number)
        reasons = {(await task)[0].reason for task in tasks}
        assert reasons == {"paused", "branch"}
        for number in long:
            assert 0 < (await state(sessions, number))[0].step < 800_000_000

    run(work)


def test_long_looks_let_others_work_and_comparisons_can_be_paused() -> None:
    async def work(log: Log, sessions: SessionService) -> None:
        long, short = await sessions.create(NewSession(ENDLESS)), await sessions.create(NewSession(SHORT))
        comparing = asyncio.create_task(
            sessions.look(partial(compare_slices, limit=900_000_000), long, long)
        )
        await asyncio.sleep(0)
        for _ in range(3):
            await sessions.change(short, moves.step, 1)
        assert not comparing.done()
        sessions.pause(long)
        found = await comparing
        assert (found.is_equal, found.has_ended) == (True, False)
        assert 0 < found.steps < 900_000_000
        looks: list[Callable[[Session], Slices[Any]]] = [lambda one: call_tree_slices(one, 3_000_000), export_slices]
        for look in looks:
            sliced = lambda one, wants_pause, look=look: look(one)  # noqa: E731
            tree = asyncio.create_task(sessions.look(sliced, await sessions.create(NewSession(LOOP))))
            await asyncio.sleep(0)
            await sessions.change(short, moves.step_back, 1)
            assert not tree.done()
            await tree

    run(work)


def test_a_reverse_run_can_be_paused_and_goes_on() -> None:
    async def work(log: Log, sessions: SessionService) -> None:
        number = await sessions.create(NewSession(LOOP))
        await sessions.change(number, moves.step, 2_000_000)
        task = asyncio.create_task(sessions.change(number, moves.reverse_run))
        while not next(seat for seat in sessions.cache if seat.id == number).lock.locked():
            await asyncio.sleep(0)
        sessions.pause(number)
        [paused] = await task
        assert paused.reason == "paused"
        assert 0 < paused.step < 2_000_000
        assert (await sessions.change(number, moves.reverse_run))[0].reason == "start"

    run(work)


def test_a_long_step_back_lets_others_work_and_can_be_paused() -> None:
    """Keyframes are far apart where a session has run far or its memory is large: most of the run is done again."""
    async def work(log: Log, sessions: SessionService) -> None:
        number, short = await sessions.create(NewSession(LOOP)), await sessions.create(NewSession(SHORT))
        await sessions.change(number, moves.step, 30_000_000)
        await sessions.look(drop_keyframes, number)
        before = await state(sessions, number)
        task = asyncio.create_task(sessions.change(number, moves.step_back, 1))
        await asyncio.sleep(0)
        for _ in range(3):
            await sessions.change(short, moves.step, 1)
        assert not task.done()
        sessions.pause(number)
        [paused] = await task
        assert (paused.reason, paused.step) == ("paused", 30_000_000)
        assert await state(sessions, number) == before
        assert (await sessions.change(number, moves.step_back, 1))[0].step == 29_999_999

    run(work)


def drop_keyframes(session: Session, wants_pause: WantsPause) -> Slices[None]:
    """As if there had been no room for them."""
    yield
    session.timeline.keyframes.drop_from(1)


def test_one_session_is_used_by_one_at_a_time() -> None:
    async def work(log: Log, sessions: SessionService) -> None:
        number = await sessions.create(NewSession(LOOP))
        await asyncio.gather(*(sessions.change(number, moves.step, 7) for _ in range(20)))
        await asyncio.gather(*(sessions.change(number, moves.step_back, 1) for _ in range(10)))
        assert (await state(sessions, number))[0].step == 130

    run(work)


def test_whoever_goes_away_leaves_no_half_used_session() -> None:
    async def work(log: Log, sessions: SessionService) -> None:
        number = await sessions.create(NewSession(LOOP))
        task = asyncio.create_task(sessions.change(number, moves.step, 3_000_000))
        await asyncio.sleep(0.01)
        task.cancel()
        assert (await state(sessions, number))[0].step == 3_000_000

    run(work)


def test_only_so_many_are_ready_and_the_others_come_back(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cache, "LIVE_MAX", 2)
    monkeypatch.setattr(service, "SESSIONS", 5)

    async def work(log: Log, sessions: SessionService) -> None:
        numbers = [await sessions.create(NewSession(SHORT)) for _ in range(5)]
        with pytest.raises(SessionLimitReached):
            await sessions.create(NewSession(SHORT))
        for number in numbers:
            await sessions.change(number, moves.step, number)
        assert sum(seat.session is not None for seat in sessions.cache) <= 2
        assert [(await state(sessions, number))[0].step for number in numbers] == numbers

    run(work)


def test_saved_sessions_are_copies() -> None:
    async def work(log: Log, sessions: SessionService) -> None:
        number = await sessions.create(NewSession(SHORT))
        await sessions.change(number, moves.step, 3)
        before = await state(sessions, number)
        saved = await sessions.copy(number)
        await sessions.change(number, moves.run)
        await sessions.copy(saved, number)
        assert await state(sessions, number) == before
        file = await sessions.read(_export, number)
        assert await state(sessions, await sessions.import_file(file)) == before

    run(work)


def _export(session: Session) -> bytes:
    return export_session(session)
