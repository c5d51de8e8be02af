"""Whether a checkpoint makes the writer wait: the time of each answer without checkpoints, and with many.

    python -m benchmarks.checkpoint [--seconds 10] [--every 0.5] [--clients 16]

The real pipeline with its threads over real files; transfers, so many in flight as there are clients. Each line is a
histogram of the time from handing a transaction over until its answer is durable. With checkpoints they come ten times
as often as by default.
"""

from __future__ import annotations

import argparse
import logging
import tempfile
import threading
import time
from collections import Counter
from pathlib import Path

import structlog

from chain.types import Address
from node.daemon import GIL_SWITCH_SECONDS, checkpoint
from node.engine.clock import SystemClock
from node.engine.pipeline import Pipeline, Submit
from tests.durability.nodes import LocalNode

BUCKETS_MS = (0.5, 1, 2, 4, 8, 16, 32, 64, 128)


def measure(place: Path, seconds: float, every: float, clients: int) -> tuple[list[float], list[float]]:
    """Milliseconds of each answer, and of each checkpoint."""
    node = LocalNode(place, segment_size_bytes=2**26)
    pipeline = Pipeline(node.ledger, SystemClock(), on_fault=print)  # type: ignore[arg-type]
    pipeline.start()
    times: list[float] = []
    room = threading.Semaphore(clients)
    stop = threading.Event()
    checkpoints: list[float] = []

    def write_down() -> None:
        while not stop.wait(every):
            begin = time.perf_counter()
            checkpoint(pipeline, node.store)
            checkpoints.append((time.perf_counter() - begin) * 1000)

    receivers = [Address((0x10000 + number).to_bytes(20, "big")) for number in range(5000)]
    ready = [node.transfer(i % 3, receivers[i % 5000], 1, nonce=i // 3) for i in range(40_000)]
    if every:
        threading.Thread(target=write_down, daemon=True).start()
    end = time.perf_counter() + seconds
    for candidate in ready:
        if time.perf_counter() > end:
            break
        room.acquire()
        begin = time.perf_counter()

        def done(_: object, begin: float = begin) -> None:
            times.append((time.perf_counter() - begin) * 1000)
            room.release()

        pipeline.put(Submit(done, candidate))
    stop.set()
    pipeline.stop()
    node.close()
    return times, checkpoints


def show(title: str, times: list[float]) -> None:
    """A histogram in one line, and the percentiles."""
    ordered = sorted(times)
    counts = Counter(next((edge for edge in BUCKETS_MS if value <= edge), float("inf")) for value in times)
    shown = "  ".join(f"<={edge:g}: {counts[edge]}" for edge in (*BUCKETS_MS, float("inf")) if counts[edge])
    p50, p99, p999 = (ordered[int(len(ordered) * share)] for share in (0.5, 0.99, 0.999))
    print(f"{title}: {len(times)} answers, ms p50 {p50:.2f} p99 {p99:.2f} p99.9 {p999:.2f} max {ordered[-1]:.1f}")
    print(f"    {shown}", flush=True)


def main() -> None:
    """Measure both, print both."""
    import sys

    parser = argparse.ArgumentParser()
    parser.add_argument("--seconds", type=float, default=10.0)
    parser.add_argument("--every", type=float, default=0.5)
    parser.add_argument("--clients", type=int, default=16)
    wanted = parser.parse_args()
    sys.setswitchinterval(GIL_SWITCH_SECONDS)
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    with tempfile.TemporaryDirectory() as place:
        measure(Path(place) / "warm", 1.0, 0, wanted.clients)
        without, _ = measure(Path(place) / "without", wanted.seconds, 0, wanted.clients)
        show("without checkpoints", without)
        times, checkpoints = measure(Path(place) / "with", wanted.seconds, wanted.every, wanted.clients)
        show(f"with {len(checkpoints)} checkpoints", times)
        p50 = sorted(checkpoints)[len(checkpoints) // 2]
        print(f"    a checkpoint took p50 {p50:.0f} ms, {max(checkpoints):.0f} at most")


if __name__ == "__main__":
    main()
