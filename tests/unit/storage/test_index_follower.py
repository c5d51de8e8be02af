"""Behind the head: what waits for the index, and what waits for nothing, whatever the index's writer does."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest

from chain.blocks import Block
from chain.receipts import Receipt
from chain.types import Hash32
from storage.blocks.chaindata import ChainData
from storage.blocks.logs import LogQuery, logs_of
from storage.errors import IndexBehind, IndexUnavailable
from storage.index import follower as following
from storage.index import lookup as looking
from storage.index.follower import BLOCKS_PER_TRANSACTION, IndexFollower, rows_of
from storage.index.index import Index
from storage.index.lookup import IndexLookup
from storage.index.rows import BlockRows, IndexWatermark
from storage.index.sql import SqlWriter
from tests.paths import REPO
from tests.simulation.simkv import SimKv
from tests.unit.storage.chains import make_chain
from tests.unit.storage.test_index import with_senders

MIGRATIONS = REPO / "migrations"
NOBODY = Hash32(b"\xee" * 32)


class Gate(SqlWriter):
    """Writes when it is let, as a process on a busy machine."""

    def __init__(self, path: Path) -> None:
        super().__init__(path, MIGRATIONS)
        self.open = threading.Event()
        self.open.set()
        self.at_the_gate = threading.Event()
        self.failures = 0

    def write(self, blocks: Sequence[BlockRows], lsn: int) -> IndexWatermark:
        self.at_the_gate.set()
        assert self.open.wait(30)
        if self.failures:
            self.failures -= 1
            raise IndexUnavailable("a test said so")
        return super().write(blocks, lsn)


class Clock:
    seconds = 0.0

    def __call__(self) -> float:
        return self.seconds


class Ground:
    """A chain, its index, and who feeds it."""

    def __init__(self, place: Path) -> None:
        self.path = place / "index.sqlite"
        self.chain, self.clock, self.writer = ChainData(SimKv()), Clock(), Gate(self.path)
        self.lsn = 0
        self.follower = self.follow()

    def follow(self) -> IndexFollower:
        """As the next process would."""
        self.follower = IndexFollower(Index.open(self.path, MIGRATIONS, self.writer), self.chain, self.clock)
        self.lookup = IndexLookup(self.follower, self.chain, self.clock)
        return self.follower

    def add(
        self, blocks: Sequence[tuple[Block, Sequence[Receipt]]], remember: Callable[[BlockRows], None] | None = None
    ) -> None:
        """Blocks join the chain."""
        for block, receipts in blocks:
            sent = with_senders(block, receipts)
            self.chain.add(block, receipts, [sender for _, _, sender in sent])
            (remember or self.follower.remember)(rows_of(block.header.number, block.hash, sent))
            self.lsn += 1

    def catch_up(self) -> int:
        return self.follower.catch_up(lambda: (self.chain.head, self.lsn))

    def back_to(self, number: int) -> None:
        self.lsn += 1
        self.follower.rewind(number, self.lsn, lambda: self.chain.rewind(number))

    def check(self) -> None:
        """Every transaction and every log is where the chain has it; nothing else is found."""
        expected = []
        for number in range(self.chain.head + 1):
            block = self.chain.block(number)
            assert block is not None
            for index, transaction in enumerate(block.transactions):
                assert self.place(transaction.hash) == (number, index)
            expected += logs_of(self.chain, number)
        assert self.lookup.logs(LogQuery(0, self.chain.head)) == expected
        assert self.place(NOBODY) is None

    def place(self, transaction_hash: Hash32, *, waits: bool = False) -> tuple[int, int] | None:
        return self.lookup.transaction_place(transaction_hash, lambda _: waits)


@pytest.fixture
def ground(tmp_path: Path) -> Iterator[Ground]:
    made = Ground(tmp_path)
    yield made
    made.writer.open.set()
    made.follower.close()


CHAIN, OTHER = make_chain(24, 1, 3), make_chain(24, 2, 3)


def other_after(number: int, length: int) -> list[tuple[Block, Sequence[Receipt]]]:
    """Blocks of another history that may follow a block."""
    return list(OTHER[number + 1 : number + 1 + length])


def test_a_rewind_waits_for_no_writer_and_what_it_wrote_is_not_shown(ground: Ground) -> None:
    ground.add(CHAIN[:6])
    ground.catch_up()
    ground.add(CHAIN[6:10])
    ground.writer.at_the_gate.clear()
    ground.writer.open.clear()
    done: list[int] = []
    job = threading.Thread(target=lambda: done.append(ground.catch_up()))
    job.start()
    assert ground.writer.at_the_gate.wait(30)
    ground.back_to(3)
    ground.check()
    ground.add(other_after(3, 2))
    ground.check()
    ground.writer.open.set()
    job.join(30)
    assert done == [3], "block 3 once more, because the database was ahead, and the two that followed it"
    assert ground.follower.reached == ground.chain.head == 5
    ground.check()
    assert all(ground.place(transaction.hash) is None for block, _ in CHAIN[4:10] for transaction in block.transactions)
    assert ground.follower.index.watermark() == IndexWatermark(ground.lsn, 5, ground.chain.hash_of(5))


@pytest.mark.parametrize("back", range(0, 12, 2))
def test_rewinds_while_the_writer_is_away_and_another_start(ground: Ground, back: int) -> None:
    """The database stays as it was before the rewind; the next start has no record of the rewind to replay."""
    ground.add(CHAIN[:9])
    ground.catch_up()
    ground.add(CHAIN[9:12])
    ground.writer.failures = 1
    with pytest.raises(IndexUnavailable):
        ground.catch_up()
    ground.back_to(back)
    ground.add(other_after(back, 3))
    ground.back_to(back + 1)
    ground.check()
    assert ground.follower.is_due(1e9)
    ground.follower.close()
    ground.follow().rewind_to_chain()
    assert ground.follower.reached <= back
    ground.check()
    ground.catch_up()
    ground.check()
    assert ground.follower.reached == ground.chain.head


def test_a_rewind_alone_is_written_down_too(ground: Ground) -> None:
    ground.add(CHAIN[:9])
    ground.catch_up()
    ground.back_to(4)
    ground.catch_up()
    mark = ground.follower.index.watermark()
    assert mark is not None
    assert (mark.block, mark.block_hash) == (4, ground.chain.hash_of(4))
    assert not ground.follower.is_due(0.0)
    ground.follower.close()
    ground.follow().rewind_to_chain()
    assert ground.follower.reached == 4, "nothing has to be built again"
    ground.check()


def test_what_is_due_and_when(ground: Ground) -> None:
    follower, clock = ground.follower, ground.clock
    empty = make_chain(BLOCKS_PER_TRANSACTION + 3, 1, 0)
    ground.add(empty[:BLOCKS_PER_TRANSACTION - 1])
    clock.seconds = 1e6
    assert not follower.is_due(5.0), "blocks without transactions wait for more"
    ground.add(empty[BLOCKS_PER_TRANSACTION - 1 :])
    assert follower.is_due(5.0)
    ground.catch_up()
    assert not follower.is_due(5.0)
    ground.back_to(0)
    ground.add(CHAIN[1:3])
    ground.catch_up()
    assert not follower.is_due(5.0)
    clock.seconds += 100
    ground.add(CHAIN[3:4])
    assert not follower.is_due(5.0)
    clock.seconds += 5
    assert follower.is_due(5.0)


def test_a_start_over_blocks_the_index_has_not_is_due_at_once_and_answers_from_the_blocks(ground: Ground) -> None:
    ground.add(CHAIN[:12], remember=lambda _: None)
    ground.follower.close()
    ground.follow().rewind_to_chain()
    assert ground.follower.is_rebuilding
    assert ground.follower.is_due(1e9)
    ground.check()
    ground.catch_up()
    assert not ground.follower.is_rebuilding
    ground.check()


def test_memory_of_a_writer_that_is_away_for_long_is_bounded(ground: Ground, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(following, "REMEMBERED_MAX", 10)
    ground.add(CHAIN)
    assert ground.follower.status()["inMemory"] <= 10
    assert ground.follower.is_rebuilding, "the others are searched"
    ground.check()
    ground.catch_up()
    assert ground.follower.status()["inMemory"] == 0
    ground.check()


def test_a_search_of_the_blocks_is_bounded_and_does_not_happen_for_what_waits(
    ground: Ground, monkeypatch: pytest.MonkeyPatch
) -> None:
    ground.add(CHAIN, remember=lambda _: None)
    ground.follow()
    monkeypatch.setattr(looking, "SEARCH_SECONDS", -1.0)
    newest = CHAIN[-1][0].transactions[0].hash
    assert ground.place(newest) == (23, 0)
    with pytest.raises(IndexBehind, match="from 23 on"):
        ground.place(NOBODY)
    assert ground.place(NOBODY, waits=True) is None
    ground.catch_up()
    assert ground.place(NOBODY) is None
