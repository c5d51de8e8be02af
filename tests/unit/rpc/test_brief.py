"""Short reads on the event loop: what is answered there, what has to leave, and that a loop is never held by one."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Awaitable, Callable
from dataclasses import replace

import pytest

from chain.brief import NotInMemory, TakesLong, before_long_work, run_briefly
from node.rpc.brief import LONG, BriefReads
from node.rpc.limits import RpcLimits
from node.rpc.readers import Readers
from vm.interruption import checkpoint

LIMITS = RpcLimits()
Test = Callable[[BriefReads, Readers], Awaitable[None]]


def on_loop(test: Test, limits: RpcLimits = LIMITS) -> None:
    async def run() -> None:
        readers = Readers(limits)
        brief = BriefReads(limits, readers)
        try:
            await test(brief, readers)
        finally:
            brief.close()
            readers.close()

    asyncio.run(run())


def test_only_brief_work_leaves_before_long_work() -> None:
    before_long_work()
    with pytest.raises(TakesLong):
        run_briefly(before_long_work)
    with pytest.raises(NotInMemory):
        run_briefly(lambda: before_long_work(NotInMemory))
    before_long_work()


def test_other_threads_may_take_long_meanwhile() -> None:
    seen: list[BaseException | None] = []

    def elsewhere() -> None:
        try:
            before_long_work()
            seen.append(None)
        except TakesLong as error:
            seen.append(error)

    def job() -> None:
        thread = threading.Thread(target=elsewhere)
        thread.start()
        thread.join()

    run_briefly(job)
    assert seen == [None]


def test_a_short_read_is_answered_on_the_loop() -> None:
    async def test(brief: BriefReads, readers: Readers) -> None:
        assert brief.attempt(threading.get_ident, "a") == threading.get_ident()
        assert brief.status() == {"done": 1, "left": 0}

    on_loop(test)


def test_errors_are_the_jobs() -> None:
    async def test(brief: BriefReads, readers: Readers) -> None:
        with pytest.raises(ZeroDivisionError):
            brief.attempt(lambda: 1 // 0, "a")
        assert brief.attempt(lambda: 7, "a") == 7

    on_loop(test)


def test_what_never_ends_is_stopped_and_left_out_for_some_time() -> None:
    async def test(brief: BriefReads, readers: Readers) -> None:
        begun: list[int] = []

        def endless() -> int:
            begun.append(1)
            while True:
                checkpoint()

        assert brief.attempt(endless, "long") is LONG
        await asyncio.sleep(0.01)  # another turn
        for _ in range(8):
            assert brief.attempt(endless, "long") is LONG
            await asyncio.sleep(0.002)
        assert len(begun) == 1
        assert brief.attempt(lambda: 7, "other") == 7
        await asyncio.sleep(0.01)
        assert brief.attempt(endless, "long") is LONG
        assert len(begun) == 2

    on_loop(test)


def test_what_is_not_in_memory_is_tried_again_at_once() -> None:
    async def test(brief: BriefReads, readers: Readers) -> None:
        assert brief.attempt(lambda: before_long_work(NotInMemory), "a") is LONG
        assert brief.attempt(lambda: 7, "a") == 7

    on_loop(test)


def test_one_turn_does_not_take_all_that_arrives() -> None:
    async def test(brief: BriefReads, readers: Readers) -> None:
        loop = asyncio.get_running_loop()
        now = loop.time()
        loop.time = lambda: now  # type: ignore[method-assign]  # uvloop reads the clock once a turn

        def slow() -> int:
            begun = time.monotonic()
            while time.monotonic() - begun < 0.0003:
                pass
            return 7

        answers = [brief.attempt(slow, number) for number in range(100)]
        assert LONG in answers
        assert 7 in answers
        assert answers == sorted(answers, key=lambda answer: answer is LONG), "no other turn began"

    on_loop(test)


def test_while_readers_work_they_get_all() -> None:
    async def test(brief: BriefReads, readers: Readers) -> None:
        release = threading.Event()
        waiting = asyncio.ensure_future(readers.run(release.wait))
        await asyncio.sleep(0)
        assert brief.attempt(lambda: 7, "a") is LONG
        release.set()
        await waiting
        assert brief.attempt(lambda: 7, "a") == 7

    on_loop(test)


def test_it_can_be_switched_off() -> None:
    async def test(brief: BriefReads, readers: Readers) -> None:
        assert brief.attempt(lambda: 7, "a") is LONG

    on_loop(test, replace(LIMITS, short_road=False))
