"""The session service: many at once, each change kept before it is answered, given up when keeping fails."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from debugger.commands import Rename, StepBack
from debugger.errors import SessionLimitReached, SessionNotFound, StepOutOfRange
from debugger.program import Program
from debugger.session import Session
from debugger.sharing import export_session
from node.errors import WriterBusy
from node.sessions import moves, service
from node.sessions.gallery import Gallery
from node.sessions.keeping import Keeper
from node.sessions.origin import Ground, Origin
from node.sessions.service import SessionService
from storage.session_files import SessionFiles
from storage.session_search import SessionSearch
from storage.sessions import SessionShelf
from storage.simfs import SimFs
from storage.templates import TemplateShelf
from storage.wal.records import RecordType
from storage.wal.session_records import Kept, Place, decode_session, session_record
from vm.machine import Machine

LOOP = Program(code="0x5f5b60010180600052600156", gas=1_000_000_000)
"""Counts up in memory until its gas is gone."""
SHORT = Program(code="0x6001600201600055600160005260206000f3")
MACHINE = Machine()


class Log:
    """A shelf as a log would fill it; refuses on demand."""

    def __init__(self) -> None:
        self.shelf = SessionShelf()
        self.refuses = False
        self.records: list[tuple[RecordType, int]] = []
        self.fs = SimFs()
        self.files = SessionFiles(self.fs)
        self.now = 1_700_000_000.0

    async def keep(self, session: int, change: Kept | Place | None) -> None:
        await asyncio.sleep(0)
        if self.refuses:
            raise WriterBusy("busy")
        kind, payload = session_record(session, change)
        self.records.append((kind, len(payload)))
        self.shelf.put(*decode_session(kind, payload), len(self.records))

    def service(self, inline_bytes: int = 2**20) -> SessionService:
        search = SessionSearch(None, self.shelf)  # type: ignore[arg-type] - no index: it looks at the shelf
        keeper = Keeper(self.shelf, self.keep, self.files, search, lambda: self.now, inline_bytes)
        gallery = Gallery(TemplateShelf(), self.keep)  # type: ignore[arg-type]
        return SessionService(Ground(None, MACHINE), keeper, gallery)  # type: ignore[arg-type]


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
        numbers = [await sessions.create(SHORT if n % 2 else LOOP, Origin(), f"n{n}") for n in range(6)]
        for number in numbers:
            await sessions.change(number, moves.step(number))
            await sessions.change(number, moves.once(Rename(tags=("a",))))
        before = [await state(sessions, number) for number in numbers]
        await sessions.close(numbers[-1])
        later = log.service()
        assert [await state(later, number) for number in numbers[:-1]] == before[:-1]
        with pytest.raises(SessionNotFound):
            await state(later, numbers[-1])
        assert await later.create(SHORT, Origin()) == numbers[-1] + 1, "ids are never given twice"
        assert [row.steps for row in later.keeper.everything().rows] == [0, *reversed(numbers[:-1])]
        await later.stop()

    run(work)


def test_what_is_not_kept_did_not_happen() -> None:
    async def work(log: Log, sessions: SessionService) -> None:
        number = await sessions.create(LOOP, Origin())
        await sessions.change(number, moves.step(10))
        before = await state(sessions, number)
        log.refuses = True
        with pytest.raises(WriterBusy):
            await sessions.change(number, moves.step(5))
        with pytest.raises(WriterBusy):
            await sessions.create(SHORT, Origin())
        log.refuses = False
        assert await state(sessions, number) == before
        with pytest.raises(StepOutOfRange):
            await sessions.change(number, moves.seek(900_000_000))
        assert await state(sessions, number) == before
        assert len(sessions.keeper.everything().rows) == 1

    run(work)


def test_a_long_run_lets_others_work_and_can_be_paused() -> None:
    async def work(log: Log, sessions: SessionService) -> None:
        runs = [await sessions.create(LOOP, Origin()) for _ in range(3)]
        short = await sessions.create(SHORT, Origin())
        tasks = [asyncio.create_task(sessions.change(number, moves.run(None))) for number in runs]
        await asyncio.sleep(0.05)
        begun = time.monotonic()
        await sessions.change(short, moves.step(1))
        assert time.monotonic() - begun < 5.0
        assert not any(task.done() for task in tasks)
        for number in runs:
            sessions.pause(number)
        assert {(await task)[0].reason for task in tasks} == {"paused"}

    run(work)


def test_one_session_is_used_by_one_at_a_time() -> None:
    async def work(log: Log, sessions: SessionService) -> None:
        number = await sessions.create(LOOP, Origin())
        await asyncio.gather(*(sessions.change(number, moves.step(7)) for _ in range(20)))
        await asyncio.gather(*(sessions.change(number, moves.once(StepBack(1))) for _ in range(10)))
        assert (await state(sessions, number))[0].step == 130

    run(work)


def test_whoever_goes_away_leaves_no_half_used_session() -> None:
    async def work(log: Log, sessions: SessionService) -> None:
        number = await sessions.create(LOOP, Origin())
        task = asyncio.create_task(sessions.change(number, moves.step(3_000_000)))
        await asyncio.sleep(0.01)
        task.cancel()
        assert (await state(sessions, number))[0].step == 3_000_000

    run(work)


def test_only_so_many_are_ready_and_the_others_come_back(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(service, "LIVE_MAX", 2)
    monkeypatch.setattr(service, "SESSIONS", 5)

    async def work(log: Log, sessions: SessionService) -> None:
        numbers = [await sessions.create(SHORT, Origin()) for _ in range(5)]
        with pytest.raises(SessionLimitReached):
            await sessions.create(SHORT, Origin())
        for number in numbers:
            await sessions.change(number, moves.step(number))
        assert sum(seat.session is not None for seat in sessions._seats.values()) <= 2
        assert [(await state(sessions, number))[0].step for number in numbers] == numbers

    run(work)


def test_saved_sessions_are_copies() -> None:
    async def work(log: Log, sessions: SessionService) -> None:
        number = await sessions.create(SHORT, Origin())
        await sessions.change(number, moves.step(3))
        before = await state(sessions, number)
        saved = await sessions.copy(number)
        await sessions.change(number, moves.run(None))
        await sessions.copy(saved, number)
        assert await state(sessions, number) == before
        file = await sessions.read(_export, number)
        assert await state(sessions, await sessions.import_file(file)) == before

    run(work)


def _export(session: Session) -> bytes:
    return export_session(session)
