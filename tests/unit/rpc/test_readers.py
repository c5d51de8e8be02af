"""Reader threads: whose turn it is, what is put back, what is stopped, and what happens when a thread dies."""

from __future__ import annotations

import asyncio
import math
import threading
import time
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from node.api.errors import LimitExceeded
from node.rpc import readers as module
from node.rpc.errors import CallTimeout, CallTooLarge, ClientGone, InternalError, NodeBusy
from node.rpc.held import SMALL_BYTES, Held
from node.rpc.limits import RpcLimits
from node.rpc.readers import Readers
from node.rpc.work import ConnectedClient, Work
from vm.interruption import checkpoint, current, spend

LONG = RpcLimits(call_max_s=600.0)
"""Nothing ends by its time."""


def with_readers(
    test: Callable[[Readers], Awaitable[Any]], limits: RpcLimits = LONG, processors: int = 8
) -> Any:
    async def run() -> Any:
        readers = Readers(limits, processors)
        try:
            return await asyncio.wait_for(test(readers), 60)
        finally:
            readers.close()

    return asyncio.run(run())


def endless() -> None:
    """A call that never ends by itself."""
    while True:
        checkpoint()
        time.sleep(0.001)


def start(
    readers: Readers, job: Callable[[], Any], client: ConnectedClient, limits: RpcLimits = LONG
) -> asyncio.Task[Any]:
    async def run() -> Any:
        with client.working(limits):
            return await readers.run(job)

    return asyncio.ensure_future(run())


async def until(condition: Callable[[], bool]) -> None:
    while not condition():
        await asyncio.sleep(0.002)


def test_a_client_with_much_to_do_does_not_come_before_one_with_little() -> None:
    async def test(readers: Readers) -> list[str]:
        order: list[str] = []
        release = threading.Event()
        greedy, modest = ConnectedClient(), ConnectedClient()
        greedy.share.cost = modest.share.cost = 0.0  # both are known
        first = start(readers, release.wait, greedy)
        many = [start(readers, lambda: order.append("greedy"), greedy) for _ in range(200)]
        await asyncio.sleep(0)
        one = start(readers, lambda: order.append("modest"), modest)
        await asyncio.sleep(0.01)
        release.set()
        await asyncio.gather(first, one, *many)
        return order

    order = with_readers(test, RpcLimits(call_max_s=600.0, reader_threads=1))
    assert order.index("modest") <= 1


def test_long_calls_never_take_all_threads_and_all_come_to_their_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "LANES_S", (0.001, 0.001, 0.002, math.inf))

    async def test(readers: Readers) -> None:
        release = threading.Event()

        def long() -> str:
            while not release.is_set():
                checkpoint()
                time.sleep(0.0001)
            return "done"

        many = [start(readers, long, ConnectedClient()) for _ in range(9)]
        await until(lambda: readers.status()["long"] == 2 and readers.status()["waiting"] >= 6)
        for _ in range(20):
            assert await start(readers, lambda: "short", ConnectedClient()) == "short"
        assert readers.status()["long"] == 2
        assert readers.status()["putBack"] >= 6
        assert not any(task.done() for task in many)
        release.set()
        assert await asyncio.gather(*many) == ["done"] * 9
        assert readers.status()["busy"] == readers.status()["waiting"] == 0

    with_readers(test)


def test_a_client_with_short_calls_does_not_queue_behind_those_nobody_knows(monkeypatch: pytest.MonkeyPatch) -> None:
    """However long they have waited: all other threads may be on them, the last one may not."""
    monkeypatch.setattr(module, "WEIGHT", 0.0)

    async def test(readers: Readers) -> None:
        known, others = ConnectedClient(), [ConnectedClient() for _ in range(32)]
        known.share.cost = 0.0
        gone = [start(readers, endless, other) for other in others]
        await until(lambda: readers.status()["busy"] == 5)
        for _ in range(20):
            assert await start(readers, lambda: "short", known) == "short"
            known.share.cost = 0.0  # a busy machine may set a thread aside in the middle of it
        assert readers.status()["waiting"] >= 27 - readers.status()["busy"]
        for other in others:
            other.leave()
        await asyncio.gather(*gone, return_exceptions=True)

    with_readers(test)


def test_a_short_call_is_answered_beside_as_many_endless_ones_as_may_run(monkeypatch: pytest.MonkeyPatch) -> None:
    """On two processors three threads at most are on them, one in each lane, and others are there for what is light."""
    monkeypatch.setattr(module, "LANES_S", (0.001, 0.001, 0.002, math.inf))

    async def test(readers: Readers) -> None:
        running, most, lock = 0, 0, threading.Lock()

        def busy() -> None:
            nonlocal running, most
            with lock:
                running += 1
                most = max(most, running)
            try:
                endless()
            finally:
                with lock:
                    running -= 1

        others = [ConnectedClient() for _ in range(20)]
        for other in others:
            other.share.cost = 0.01
        gone = [start(readers, busy, other) for other in others]
        await until(lambda: readers.status()["long"] == 1 and readers.status()["putBack"] >= 10)
        for _ in range(10):
            known = ConnectedClient()
            known.share.cost = 0.0
            assert await start(readers, lambda: "short", known) == "short"
        assert not any(task.done() for task in gone)
        assert readers.status()["long"] == 1
        assert most <= 3
        for other in others:
            other.leave()
        await asyncio.gather(*gone, return_exceptions=True)

    with_readers(test, processors=2)


def test_one_client_alone_has_all_processors_for_its_calls(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "LANES_S", (0.0, math.inf, math.inf, math.inf))  # all are short

    async def test(readers: Readers) -> None:
        client = ConnectedClient()
        gone = [start(readers, endless, client) for _ in range(6)]
        await until(lambda: readers.status()["busy"] == 2)
        client.leave()
        await asyncio.gather(*gone, return_exceptions=True)

    with_readers(test, processors=2)


def test_what_a_client_asked_ends_with_it() -> None:
    async def test(readers: Readers) -> None:
        gone, there = ConnectedClient(), ConnectedClient()
        tasks = [start(readers, endless, gone) for _ in range(9)]
        await until(lambda: readers.status()["busy"] == 5)
        gone.leave()
        for ended in await asyncio.gather(*tasks, return_exceptions=True):
            assert isinstance(ended, ClientGone)
        assert readers.status()["busy"] == readers.status()["waiting"] == 0
        with pytest.raises(ClientGone):
            await start(readers, endless, gone)
        assert await start(readers, lambda: 1, there) == 1

    with_readers(test)


def test_a_stream_of_a_client_ends_alone() -> None:
    client, limits = ConnectedClient(), RpcLimits()
    first, second = Work(limits, client, 0), Work(limits, client, 4)
    client.begin(first)
    client.begin(second)
    client.leave(4)
    assert first.reason is None
    assert isinstance(second.reason, ClientGone)
    assert not client.is_gone


def test_a_call_ends_at_its_time_and_those_that_wait_with_it() -> None:
    limits = RpcLimits(call_max_s=0.05)

    async def test(readers: Readers) -> None:
        client = ConnectedClient()
        with client.working(limits) as work:  # as the calls of a batch
            calls = [asyncio.ensure_future(readers.run(endless, work)) for _ in range(12)]
            for ended in await asyncio.gather(*calls, return_exceptions=True):
                assert isinstance(ended, CallTimeout)
                assert str(ended) == "execution aborted (timeout = 0.05s)"
        assert readers.status()["busy"] == readers.status()["waiting"] == 0
        assert await start(readers, lambda: 1, client) == 1

    with_readers(test, limits)


def test_a_call_ends_when_it_holds_too_much() -> None:
    class Hoard:
        def halt(self) -> None: ...

        def held_bytes(self) -> int:
            return 2_000

    def hoard() -> None:
        interruption = current()
        assert interruption is not None
        interruption.enter(Hoard())
        endless()

    limits = RpcLimits(call_max_s=600.0, call_size_max_bytes=1_000)

    async def test(readers: Readers) -> None:
        with pytest.raises(CallTooLarge, match="2000 bytes of 1000"):
            await start(readers, hoard, ConnectedClient(), limits)

    with_readers(test, limits)


def test_an_answer_is_refused_while_it_is_made() -> None:
    made: list[int] = []

    def answer() -> None:
        for part in range(1_000):
            spend(100)
            made.append(part)

    limits = RpcLimits(answer_size_max_bytes=1_000)

    async def test(readers: Readers) -> None:
        with pytest.raises(LimitExceeded, match="the answer exceeds 1000 bytes"):
            await start(readers, answer, ConnectedClient(), limits)

    with_readers(test, limits)
    assert len(made) == 10


def test_a_thread_that_dies_is_replaced_and_its_job_answered(monkeypatch: pytest.MonkeyPatch) -> None:
    def end(*_: object) -> None:
        raise SystemExit

    async def test(readers: Readers) -> None:
        monkeypatch.setattr(Readers, "_execute", end)
        died = start(readers, lambda: 1, ConnectedClient())
        await until(lambda: readers.status()["replaced"] == 1)
        monkeypatch.undo()
        with pytest.raises(InternalError, match="reader thread ended"):
            await died
        assert await asyncio.gather(*(start(readers, lambda: 2, ConnectedClient()) for _ in range(8))) == [2] * 8
        assert readers.status()["busy"] == 0

    with_readers(test, RpcLimits(reader_threads=1))


def test_the_queue_has_an_end() -> None:
    async def test(readers: Readers) -> None:
        release = threading.Event()
        waiting = [start(readers, release.wait, ConnectedClient()) for _ in range(3)]
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        with pytest.raises(NodeBusy):
            await readers.run(lambda: 1)
        release.set()
        await asyncio.gather(*waiting)

    with_readers(test, RpcLimits(call_max_s=600.0, reads_queued_max=3))


def test_large_things_have_one_budget_and_small_ones_always_pass() -> None:
    held = Held(1_000_000)
    first, second, small = held.holding(), held.holding(), held.holding()
    first.hold(700_000)
    with pytest.raises(NodeBusy):
        second.hold(400_000)
    small.hold(SMALL_BYTES)
    assert held.bound() == (700_000, 1_000_000)
    first.hold(200_000)  # the answer instead of the body
    second.hold(400_000)
    first.release()
    second.release()
    second.release()
    assert held.used == 0


def test_work_ends_after_the_time_that_it_asked_for_itself() -> None:
    work = Work(RpcLimits(call_max_s=5.0))
    interruption = work.begin(100.0)
    interruption.allow(0.2)
    for now in (101.0, 101.1):  # it counts from the first look
        work.look(now)
        assert work.reason is None
    interruption.allow(0.2)  # for the next transaction of a block
    work.look(101.3)
    assert work.reason is None
    work.look(101.6)
    assert isinstance(work.reason, CallTimeout)
    assert str(work.reason) == "execution aborted (timeout = 0.2s)"
    assert interruption.reason is work.reason


def test_nobody_is_allowed_more_time_than_a_request_has() -> None:
    work = Work(RpcLimits(call_max_s=5.0))
    work.begin(100.0).allow(3_600.0)
    work.look(104.9)
    assert work.reason is None
    work.look(105.1)
    assert isinstance(work.reason, CallTimeout)
