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
from node.engine.pipeline import BLOCKS_AT_ONCE, Pipeline
from node.engine.requests import Freeze, Mine, Submit
from tests.durability.nodes import LocalNode

LONG = 6 * BLOCKS_AT_ONCE
SECONDS = 60


@pytest.fixture
def node(tmp_path: Path) -> Iterator[LocalNode]:
    local = LocalNode(tmp_path / "d")
    yield local
    local.close()


@pytest.fixture
def pipeline(node: LocalNode) -> Iterator[Pipeline]:
    running = Pipeline(node.ledger, node.clock, on_fault=lambda _: None)
    yield running
    if running._threads[0].is_alive():
        running.stop()


def test_others_are_served_while_many_blocks_are_mined(node: LocalNode, pipeline: Pipeline) -> None:
    """``anvil_mine 10000`` kept every other request, checkpoints too, waiting for half a minute."""
    answers: queue.Queue[tuple[str, object]] = queue.Queue()
    candidate = node.transfer(0, Address(b"\x07" * 20))
    pipeline.put(Mine(lambda answer: answers.put(("mined", answer)), LONG))
    pipeline.put(Submit(lambda answer: answers.put(("sent", answer)), candidate, wait_mined=True))
    pipeline.put(Freeze(lambda answer: answers.put(("frozen", answer))))
    pipeline.start()
    found = [answers.get(timeout=SECONDS) for _ in range(3)]
    assert found[2][0] == "mined"
    assert ("sent", candidate.transaction.hash) in found[:2]
    assert node.store.head.number == LONG + 1 == found[2][1], "the transaction has a block of its own"


def test_a_stop_does_not_wait_for_the_rest(node: LocalNode, pipeline: Pipeline) -> None:
    """It took 24 seconds, and whoever had asked got no JSON."""
    begun, answers = threading.Event(), []
    pipeline.on_publish = begun.set
    pipeline.put(Mine(answers.append, LONG))
    pipeline.put(Mine(answers.append, key="waits behind it"))
    pipeline.start()
    assert begun.wait(SECONDS)
    pipeline.stop()
    assert [type(answer) for answer in answers] == [NodeStopping] * 2
    assert 0 < node.store.head.number < LONG
    before = node.digest()
    node.close()
    again = LocalNode(node.data_dir)
    assert again.digest() == before
    assert again.mine("waits behind it") == node.store.head.number + 1
    again.close()


def test_a_key_used_again_meanwhile_gets_the_first_answer(node: LocalNode, pipeline: Pipeline) -> None:
    answers: queue.Queue[object] = queue.Queue()
    for key in ("once", "once", "after"):
        pipeline.put(Mine(answers.put, BLOCKS_AT_ONCE + 1, key=key))
    pipeline.start()
    first, second, third = (answers.get(timeout=SECONDS) for _ in range(3))
    assert first == second == BLOCKS_AT_ONCE + 1
    assert third == 2 * (BLOCKS_AT_ONCE + 1)


def test_the_time_between_blocks_holds_over_the_pieces(node: LocalNode) -> None:
    request = Mine(lambda _: None, 2 * BLOCKS_AT_ONCE, 100)
    while request.sealed < request.count:
        node.pipeline.commit(node.pipeline.turn([request]))
    stamps = [node.store.chain.header(number).timestamp for number in range(1, request.count + 1)]  # type: ignore[union-attr]
    assert {after - before for before, after in pairwise(stamps)} == {100}
