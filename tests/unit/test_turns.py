"""What holds the event loop is counted, by callback; a loop that is not measured is uvloop's own."""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from node.ops import slices
from node.ops.slices import LoopSlice
from node.ops.turns import MeteredLoop, TurnMeter, loop_status, new_loop

LIMIT_MS = 5.0


def hold() -> None:
    """Use more processor time than the limit."""
    end = time.thread_time() + 2 * LIMIT_MS / 1000
    while time.thread_time() < end:
        pass


def measured(work: Callable[[MeteredLoop], Coroutine[Any, Any, None]]) -> dict[str, Any]:
    loop = new_loop(LIMIT_MS)
    assert isinstance(loop, MeteredLoop)
    with asyncio.Runner(loop_factory=lambda: loop) as runner:
        runner.run(work(loop))
        found = loop_status(loop)
    assert found is not None
    return found


def slow(found: dict[str, Any], name: str) -> dict[str, Any]:
    """What was measured of a function, or of a task: of the step in which it held the loop longest."""
    told = [item for item in found["slow"] if item["name"].split(" > ")[0].rpartition(".<locals>.")[2] == name]
    return max(told, key=lambda item: (item["count"], item["blockedMost"]))


async def holding_inside() -> None:
    hold()


async def task_that_holds(_: MeteredLoop) -> None:
    await asyncio.sleep(0)
    await holding_inside()
    await asyncio.sleep(0)


async def timer_that_holds(loop: MeteredLoop) -> None:
    loop.call_later(0, hold)
    await asyncio.sleep(0.01)


async def callback_of_a_thread_that_holds(loop: MeteredLoop) -> None:
    held = asyncio.Event()
    await asyncio.to_thread(loop.call_soon_threadsafe, hold)
    loop.call_soon(held.set)
    await held.wait()


async def reader_that_holds(loop: MeteredLoop) -> None:
    ours, theirs = socket.socketpair()
    held = asyncio.Event()

    def readable() -> None:
        hold()
        loop.remove_reader(ours)
        held.set()

    with ours, theirs:
        loop.add_reader(ours, readable)
        theirs.send(b"x")
        await held.wait()


class Protocol(asyncio.Protocol):
    def data_received(self, data: bytes) -> None:
        hold()
        self.transport.write(data)

    def connection_made(self, transport: Any) -> None:
        self.transport = transport


async def protocol_that_holds(loop: MeteredLoop) -> None:
    server = await loop.create_server(Protocol, "127.0.0.1", 0)
    reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
    writer.write(b"x")
    assert await reader.read(1) == b"x"
    writer.close()
    server.close()


@pytest.mark.parametrize(
    ("work", "name"),
    [
        (task_that_holds, "task_that_holds"),
        (timer_that_holds, "hold"),
        (callback_of_a_thread_that_holds, "hold"),
        (reader_that_holds, "readable"),
        (protocol_that_holds, "Protocol.data_received"),
    ],
)
def test_who_holds_the_loop_is_named(work: Callable[[MeteredLoop], Coroutine[Any, Any, None]], name: str) -> None:
    found = measured(work)
    holder = slow(found, name)
    assert holder["count"] >= 1
    assert holder["cpuMost"] > LIMIT_MS
    assert found["callbacks"] == sum(found["cpu"]) == sum(found["elapsed"]) == sum(found["blocked"])
    assert 0 < found["turns"] <= found["callbacks"]


def test_waiting_is_distinguished_from_working() -> None:
    async def waits(_: MeteredLoop) -> None:
        await asyncio.sleep(0)
        time.sleep(4 * LIMIT_MS / 1000)

    holder = slow(measured(waits), "waits")
    assert holder["blockedCount"] >= 1
    assert holder["count"] == 0


def test_names_of_slow_callbacks_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("node.ops.turns.NAMES_MAX", 3)
    meter = TurnMeter(0.0)
    for number in range(10):
        meter._note(f"callback {number}", 1.0, 0.0)
    assert [item.name for item in meter.status().slow] == ["callback 0", "callback 1", "callback 2", "others"]


def test_a_loop_is_measured_only_on_demand() -> None:
    loop = new_loop(0.0)
    try:
        assert loop_status(loop) is None
    finally:
        loop.close()


def test_work_in_slices_lets_others_have_their_turn(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(slices, "SLICE_SECONDS", 0.0)
    order: list[str] = []

    async def work(name: str) -> None:
        turn = LoopSlice()
        for _ in range(3):
            order.append(name)
            await turn.rest()

    async def both() -> None:
        await asyncio.gather(work("a"), work("b"))

    asyncio.run(both())
    assert order == ["a", "b"] * 3
