"""Whether a checkpoint makes the writer wait: answers that come while one is written, beside the others of a run.

    python -m benchmarks.checkpoint [--seconds 10] [--every 0.4] [--clients 16] [--rounds 3]

The real committer with its threads over real files; transfers, so many in flight as there are clients. Runs in which
checkpoints work in slices (as in the daemon) and runs in which they do not alternate. Each line is a histogram of the
time from handing a transaction over until its answer is durable. A slice is CPU time of the checkpoint's thread between
two rests, which the machine's other work cannot change; the longest holds LevelDB's write, beside which Python goes on.
"""

from __future__ import annotations

import argparse
import gc
import logging
import sys
import tempfile
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import structlog

from chain.types import Address
from node.daemon.run import GIL_SWITCH_SECONDS
from node.engine.clock import SystemClock
from node.engine.committer import Committer, Listeners
from node.engine.requests import Freeze, Submit
from storage.io.cooperative import Pace, Slices, at_once
from tests.durability.nodes import LocalNode

BUCKETS_MS = (0.5, 1, 2, 4, 8, 16, 32, 64, 128)
TRANSFERS = 40_000
RECEIVERS = 5_000


class Seen(NamedTuple):
    """One run, in milliseconds."""

    during: list[float]
    """Answers that waited while a checkpoint was written."""
    outside: list[float]
    checkpoints: list[float]
    slices: list[float]
    """CPU time of the checkpoints' thread between rests."""


def measure(place: Path, seconds: float, every: float, clients: int, make_pace: Callable[[list[float]], Pace]) -> Seen:
    """One run; no checkpoints if ``every`` is 0."""
    node = LocalNode(place, segment_size_bytes=2**26)
    committer = node.committer = Committer(node.opened.writer(), node.store, SystemClock(), Listeners(on_fault=print))
    committer.start()
    receivers = [Address((0x10000 + number).to_bytes(20, "big")) for number in range(RECEIVERS)]
    ready = [node.transfer(i % 3, receivers[i % RECEIVERS], 1, nonce=i // 3) for i in range(TRANSFERS)]
    gc.collect()
    gc.freeze()
    times: list[tuple[float, float]] = []
    spans: list[tuple[float, float]] = []
    slices: list[float] = []
    stop, frozen = threading.Event(), threading.Event()

    def write_down() -> None:
        while not stop.wait(every):
            frozen.clear()
            committer.put(Freeze(lambda _: frozen.set()))
            frozen.wait()
            begin = time.perf_counter()
            node.store.write_frozen(make_pace(slices))
            spans.append((begin, time.perf_counter()))

    behind = threading.Thread(target=write_down)
    if every:
        behind.start()
    room = threading.Semaphore(clients)
    end = time.perf_counter() + seconds
    for candidate in ready:
        if time.perf_counter() > end:
            break
        room.acquire()

        def done(_: object, begin: float = time.perf_counter()) -> None:
            times.append((begin, time.perf_counter()))
            room.release()

        committer.put(Submit(done, candidate))
    stop.set()
    if every:
        behind.join()
    committer.stop()
    node.close()
    found = Seen([], [], [(to - since) * 1000 for since, to in spans], slices)
    for since, to in times:
        met = any(since < ended and begun < to for begun, ended in spans)
        (found.during if met else found.outside).append((to - since) * 1000)
    return found


def sliced(slices: list[float]) -> Pace:
    """The daemon's pace, noting how long each slice is."""
    begun = time.thread_time()

    def sleep(seconds: float) -> None:
        nonlocal begun
        slices.append((time.thread_time() - begun) * 1000)
        time.sleep(seconds)
        begun = time.thread_time()

    return Slices(sleep=sleep)


def show(title: str, times: list[float]) -> None:
    """A histogram in one line, and the percentiles."""
    if not times:
        print(f"{title}: none")
        return
    ordered = sorted(times)
    counts = Counter(next((edge for edge in BUCKETS_MS if value <= edge), float("inf")) for value in times)
    shown = "  ".join(f"<={edge:g}: {counts[edge]}" for edge in (*BUCKETS_MS, float("inf")) if counts[edge])
    p50, p90, p99, p999 = (ordered[int(len(ordered) * share)] for share in (0.5, 0.9, 0.99, 0.999))
    spread = f"p50 {p50:.2f} p90 {p90:.2f} p99 {p99:.2f} p99.9 {p999:.2f} max {ordered[-1]:.1f}"
    print(f"{title}: {len(times)}, ms {spread}")
    print(f"    {shown}", flush=True)


def main() -> None:
    """Measure in turn, print side by side."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--seconds", type=float, default=10.0)
    parser.add_argument("--every", type=float, default=0.4)
    parser.add_argument("--clients", type=int, default=16)
    parser.add_argument("--rounds", type=int, default=3)
    wanted = parser.parse_args()
    sys.setswitchinterval(GIL_SWITCH_SECONDS)
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    kinds: dict[str, tuple[float, Callable[[list[float]], Pace]]] = {
        "no checkpoints": (0.0, sliced),
        "checkpoints in slices": (wanted.every, sliced),
        "checkpoints at once": (wanted.every, lambda _: at_once),
    }
    seen: defaultdict[str, Seen] = defaultdict(lambda: Seen([], [], [], []))
    with tempfile.TemporaryDirectory() as place:
        for number in range(wanted.rounds):
            for at, (name, (every, pace)) in enumerate(kinds.items()):
                found = measure(Path(place) / f"{number}.{at}", wanted.seconds, every, wanted.clients, pace)
                for all_of, some in zip(seen[name], found, strict=True):
                    all_of += some
    for name, found in seen.items():
        print(f"{name} ({len(found.checkpoints)})")
        show("  answers while one is written", found.during)
        show("  the others", found.outside)
        show("  a checkpoint takes", found.checkpoints)
        show("  a slice of one, CPU", found.slices)


if __name__ == "__main__":
    main()
