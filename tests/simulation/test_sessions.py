"""Every session command over simulated power losses: the session is as before it or as after it, never between."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from random import Random
from typing import Any, NamedTuple

import pytest

from debugger import moves
from debugger.breakpoints import Breakpoint
from debugger.edits import Edit
from debugger.program import Program
from debugger.session import Session
from debugger.sharing import export_session
from debugger.slices import Slices, WantsPause, one_slice
from debugger.templates import Template, save_template
from node.sessions.base_state import NewSession
from node.sessions.repository import Policy
from node.sessions.service import SessionService
from storage.index.sessions import SessionFilter
from tests.simulation.disks import Disk
from tests.simulation.explore import HARMLESS
from tests.simulation.life import Life
from tests.simulation.script import Script, Workload
from tests.simulation.shelves import service_of, view, with_service
from tests.simulation.test_crash import SEED

LOOP = Program(code="0x5f5b60010180600052600156", gas=100_000)
COUNT = Program(code="0x6001600201600055600160005260206000f3")
LARGE = Program(code="0x6001600201" + "5b" * 4_000 + "00")
"""Its content does not fit into a record of the simulation."""
CASES = 60


class Moment(NamedTuple):
    """The machine before one of its calls, while a command was under way."""

    disk: Disk
    kind: str
    command: int


Command = Callable[[Life, SessionService], Awaitable[Any]]


def commands() -> list[Command]:
    """One of every kind, over three sessions; jobs in between."""

    def change(session: int, work: Any, *arguments: Any) -> Command:
        return lambda _, service: service.change(session, work, *arguments)

    async def mine(life: Life, _: SessionService) -> None:
        life.turn(life.mine())

    async def checkpoint(life: Life, _: SessionService) -> None:
        life.checkpoint()

    async def index(life: Life, _: SessionService) -> None:
        life.index()

    async def old(life: Life, service: SessionService) -> None:
        life.clock.seconds += 40 * 86_400
        await service.change(3, moves.step, 1)
        await service.expire(Policy())

    async def template(_: Life, service: SessionService) -> None:
        def work(session: Session, wants_pause: WantsPause) -> Slices[Template]:
            return save_template(session, "mine", "Mine", "Two and one.")

        found = await service.look(work, 2)
        await service.gallery.save(found)

    async def file(_: Life, service: SessionService) -> None:
        await service.import_file(await service.read(export_session, 2))

    point = Breakpoint("opcode", opcode="SSTORE")
    return [
        lambda _, service: service.create(NewSession(LOOP, name="loop", tags=("a",))),
        lambda _, service: service.create(NewSession(COUNT, name="count")),
        change(1, moves.step, 30),
        change(1, moves.step_back, 5),
        index,
        lambda _, service: service.create(NewSession(LARGE, name="large")),
        checkpoint,
        change(3, moves.step, 9),
        change(3, one_slice(Session.set_breakpoint), point),
        change(2, one_slice(Session.set_breakpoint), point),
        change(2, moves.run),
        mine,
        change(2, one_slice(Session.edit), Edit("stack", index=1, value=7)),
        checkpoint,
        index,
        change(2, moves.run),
        change(2, one_slice(Session.remove_breakpoint), 1),
        change(1, moves.seek, 77),
        change(1, one_slice(Session.rename), "other", ("b", "c")),
        lambda _, service: service.pin(1, True),
        template,
        lambda _, service: service.copy(3),
        lambda _, service: service.copy(3, 2),
        checkpoint,
        change(2, moves.step, 3),
        file,
        change(1, one_slice(Session.load), COUNT),
        change(1, one_slice(Session.reset)),
        index,
        lambda _, service: service.gallery.remove("mine"),
        lambda _, service: service.close(4),
        old,
        checkpoint,
        index,
    ]


class Story(NamedTuple):
    """A run of all commands: the moments of it, and what users saw between the commands."""

    moments: list[Moment]
    views: list[dict[object, Any]]
    script: Script


@pytest.fixture(scope="module")
def story() -> Story:
    workload = Workload(lambda _: None)
    script = workload.start(Disk.new(SEED), workload.record())
    life, moments, views = script.life, list[Moment](), list[dict[object, Any]]()

    def picture(disk: Disk, kind: str) -> None:
        if kind not in HARMLESS:
            moments.append(Moment(disk.picture(), kind, len(views) - 1))

    async def run() -> None:
        service = service_of(life)
        for command in commands():
            views.append(await view(service))
            life.disk.observe(picture)
            await command(life, service)
            life.disk.observe(lambda *_: None)
        views.append(await view(service))
        await service.stop()

    asyncio.run(run())
    return Story(moments, views, script)


def check(story: Story, moment: Moment, disk: Disk) -> None:
    """The next process has every session as before the command or as after it, and the index agrees."""
    life = Life(disk, story.script.life.record, story.script.life.options)
    found = with_service(life, view)
    before, after = story.views[moment.command], story.views[moment.command + 1]
    for name in {*found, *before, *after}:
        assert found.get(name) in (before.get(name), after.get(name)), (name, moment.command)
    life.index()
    shelf, search = life.store.sessions, life.store.session_search
    rows = search.find(SessionFilter(), 100).rows
    assert [row.id for row in rows] == sorted(shelf, reverse=True)
    index = life.store.follower.index
    assert search._filled == (index.incarnation if rows else None)
    assert index.sessions(SessionFilter(), 100) == [row.id for row in rows]
    assert shelf.highest >= max((name for name in before if isinstance(name, int)), default=0)


def test_the_story_has_everything(story: Story) -> None:
    kinds = {moment.kind for moment in story.moments}
    assert {"pwrite", "fdatasync", "create", "rename", "sync_directory", "kv write", "index write"} <= kinds
    assert {moment.command for moment in story.moments} == set(range(len(story.views) - 1))
    life = Life(story.script.life.disk.picture(), story.script.life.record, story.script.life.options)
    assert len(life.store.sessions.snapshots()) == 1, "large, and its copy closed"
    assert sorted(life.store.sessions) == [1, 3], "one pinned, one just used; the others were too old"


def survivors(story: Story, variants: int) -> list[tuple[Moment, str, Disk]]:
    found: dict[bytes, tuple[Moment, str, Disk]] = {}
    for number, moment in enumerate(story.moments):
        for name, disk in moment.disk.survivors(SEED * 1_000_003 + number, variants):
            found[disk.fingerprint()] = (moment, name, disk)
    return list(found.values())


def test_a_crash_leaves_a_session_before_or_after_its_command(story: Story) -> None:
    cases = survivors(story, 4)
    assert len(cases) > 3 * CASES
    for moment, name, disk in Random(SEED).sample(cases, CASES):
        try:
            check(story, moment, disk)
        except Exception as error:
            error.add_note(f"command {moment.command}, at {moment.kind}: {name}")
            raise


@pytest.mark.full
@pytest.mark.timeout(3600)
def test_every_crash_of_every_command(story: Story) -> None:
    cases = survivors(story, 16)
    for moment, name, disk in cases:
        try:
            check(story, moment, disk)
        except Exception as error:
            error.add_note(f"command {moment.command}, at {moment.kind}: {name}")
            raise
    print(f"{len(story.moments)} calls, {len(cases)} machines")
