"""The chain's clock: a step forwards counts from the newest block's time, however that came about."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from node.engine.requests import Cheat, Mine, WriterRequest
from tests.durability.nodes import START, LocalNode


class Chain:
    """A node whose wall clock stands still."""

    def __init__(self, data_dir: Path) -> None:
        self.local = LocalNode(data_dir)

    def ask(self, make: Callable[[Callable[[object], None]], WriterRequest]) -> Any:
        self.local.clock.seconds = START
        self.local.clock.seconds -= 1  # `LocalNode.ask` adds one
        (answer,) = self.local.ask(make)
        if isinstance(answer, Exception):
            raise answer
        return answer

    def cheat(self, name: str, *arguments: object) -> Any:
        return self.ask(lambda done: Cheat(done, name, arguments))

    def mine(self, count: int = 1, interval: int = 0) -> int:
        """Seal blocks; the newest one's timestamp."""
        self.ask(lambda done: Mine(done, count, interval))
        return self.local.store.head.timestamp

    def restart(self) -> None:
        self.local.close()
        self.local = LocalNode(self.local.data_dir)

    def revert(self) -> None:
        """There and back again."""
        snapshot = self.cheat("snapshot")
        self.mine(5, 60)
        assert self.cheat("revert", snapshot)

    def set_next(self) -> None:
        self.cheat("set_next_timestamp", self.local.store.head.timestamp + 5_000)
        self.mine()

    def set_interval(self) -> None:
        self.cheat("set_interval", 100)
        self.mine(7)
        self.cheat("set_interval", None)


AHEAD: dict[str, Callable[[Chain], object]] = {
    "blocks within a second": lambda chain: chain.mine(50),
    "blocks with an interval": lambda chain: chain.mine(50, 60),
    "a named timestamp": Chain.set_next,
    "fixed seconds between blocks": Chain.set_interval,
    "the clock set back": lambda chain: (chain.mine(3, 1_000), chain.cheat("set_time", START - 5)),
}
MEANWHILE: dict[str, Callable[[Chain], None]] = {
    "nothing": lambda _: None,
    "restart": Chain.restart,
    "revert": Chain.revert,
}


@pytest.fixture
def chain(tmp_path: Path) -> Iterator[Chain]:
    chain = Chain(tmp_path / "data")
    yield chain
    chain.local.close()


@pytest.mark.parametrize("ahead", AHEAD)
@pytest.mark.parametrize("meanwhile", MEANWHILE)
def test_a_step_forwards_is_one_for_the_next_block(chain: Chain, ahead: str, meanwhile: str) -> None:
    AHEAD[ahead](chain)
    MEANWHILE[meanwhile](chain)
    before = chain.local.store.head.timestamp
    chain.cheat("increase_time", 1_000)
    chain.cheat("increase_time", 500)
    assert chain.mine() == before + 1_500
    after = chain.local.store.head.timestamp
    assert chain.cheat("set_time", after + 70) == 70
    assert chain.mine() == after + 70
    chain.cheat("set_next_timestamp", after + 71)
    assert chain.mine() == after + 71
    chain.cheat("increase_time", 1_000)
    assert chain.mine() == after + 1_071


def test_blocks_with_an_interval_move_the_clock(chain: Chain) -> None:
    """As in Hardhat and anvil; before, the blocks after them came a second apart until the clock had caught up."""
    before = chain.mine(10, 60)
    chain.local.clock.seconds += 30
    (answer,) = chain.local.ask(Mine)
    assert isinstance(answer, int)
    assert chain.local.store.head.timestamp == before + 31
