"""Many blocks asked for at once are sealed a few at a time: others are served between them, and a stop ends them."""

from __future__ import annotations

import queue
import threading
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import pytest

from chain.types import Address
from node.api.errors import NodeStopping
from node.engine.committer import Listeners
from node.engine.requests import Freeze, Mine, Submit
from node.engine.writer import BLOCKS_AT_ONCE
from tests.durability.nodes import LocalNode

LONG = 6 * BLOCKS_AT_ONCE
SECONDS = 60


@pytest.fixture
def begun() -> threading.Event:
    """Set by the first publication."""
    return threading.Event()


@pytest.fixture
def node(tmp_path: Path, begun: threading.Event) -> Iterator[LocalNode]:
    local = LocalNode(tmp_path / "d", listeners=Listeners(on_publish=lambda _: begun.set()))
    yield local
    if local.committer._threads[0].is_alive():
        local.committer.stop()
    local.close()


def test_others_are_served_while_many_blocks_are_mined(node: LocalNode) -> None:
    """``anvil_mine 10000`` kept every other request, checkpoints too, waiting for half a minute."""
    answers: queue.Queue[tuple[str, object]] = queue.Queue()
    candidate = node.transfer(0, Address(b"\x07" * 20))
    node.committer.put(Mine(lambda answer: answers.put(("mined", answer)), LONG))
    node.committer.put(Submit(lambda answer: answers.put(("sent", answer)), candidate, wait_mined=True))
    node.committer.put(Freeze(lambda answer: answers.put(("frozen", answer))))
    node.committer.start()
    found = [answers.get(timeout=SECONDS) for _ in range(3)]
    assert found[2][0] == "mined"
    assert ("sent", candidate.transaction.hash) in found[:2]
    assert node.store.head.number == LONG + 1 == found[2][1], "the transaction has a block of its own"


def test_a_stop_does_not_wait_for_the_rest(node: LocalNode, begun: threading.Event) -> None:
    """It took 24 seconds, and whoever had asked got no JSON."""
    answers: list[object] = []
    node.committer.put(Mine(answers.append, LONG))
    node.committer.put(Mine(answers.append, key="waits behind it"))
    node.committer.start()
    assert begun.wait(SECONDS)
    node.committer.stop()
    assert [type(answer) for answer in answers] == [NodeStopping] * 2
    assert 0 < node.store.head.number < LONG
    before = node.digest()
    node.close()
    again = LocalNode(node.data_dir)
    assert again.digest() == before
    assert again.mine("waits behind it") == node.store.head.number + 1
    again.close()


def test_a_key_used_again_meanwhile_gets_the_first_answer(node: LocalNode) -> None:
    answers: queue.Queue[object] = queue.Queue()
    for key in ("once", "once", "after"):
        node.committer.put(Mine(answers.put, BLOCKS_AT_ONCE + 1, key=key))
    node.committer.start()
    first, second, third = (answers.get(timeout=SECONDS) for _ in range(3))
    assert first == second == BLOCKS_AT_ONCE + 1
    assert third == 2 * (BLOCKS_AT_ONCE + 1)


def test_the_time_between_blocks_holds_over_the_pieces(node: LocalNode) -> None:
    answers: list[object] = []
    request = Mine(answers.append, 2 * BLOCKS_AT_ONCE, 100)
    node.committer.commit(node.committer.step([request]))
    while not answers:
        node.committer.commit(node.committer.step([]))
    stamps = [node.store.chain.header(number).timestamp for number in range(1, request.count + 1)]  # type: ignore[union-attr]
    assert {after - before for before, after in pairwise(stamps)} == {100}
