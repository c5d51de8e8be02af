"""Sharing in the session service: what tokens allow, who drives, and what watchers see, slow ones too."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable
from typing import Any

import pytest

from debugger import moves
from debugger.edits import Edit
from debugger.errors import InvalidProgram, SessionLimitReached, SessionNotFound
from debugger.session import Session
from debugger.slices import one_slice
from node.sessions import events as feeds
from node.sessions.base_state import NewSession
from node.sessions.errors import InvalidShare, NotDriving, OwnersOnly, ShareExpired, SlowWatcher, WatchOnly
from node.sessions.rights import Right
from node.sessions.service import SessionService
from node.sessions.sharing import SHARES, Share, Sharing, control_released, control_taken, given, holder, revoked
from tests.unit.node.test_sessions import SHORT, Log


class Clock:
    """Time that a test moves."""

    now = 1_000_000.0

    def __call__(self) -> float:
        return self.now


def run(work: Callable[[Log, SessionService, Clock], Awaitable[Any]]) -> Any:
    async def main() -> Any:
        log, clock = Log(), Clock()
        running = log.service()
        running.sharings._clock = clock
        try:
            return await work(log, running, clock)
        finally:
            await running.stop()

    return asyncio.run(main())


async def token_of(sessions: SessionService, number: int, role: str, ttl: int = 60, name: str = "") -> str:
    tokens: list[str] = []

    def change(sharing: Sharing) -> Sharing:
        changed, _, token = given(sharing, number, role, ttl, name, sessions.sharings.now())
        tokens.append(token)
        return changed

    await sessions.share(number, change)
    return tokens[0]


async def take(stream: AsyncGenerator[list[Any], None], count: int) -> list[Any]:
    found: list[Any] = []
    while len(found) < count:
        found += await anext(stream)
    return found


def test_tokens_allow_what_their_role_says_until_they_expire() -> None:
    async def work(log: Log, sessions: SessionService, clock: Clock) -> None:
        number = await sessions.create(NewSession(SHORT))
        watch, drive = [await token_of(sessions, number, role) for role in ("watch", "drive")]
        assert await sessions.read(lambda s: s.step_index, watch) == 0
        with pytest.raises(WatchOnly):
            await sessions.change(watch, moves.step, 1)
        with pytest.raises(WatchOnly):
            sessions.pause(watch)
        await sessions.change(drive, moves.step, 2)
        with pytest.raises(OwnersOnly):
            sessions.sharings.check(drive, Right.OWN)
        for bad in (watch[:-1] + ("0" if watch[-1] != "0" else "1"), f"zvs-{number}-9-" + "0" * 64, "zvs-1"):
            with pytest.raises(InvalidShare):
                await sessions.read(lambda s: s.step_index, bad)
        with pytest.raises(SessionNotFound):
            await sessions.read(lambda s: s.step_index, "zvs-77-1-" + "0" * 64)
        later = log.service()
        later.sharings._clock = clock
        assert await later.read(lambda s: s.step_index, watch) == 2, "kept with the session"
        secrets = [watch[-64:].encode(), bytes.fromhex(drive[-64:])]
        assert not any(secret in record for record in log.contents() for secret in secrets)
        clock.now += 60
        for service in (sessions, later):
            with pytest.raises(ShareExpired):
                await service.read(lambda s: s.step_index, drive)
        await later.stop()

    run(work)


def test_one_drives_at_a_time() -> None:
    async def work(log: Log, sessions: SessionService, clock: Clock) -> None:
        number = await sessions.create(NewSession(SHORT))
        one, two = [await token_of(sessions, number, "drive", ttl, f"n{ttl}") for ttl in (60, 90)]
        await sessions.change(one, moves.step, 1)
        for other in (two, number):
            with pytest.raises(NotDriving, match=r"share 1 \(n60\) drives"):
                await sessions.change(other, moves.step, 1)
        live = sessions.sharings
        with pytest.raises(NotDriving):
            await sessions.share(number, lambda s: control_taken(s, 2, live.now()))
        await sessions.share(number, lambda s: control_taken(s, 2, live.now(), take_over=True))
        with pytest.raises(NotDriving):
            await sessions.change(one, moves.step, 1)
        await sessions.change(two, moves.step, 1)
        await sessions.share(number, lambda s: control_released(s, 2, live.now()))
        await sessions.change(one, moves.step, 1)
        clock.now += 60  # the holder's token is over: the wheel is free
        await sessions.change(number, moves.step, 1)
        assert holder(live.of(number), live.now()) == 0
        with pytest.raises(NotDriving):
            await sessions.change(two, moves.step, 1)
        assert await sessions.read(lambda s: s.step_index, number) == 4

    run(work)


def test_several_watchers_see_every_change_and_resume() -> None:
    async def work(log: Log, sessions: SessionService, clock: Clock) -> None:
        number = await sessions.create(NewSession(SHORT))
        token = await token_of(sessions, number, "watch")
        streams = [sessions.watch(ref) for ref in (number, token, token)]
        assert [[e["command"] for e in await anext(stream)] for stream in streams] == [["watch"]] * 3
        for name, *work in (
            ("Step", moves.step, 2), ("Step", moves.step, 3), ("StepBack", moves.step_back, 1),
            ("MakeEdit", one_slice(Session.edit), Edit("push", value=9)),
        ):  # fmt: skip
            await sessions.move(number, *work, command=name)
        seen = [await take(stream, 4) for stream in streams]
        assert seen[0] == seen[1] == seen[2]
        assert [e["command"] for e in seen[0]] == ["Step", "Step", "StepBack", "MakeEdit"]
        assert [e["cursor"] for e in seen[0]] == [1, 2, 3, 4]
        assert [e["position"]["step"] for e in seen[0]] == [2, 5, 4, 4]
        assert seen[0][0]["changed"]["stack"] == {
            "0": {"before": None, "after": "0x1"}, "1": {"before": None, "after": "0x2"}
        }  # fmt: skip
        assert seen[0][1]["changed"]["storage"] == {"0x0": {"before": None, "after": "0x3"}}
        [behind] = await take(sessions.watch(number, 3), 1)
        assert behind == seen[0][3]
        later = log.service()
        later.sharings._clock = clock
        [now] = await take(later.watch(token, 1), 1)
        assert (now["command"], now["cursor"], now["missed"]) == ("watch", 4, 3), "a new process keeps no old events"
        stream = later.watch(token, 4)
        waiting = asyncio.ensure_future(anext(stream))
        await later.move(number, moves.step, 1, command="Step")
        assert [e["cursor"] for e in await waiting] == [5]
        await later.stop()

    run(work)


def test_a_watcher_is_told_when_its_access_ends() -> None:
    async def work(log: Log, sessions: SessionService, clock: Clock) -> None:
        number = await sessions.create(NewSession(SHORT))
        expiring, revocable = [await token_of(sessions, number, "watch", ttl) for ttl in (60, 90)]
        streams = [sessions.watch(ref) for ref in (expiring, revocable, number)]
        for stream in streams:
            await anext(stream)
        waiting = [asyncio.ensure_future(anext(stream)) for stream in streams]
        await asyncio.sleep(0)
        clock.now += 60
        await sessions.share(number, lambda sharing: revoked(sharing, 2))
        with pytest.raises(ShareExpired):
            await waiting[0]
        with pytest.raises(InvalidShare):
            await waiting[1]
        await sessions.close(number)
        with pytest.raises(SessionNotFound):
            await waiting[2]

    run(work)


def test_a_slow_watcher_is_dropped_with_a_notice_and_can_resume(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(feeds, "EVENTS", 5)

    async def work(log: Log, sessions: SessionService, clock: Clock) -> None:
        number = await sessions.create(NewSession(SHORT))
        slow, quick = sessions.watch(number), sessions.watch(number)
        await anext(slow)
        await anext(quick)
        for count in range(7):
            await sessions.move(number, moves.step, 1, command="Step")
            assert (await anext(quick))[0]["cursor"] == count + 1
        with pytest.raises(SlowWatcher, match="2 events"):
            await anext(slow)
        again = sessions.watch(number, 0)
        [now] = await anext(again)
        assert (now["cursor"], now["missed"], now["position"]["step"]) == (7, 7, 7)
        await sessions.move(number, moves.step, 1, command="Step")
        assert (await anext(again))[0]["cursor"] == 8

    run(work)


def test_there_are_limits() -> None:
    sharing = Sharing()
    for _ in range(SHARES):
        sharing, share, _ = given(sharing, 1, "watch", 10, "", 0.0)
    assert isinstance(share, Share)
    with pytest.raises(SessionLimitReached):
        given(sharing, 1, "watch", 10, "", 0.0)
    assert given(sharing, 1, "watch", 10, "", 10.0)[1].id == SHARES + 1, "expired ones make room"
    for role, ttl, name in (("own", 10, ""), ("watch", 0, ""), ("watch", 10**9, ""), ("watch", 10, "\x1b[2J")):
        with pytest.raises(InvalidProgram):
            given(Sharing(), 1, role, ttl, name, 0.0)

    async def work(log: Log, sessions: SessionService, clock: Clock) -> None:
        number = await sessions.create(NewSession(SHORT))
        streams = [sessions.watch(number) for _ in range(feeds.WATCHERS + 1)]
        for stream in streams[:-1]:
            await anext(stream)
        with pytest.raises(SessionLimitReached):
            await anext(streams[-1])
        await streams[0].aclose()
        assert (await anext(sessions.watch(number)))[0]["command"] == "watch"

    run(work)


def test_a_copy_is_shared_with_nobody_and_a_restore_is_told() -> None:
    async def work(log: Log, sessions: SessionService, clock: Clock) -> None:
        number = await sessions.create(NewSession(SHORT))
        token = await token_of(sessions, number, "watch")
        await sessions.change(number, moves.step, 3)
        saved = await sessions.copy(number)
        assert sessions.sharings.of(saved) == Sharing()
        stream = sessions.watch(token)
        await anext(stream)
        await sessions.move(number, moves.step, 2, command="Step")
        await sessions.copy(saved, number)
        events = await take(stream, 2)
        assert [(e["command"], e["position"]["step"]) for e in events] == [("Step", 5), ("restore", 3)]
        assert await sessions.read(lambda s: s.step_index, token) == 3

    run(work)
