"""The batched committer against py-trie's HexaryTrie on a 100,000-key trie: microseconds a key, and ratio.

Both tries get the same pairs and the same batches; roots are compared before anything is printed.
The per-block part runs over LevelDB with the node cache a running node has: none but the block cache.

    python benchmarks/trie.py [--keys 100000] [--batches 10] [--batch-size 1000]
"""

from __future__ import annotations

import argparse
import random
import statistics
import sys
import tempfile
import time
from pathlib import Path

sys.path[0] = str(Path(__file__).resolve().parent.parent)  # the folder of this file would hide py-trie

from trie import HexaryTrie  # type: ignore[attr-defined]  # noqa: E402

from chain.hashing import EMPTY_ROOT, keccak256  # noqa: E402
from storage.io.kv.engines import LEVELDB, open_store_at  # noqa: E402
from storage.io.kv.store import DiskStore  # noqa: E402
from storage.state.keys import ACCOUNT_NODE  # noqa: E402
from storage.state.trie import BranchCache, NodeMap, TrieCommitter  # noqa: E402

Updates = list[tuple[str, bytes]]


def account_values(rng: random.Random, count: int) -> list[bytes]:
    """Values of the length an RLP account has."""
    return [rng.randbytes(rng.randint(70, 80)) for _ in range(count)]


def commit_over_dict(
    stored: dict[str, bytes], branches: BranchCache, root: bytes, updates: Updates
) -> tuple[bytes, float]:
    """One commit over nodes in memory, written back; new root and seconds."""
    start = time.perf_counter()
    nodes: NodeMap = {}
    root = TrieCommitter(stored.get, nodes, branches).commit(root, updates)  # type: ignore[arg-type]
    for path, node in nodes.items():
        if node is None:
            del stored[path]
        else:
            stored[path] = node
    return root, time.perf_counter() - start


def sorted_updates(pairs: dict[bytes, bytes]) -> Updates:
    """Pairs as the committer takes them."""
    return sorted((key.hex(), value) for key, value in pairs.items())


def compare(
    rng: random.Random, keys: list[bytes], batches: int, batch_size: int
) -> tuple[dict[str, bytes], bytes]:
    """Print microseconds a key of both tries; returns the nodes and the root left behind."""
    stored: dict[str, bytes] = {}
    branches: BranchCache = {}
    pairs = dict(zip(keys, account_values(rng, len(keys)), strict=True))
    root, ours_build = commit_over_dict(stored, branches, EMPTY_ROOT, sorted_updates(pairs))
    theirs = HexaryTrie({}, prune=True)
    start = time.perf_counter()
    with theirs.squash_changes() as squashed:
        for key, value in pairs.items():
            squashed[key] = value
    theirs_build = time.perf_counter() - start
    if root != theirs.root_hash:
        raise SystemExit("roots differ after building")

    ours_seconds = theirs_seconds = 0.0
    touched = 0
    for _ in range(batches):
        sample = rng.sample(keys, batch_size)
        batch = dict(zip(sample, account_values(rng, batch_size), strict=True))
        batch |= dict.fromkeys(sample[: batch_size // 10], b"")
        fresh = [rng.randbytes(32) for _ in range(batch_size // 10)]
        batch |= dict(zip(fresh, account_values(rng, len(fresh)), strict=True))
        keys += fresh
        touched += len(batch)
        root, seconds = commit_over_dict(stored, branches, root, sorted_updates(batch))
        ours_seconds += seconds
        start = time.perf_counter()
        with theirs.squash_changes() as squashed:
            for key, value in batch.items():
                if value:
                    squashed[key] = value
                elif key in squashed:
                    del squashed[key]
        theirs_seconds += time.perf_counter() - start
        if root != theirs.root_hash:
            raise SystemExit("roots differ after a batch")
    count = len(pairs)
    print(
        f"roots equal after building {count} keys and after {batches} batches of {batch_size} + 10 % inserts"
    )
    print(f"{'':8}{'committer':>12}{'HexaryTrie':>12}{'ratio':>8}")
    for name, ours, other, number in (
        ("build", ours_build, theirs_build, count),
        ("batches", ours_seconds, theirs_seconds, touched),
    ):
        print(f"{name:8}{ours / number * 1e6:>9.1f} us{other / number * 1e6:>9.1f} us{other / ours:>7.1f}x")
    return stored, root


def per_block(database: DiskStore, keys: list[bytes], root: bytes, rng: random.Random) -> None:
    """Print the cost of a block's commit over LevelDB for few and many touched keys."""

    def load(path: str) -> bytes | None:
        return database.get(ACCOUNT_NODE + path.encode())

    for touched in (5, 500):
        for overlay in ("cold", "warm"):
            seconds: list[float] = []
            nodes: NodeMap = {}
            branches: BranchCache = {}
            for _ in range(30):
                if overlay == "cold":
                    nodes, branches, current = {}, {}, root
                elif not seconds:
                    current = root
                updates = sorted_updates(
                    dict(zip(rng.sample(keys, touched), account_values(rng, touched), strict=True))
                )
                start = time.perf_counter()
                current = TrieCommitter(load, nodes, branches).commit(current, updates)  # type: ignore[arg-type]
                seconds.append(time.perf_counter() - start)
            middle = statistics.median(seconds)
            print(
                f"block of {touched:3} keys over LevelDB, {overlay} overlay: {middle * 1e6:8.0f} us, "
                f"{middle / touched * 1e6:5.1f} us a key"
            )


def main() -> None:
    """Run both parts."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--keys", type=int, default=100_000)
    options.add_argument("--batches", type=int, default=10)
    options.add_argument("--batch-size", type=int, default=1_000)
    arguments = options.parse_args()
    rng = random.Random(1)
    first_keys: list[bytes] = [keccak256(n.to_bytes(4, "big")) for n in range(arguments.keys)]
    stored, root = compare(rng, list(first_keys), arguments.batches, arguments.batch_size)
    with tempfile.TemporaryDirectory() as directory:
        database = open_store_at(Path(directory), LEVELDB)
        database.write({ACCOUNT_NODE + path.encode(): node for path, node in stored.items()}, ())
        del stored
        per_block(database, first_keys, root, rng)
        database.close()


if __name__ == "__main__":
    main()
