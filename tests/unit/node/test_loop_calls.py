"""What other threads have for the event loop comes with one wake-up a group, in order, and nothing of it is lost."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from chain.types import Address
from node.api.errors import NodeStopping, WriterBusy
from node.engine import committer
from node.engine.loop_calls import LoopCalls
from node.engine.outbox import Outbox
from node.engine.pool import PooledTransaction
from node.engine.requests import Mine, Submit, WriterRequest
from tests.durability.nodes import LocalNode


class CountingLoop(asyncio.SelectorEventLoop):
    """Counts how often other threads wake it."""

    wakes = 0

    def call_soon_threadsafe(self, callback: Any, *args: Any, **kwargs: Any) -> asyncio.Handle:  # type: ignore[override]
        self.wakes += 1
        return super().call_soon_threadsafe(callback, *args, **kwargs)


def test_calls_of_a_group_come_in_order_with_one_wake_up() -> None:
    loop, made = CountingLoop(), []
    calls = LoopCalls()

    async def main() -> None:
        calls.bind()
        finished = asyncio.Event()

        def group() -> None:
            for number in range(100):
                calls.add(made.append, number)
            calls.add(finished.set)
            calls.wake()
            calls.wake()  # may find nothing that waits

        thread = threading.Thread(target=group)
        thread.start()
        await finished.wait()
        thread.join()

    loop.run_until_complete(main())
    loop.close()
    assert made == list(range(100))
    assert loop.wakes <= 2


def test_a_call_that_fails_does_not_keep_the_others_back() -> None:
    loop, made, failures = CountingLoop(), [], []
    loop.set_exception_handler(lambda _, context: failures.append(context["exception"]))
    calls = LoopCalls()

    async def main() -> None:
        calls.bind()
        finished = asyncio.Event()
        calls.add(made.append, 1)
        calls.add(int, "no number")
        calls.add(made.append, 2)
        calls.add(finished.set)
        calls.wake()
        await finished.wait()

    loop.run_until_complete(main())
    loop.close()
    assert made == [1, 2]
    assert [type(failure) for failure in failures] == [ValueError]


def test_nothing_wakes_a_loop_that_is_not_bound_or_has_no_calls() -> None:
    calls = LoopCalls()
    calls.wake()
    loop = CountingLoop()

    async def main() -> None:
        calls.bind()
        calls.wake()

    loop.run_until_complete(main())
    loop.close()
    assert loop.wakes == 0


def test_the_answers_of_a_turn_wake_the_loop_once(tmp_path: Path) -> None:
    node, loop = LocalNode(tmp_path / "d"), CountingLoop()

    def submit(candidate: PooledTransaction, done: Callable[[object], None]) -> WriterRequest:
        return Submit(done, candidate)

    candidates = [node.transfer(0, Address(b"\x55" * 20), nonce=nonce) for nonce in range(20)]

    async def main() -> list[object]:
        taken: list[WriterRequest] = []
        outbox = Outbox(taken.extend, node.publications.calls)
        asked = [asyncio.ensure_future(outbox.ask(partial(submit, candidate))) for candidate in candidates]
        while not taken:
            await asyncio.sleep(0)
        await asyncio.to_thread(lambda: node.committer.commit(node.committer.step(taken)))
        return await asyncio.gather(*asked)

    answers = loop.run_until_complete(main())
    assert answers == [candidate.transaction.hash for candidate in candidates]
    woken = loop.wakes
    loop.close()
    node.close()
    assert woken <= 2, "the turn's, and the one of to_thread"


def test_requests_that_are_not_taken_are_answered(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(committer, "INBOX_MAX", 3)
    node = LocalNode(tmp_path / "d")
    answers: dict[int, object] = {}

    def mines(*numbers: int) -> list[WriterRequest]:
        return [Mine(partial(answers.setdefault, number)) for number in numbers]

    node.committer.put_all(mines(0, 1, 2, 3, 4))
    assert {number: type(answer) for number, answer in answers.items()} == {3: WriterBusy, 4: WriterBusy}
    node.committer.start()
    node.committer.stop()
    assert [answers[number] for number in range(3)] == [1, 2, 3]
    node.committer.put_all(mines(5))
    assert isinstance(answers[5], NodeStopping)
    node.close()
