"""How sessions are kept: small records for moves, files for large ones, what the chain forgets, and what expires."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from chain.state import Account
from chain.types import Address, Hash32
from debugger import moves
from debugger.breakpoints import Breakpoint
from debugger.edits import Edit
from debugger.errors import SessionError
from debugger.program import DEFAULT_TARGET, Program
from debugger.session import Session
from debugger.slices import one_slice
from node.sessions.base_state import NewSession, Origin
from node.sessions.repository import Policy
from node.sessions.service import SessionService
from storage.errors import SnapshotLost, StateUnavailable
from storage.sessions.files import path_of
from storage.sessions.records import MAX_CONTENT, SnapshotFile
from storage.wal.records import RecordType
from tests.unit.debugger.programs import programs
from tests.unit.node.test_sessions import LOOP, SHORT, Log, run, state


def test_a_move_is_a_small_record_and_only_a_change_a_whole_one() -> None:
    async def work(log: Log, sessions: SessionService) -> None:
        number = await sessions.create(NewSession(LOOP, name="n" * 200))
        for command in ((moves.step, 1000), (moves.step_back, 3), (moves.seek, 5), (moves.run, 20)):
            await sessions.change(number, *command)
        await sessions.change(number, one_slice(Session.reset))
        await sessions.change(number, one_slice(Session.set_breakpoint), Breakpoint("pc", pc=2))
        await sessions.change(number, moves.run)
        whole, moved = RecordType.SESSION, RecordType.SESSION_MOVE
        assert [kind for kind, _ in log.records] == [whole, *[moved] * 5, whole, moved]
        assert max(size for kind, size in log.records if kind is moved) < 64
        before = await state(sessions, number)
        later = log.service()
        assert await state(later, number) == before
        await later.change(number, moves.step, 1)
        assert log.records[-1][0] is moved, "a session brought back is known to be in the log"
        await later.stop()

    run(work)


class ChainState:
    """A chain of one account with slots, and nothing else that sessions ask of a chain."""

    def account(self, address: Address) -> Account | None:
        return Account(1, 5) if address == DEFAULT_TARGET else None

    def storage(self, address: Address, slot: int) -> int:
        return slot + 1

    def code(self, code_hash: Hash32) -> bytes:
        return b""

    def has_storage(self, address: Address) -> bool:
        return True

    def view(self, number: int) -> ChainState:
        if number > self.oldest:
            return self
        raise StateUnavailable("forgotten")

    def block_hash(self, number: int) -> Hash32:
        return Hash32(bytes(32))

    oldest = 0


def test_what_is_read_of_a_chain_is_kept_before_the_chain_forgets_it() -> None:
    """SLOAD of one slot after the other; the state of block 1 then expires."""

    async def work(log: Log, _: SessionService) -> None:
        log.chain = ChainState()
        sessions = log.service()
        program = Program(code="0x5f5b8054506001016001565b00", gas=1_000_000)
        number = await sessions.create(NewSession(program, Origin(1)))
        for count in (1, 40, 1, 1, 1, 1, 100):
            await sessions.change(number, moves.step, count)
        kinds = [kind for kind, _ in log.records]
        assert kinds.count(RecordType.SESSION) >= 4
        assert RecordType.SESSION_MOVE in kinds
        before = await state(sessions, number)
        log.chain.oldest = 1
        later = log.service()
        assert await state(later, number) == before
        await sessions.stop()
        await later.stop()

    run(work)


def test_a_large_session_is_a_file_and_its_loss_concerns_no_other() -> None:
    async def work(log: Log, sessions: SessionService) -> None:
        large = Program(code="0x6001600201" + "5b" * 9_000 + "00")
        sessions = log.service(inline_bytes=8_000)
        small = await sessions.create(NewSession(SHORT))
        number = await sessions.create(NewSession(large))
        await sessions.change(number, moves.step, 8)
        copy = await sessions.copy(number)
        assert [kind for kind, _ in log.records] == [
            RecordType.SESSION, RecordType.SESSION_SNAPSHOT, RecordType.SESSION_MOVE, RecordType.SESSION_SNAPSHOT,
        ]  # fmt: skip
        assert max(size for _, size in log.records) < 8_000
        before = await state(sessions, number)
        later = log.service(inline_bytes=8_000)
        assert await state(later, number) == await state(later, copy) == before
        content = log.shelf.get(copy)
        assert content is not None
        assert isinstance(content.content, SnapshotFile)
        log.fs.unlink(path_of(copy, content.content))
        another = log.service()
        with pytest.raises(SnapshotLost):
            await state(another, copy)
        assert await state(another, number) == before
        assert (await state(another, small))[0].step == 0
        await another.close(copy)
        for service_ in (sessions, later, another):
            await service_.stop()

    run(work)


def test_no_content_is_too_large_for_the_log() -> None:
    """8 MiB of calldata edits and code: more than a record can hold."""

    async def work(log: Log, sessions: SessionService) -> None:
        number = await sessions.create(NewSession(Program(code="0x" + "5b" * 2**20, calldata="0x" + "07" * (4 << 20))))
        assert log.records[-1][0] is RecordType.SESSION_SNAPSHOT
        content = log.shelf.get(number)
        assert content is not None
        assert isinstance(content.content, SnapshotFile)
        assert content.content.size > MAX_CONTENT
        assert (await state(log.service(), number))[0].opcode == "JUMPDEST"

    run(work)


def test_sessions_expire_by_age_and_number_but_not_pinned_or_used_ones() -> None:
    async def work(log: Log, sessions: SessionService) -> None:
        numbers = [await sessions.create(NewSession(SHORT)) for _ in range(6)]
        await sessions.pin(numbers[0], True)
        log.now += 10 * 86_400
        await sessions.read(lambda session: session.state(), numbers[1])  # looking counts as use
        await sessions.change(numbers[2], moves.step, 1)
        policy = Policy(keep_days=9)
        running = await sessions.create(NewSession(LOOP))
        log.now += 1
        assert (await sessions.expire(policy)).startswith("3 sessions removed, 4 left")
        log.now += 10 * 86_400
        task = asyncio.create_task(sessions.change(running, moves.run, 3_000_000))
        await asyncio.sleep(0)
        await asyncio.sleep(0.01)
        assert (await sessions.expire(policy)).startswith("2 sessions removed, 2 left")
        await task
        assert list(log.shelf) == [numbers[0], running]
        more = [await sessions.create(NewSession(SHORT)) for _ in range(4)]
        log.now += 5
        await sessions.change(more[0], moves.step, 1)
        await sessions.expire(Policy(max_sessions=3))
        assert list(log.shelf) == [numbers[0], more[0], more[3]], "the longest unused went"
        await sessions.expire(Policy(max_bytes=1))
        assert list(log.shelf) == [numbers[0]], "pinned"
        assert list(log.service().repository.shelf) == [numbers[0]]

    run(work)


Command = tuple[Any, ...]
"""Work of a session and its arguments."""


def one(work: Callable[..., Any], *arguments: st.SearchStrategy[Any]) -> st.SearchStrategy[Command]:
    """Commands of one kind."""
    return st.tuples(st.just(work), *arguments)


def instant(operation: Callable[..., Any], *arguments: st.SearchStrategy[Any]) -> st.SearchStrategy[Command]:
    return one(one_slice(operation), *arguments)


moving = st.one_of(
    one(moves.step, st.integers(0, 60)),
    one(moves.step_back, st.integers(0, 60)),
    one(moves.seek, st.integers(0, 12)),
    one(moves.run, st.none() | st.integers(0, 90)),
    one(moves.step_over),
    one(moves.step_out),
    one(moves.reverse_run),
    one(moves.checkout, st.integers(0, 2)),
    instant(Session.reset),
    instant(Session.set_breakpoint, st.builds(Breakpoint, st.just("pc"), pc=st.integers(0, 30))),
    instant(Session.edit, st.builds(Edit, st.just("stack"), index=st.just(0), value=st.integers(0, 9))),
    instant(Session.rename, st.text(max_size=3), st.none() | st.just(("t",))),
)


REVERTED_TSTORE = Program(code="0x60016080525b600860085d60085c6001608051038060805260055760206000fd", gas=30_000)


@example(REVERTED_TSTORE, [(moves.step_out,), (moves.reverse_run,), (moves.run, None)])
@settings(max_examples=25, suppress_health_check=[HealthCheck.too_slow])
@given(programs(), st.lists(moving, min_size=1, max_size=10))
def test_what_comes_back_is_what_was_kept(program: Program, commands: list[Command]) -> None:
    """After any commands, a service over the same records has the same session, byte for byte, and goes on alike."""

    def everything(session: Session) -> object:
        tree = sorted(session.branches.items()), sorted(session.breakpoints.items()), session.branch
        return session.state(), session.digest(), tree, session.name, session.tags

    async def work(log: Log, sessions: SessionService) -> None:
        number = await sessions.create(NewSession(program))
        for command in commands:
            with suppress(SessionError):
                await sessions.change(number, *command)
        later = log.service()
        assert await later.read(everything, number) == await sessions.read(everything, number)
        for service in (sessions, later):
            await service.change(number, moves.step, 5)
        assert await later.read(everything, number) == await sessions.read(everything, number)
        await later.stop()

    run(work)
