"""LevelDB beside RocksDB: writing, reading, size on disk, opening after a kill, memory; and a chain over each.

    python -m benchmarks.engines [--rounds 5] [--batches 300] [--transactions 20000] [--directory D]

Each round has a process for each engine, in turn. It writes batches of the size of a checkpoint, a fourth of each over
older keys, reads keys at random and all of them in order, and ends as ``kill -9`` would; another opens what is there.
Every value that is read is compared. Then a chain of transfers is made over each, and opened after such an end. CPU
time counts the engine's own threads.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import random
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from hashlib import blake2b
from pathlib import Path

import structlog

from node.ops.memory import resident_bytes, tune_malloc
from storage.io.kv import LAST_KEY
from storage.io.kv.engines import PACKAGES, open_store_at
from storage.io.kv.store import DiskStore

PAIRS = 1_500
"""In a batch: what 256 blocks of a few transfers change."""
READS = 30_000
CHECKED = 7


def main() -> None:
    """Parse, run the rounds, print medians and what RocksDB has of LevelDB's."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--batches", type=int, default=300)
    parser.add_argument("--transactions", type=int, default=20_000)
    parser.add_argument("--directory", type=Path)
    parser.add_argument("--part", nargs=2, help=argparse.SUPPRESS)
    wanted = parser.parse_args()
    if wanted.part:
        name, engine = wanted.part
        print(json.dumps(PARTS[name](engine, wanted)), flush=True)
        os._exit(0)  # nothing is closed
    found: dict[str, dict[str, list[float]]] = {}
    for number in range(wanted.rounds):
        for engine in list(PACKAGES)[:: 1 if number % 2 else -1]:
            with tempfile.TemporaryDirectory(dir=wanted.directory) as place:
                for name in PARTS:
                    for what, value in _part(name, engine, wanted, place).items():
                        found.setdefault(what, {}).setdefault(engine, []).append(value)
    print(f"| {wanted.rounds} rounds, medians | {' | '.join(PACKAGES)} | ratio |\n|---|{'---:|' * (len(PACKAGES) + 1)}")
    for what, values in found.items():
        level, rocks = (statistics.median(values[engine]) for engine in PACKAGES)
        print(f"| {what} | {level:,.2f} | {rocks:,.2f} | {rocks / level:.2f} |")


def _part(name: str, engine: str, wanted: argparse.Namespace, place: str) -> dict[str, float]:
    command = [
        sys.executable, "-m", "benchmarks.engines", "--part", name, engine, "--directory", place,
        "--batches", str(wanted.batches), "--transactions", str(wanted.transactions),
    ]  # fmt: skip
    answer: dict[str, float] = json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
    return answer


def _content(batches: int) -> tuple[list[dict[bytes, bytes]], dict[bytes, bytes]]:
    """The batches, and what they come to: keys like those of slots and trie nodes, values of 40 to 120 bytes."""
    rng = random.Random(1)
    written, known = [], dict[bytes, bytes]()
    keys: list[bytes] = []
    for _ in range(batches):
        fresh = [b"s" + rng.randbytes(rng.choice((20, 32, 52))) for _ in range(PAIRS * 3 // 4)]
        chosen = fresh + (rng.sample(keys, PAIRS // 4) if keys else [])
        batch = {key: rng.randbytes(rng.randrange(40, 120)) for key in chosen}
        keys += fresh
        known.update(batch)
        written.append(batch)
    return written, known


def store(engine: str, wanted: argparse.Namespace) -> dict[str, float]:
    """Write and read."""
    tune_malloc()
    batches, known = _content(wanted.batches)
    before = resident_bytes()["own"]
    kv = open_store_at(wanted.directory / "kv", engine)
    walls = []
    cpu = time.process_time()
    for batch in batches:
        begin = time.perf_counter()
        kv.write(batch, ())
        walls.append(time.perf_counter() - begin)
    writing = time.process_time() - cpu
    reading, iterating = _read(kv, known)
    memory = resident_bytes()["own"] - before
    walls.sort()
    return {
        "write, CPU us a pair": writing / (len(batches) * PAIRS) * 1e6,
        "batch of 1,500, p50 ms": walls[len(walls) // 2] * 1e3,
        "batch of 1,500, p99 ms": walls[-1 - len(walls) // 100] * 1e3,
        "get of a random key, CPU us": reading,
        "iterate, CPU us a pair": iterating,
        "private memory, MiB": memory / 2**20,
    }


def _read(kv: DiskStore, known: dict[bytes, bytes]) -> tuple[float, float]:
    """CPU microseconds of a random get, and of a pair iterated; wrong values end the run."""
    asked = random.Random(2).sample(sorted(known), READS)
    snapshot = kv.snapshot()
    begin = time.process_time()
    got = [snapshot.get(key) for key in asked]
    reading = time.process_time() - begin
    assert all(value == known[key] for key, value in zip(asked, got, strict=True))
    assert all(snapshot.get(key + b"x") is None for key in asked[::CHECKED])
    digest = blake2b()
    for key in sorted(known):
        digest.update(key + known[key])
    begin = time.process_time()
    pairs = list(snapshot.iterate(b"", LAST_KEY))
    iterating = time.process_time() - begin
    there = blake2b()
    for key, value in pairs:
        there.update(key + value)
    assert there.digest() == digest.digest()
    snapshot.close()
    return reading / READS * 1e6, iterating / len(pairs) * 1e6


def reopened(engine: str, wanted: argparse.Namespace) -> dict[str, float]:
    """Open after a kill, and the size that is left."""
    begin = time.perf_counter()
    kv = open_store_at(wanted.directory / "kv", engine)
    opening = time.perf_counter() - begin
    _, known = _content(wanted.batches)
    assert all(kv.get(key) == known[key] for key in random.Random(3).sample(sorted(known), READS // 10))
    kv.close()
    return {"open after a kill, ms": opening * 1e3, "size, bytes a pair": _size(wanted.directory / "kv") / len(known)}


def chain(engine: str, wanted: argparse.Namespace) -> dict[str, float]:
    """Transfers in blocks of 500, a checkpoint each 20 blocks."""
    from benchmarks.recovery import grow
    from tests.durability.nodes import LocalNode

    begin = time.process_time()
    node = LocalNode(wanted.directory / "d", engine=engine)
    grow(node, wanted.transactions, node.secrets)
    used = time.process_time() - begin
    (wanted.directory / "root").write_text(node.store.head.state_root.hex())
    return {"chain of transfers, CPU ms a thousand": used / wanted.transactions * 1e6}


def recovered(engine: str, wanted: argparse.Namespace) -> dict[str, float]:
    """Open the chain after a kill."""
    from tests.durability.nodes import LocalNode

    used, begin = time.process_time(), time.perf_counter()
    node = LocalNode(wanted.directory / "d")
    wall, used = time.perf_counter() - begin, time.process_time() - used
    assert node.store.head.state_root.hex() == (wanted.directory / "root").read_text()
    assert node.store.kv.engine_name == engine
    own = resident_bytes()["own"]
    node.store.kv.close()
    return {
        "recovery of the chain, ms": wall * 1e3,
        "recovery of the chain, CPU ms": used * 1e3,
        "state store of the chain, bytes a transaction": _size(wanted.directory / "d" / "state") / wanted.transactions,
        "private memory of the recovered node, MiB": own / 2**20,
    }


def _size(path: Path) -> int:
    return sum(file.stat().st_blocks * 512 for file in path.iterdir())


PARTS: dict[str, Callable[[str, argparse.Namespace], dict[str, float]]] = {
    "store": store, "reopened": reopened, "chain": chain, "recovered": recovered,
}  # fmt: skip
"""In this order, in the same directory; each in a process of its own that nothing closes."""


if __name__ == "__main__":
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.ERROR))
    main()
