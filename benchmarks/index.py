"""What the index costs, in the daemon and beside it: processor time a transaction, and that of a lookup.

    python -m benchmarks.index [--transactions 20000] [--rounds 5]

Blocks of one transfer are indexed anew in each round, by this process and by one of its own, in turn; the index must
hold the same rows then. They come from memory, as those that a node has just made. Lookups are of all transactions in
a shuffled order, each answer compared with the chain.
"""

from __future__ import annotations

import argparse
import random
import sqlite3
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from benchmarks.memory import MIB, private_bytes
from benchmarks.recovery import cpu_seconds, grow
from chain.types import Hash32
from node import resources
from node.indexing.remote import RemoteWriter
from storage.index.follower import IndexFollower, rows_of
from storage.index.index import Index
from storage.index.rows import BlockRows, RowWriter
from storage.index.sql import SqlWriter
from storage.store import Store
from tests.durability.nodes import LocalNode


def micros(seconds: list[float], count: int) -> str:
    """The median for each of ``count``, with the extremes."""
    each = sorted(1e6 * value / count for value in seconds)
    return f"{statistics.median(each):.1f} us ({each[0]:.1f} to {each[-1]:.1f})"


def indexed(
    store: Store, remembered: list[BlockRows], path: Path, writer: RowWriter
) -> tuple[Index, float, float]:
    """A new index of the whole chain; processor time of this process and of the other one, seconds."""
    migrations = resources.path("migrations")
    index = Index.open(path, migrations, writer)
    index.prepare()
    other = writer.status().get("pid")
    follower = IndexFollower(index, store.chain)
    for block in remembered:
        follower.remember(block)
    here, there = time.process_time(), cpu_seconds(other) if other else 0.0
    follower.catch_up(lambda: (store.head.number, store.last_lsn))
    here = time.process_time() - here
    return index, here, cpu_seconds(other) - there if other else 0.0


def remembered_of(store: Store) -> Iterator[BlockRows]:
    """The rows of every block."""
    for number in range(store.head.number + 1):
        block, receipts = store.chain.block(number), store.chain.receipts(number)
        senders = store.chain.senders(number)
        assert block is not None
        assert receipts is not None
        assert senders is not None
        yield rows_of(number, block.hash, list(zip(block.transactions, receipts, senders, strict=True)))


def rows(path: Path) -> list[str]:
    """Everything in a database."""
    with sqlite3.connect(path) as connection:
        return sorted(connection.iterdump())


def lookups(index: Index, places: dict[Hash32, tuple[int, int]]) -> list[float]:
    """Seconds of processor time for looking everything up, five times over."""
    found = []
    hashes = list(places)
    for _ in range(5):
        random.Random(1).shuffle(hashes)
        begin = time.process_time()
        answers = [index.transaction(transaction_hash) for transaction_hash in hashes]
        found.append(time.process_time() - begin)
        assert answers == [places[transaction_hash] for transaction_hash in hashes]
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--transactions", type=int, default=20_000)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    migrations = resources.path("migrations")
    writers: dict[str, Callable[[Path], RowWriter]] = {
        "by this process": lambda path: SqlWriter(path, migrations),
        "by a process of its own": lambda path: RemoteWriter(path, migrations, 30.0),
    }
    with tempfile.TemporaryDirectory() as folder:
        node = LocalNode(Path(folder) / "data")
        grow(node, options.transactions, node.secrets)
        blocks = list(remembered_of(node.store))
        places = {tx.hash: (block.number, at) for block in blocks for at, tx in enumerate(block.transactions)}
        times: dict[str, tuple[list[float], list[float]]] = {name: ([], []) for name in writers}
        paths = []
        for number in range(options.rounds):
            for name, make in writers.items():
                paths.append(Path(folder) / f"{number}-{len(paths)}.sqlite")
                index, here, there = indexed(node.store, blocks, paths[-1], writer := make(paths[-1]))
                times[name][0].append(here)
                times[name][1].append(there)
                if pid := writer.status().get("pid"):
                    memory = private_bytes(pid) / MIB
                if number + 1 < options.rounds:
                    index.close()
        assert rows(paths[-1]) == rows(paths[-2])
        print(f"{len(places)} transactions in {len(blocks)} blocks, processor time of each:")
        for name, (here_all, there_all) in times.items():
            beside = f", beside it {micros(there_all, len(places))}" if any(there_all) else ""
            print(f"  indexed {name}: here {micros(here_all, len(places))}{beside}")
        print(f"  looked up in this process: {micros(lookups(index, places), len(places))}")
        print(f"the other process: {memory:.1f} MiB private at the end")
        index.close()
        node.close()


if __name__ == "__main__":
    main()
