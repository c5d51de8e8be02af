"""``make durability``: crashes, kills, flips and faults, counted, and the table of them in docs/durability.md.

    python -m tests.durability.campaign                            every line, small: minutes on two cores
    python -m tests.durability.campaign --full                     every line as large as it needs to be: hours
    python -m tests.durability.campaign kills --count 5000         one line, so often
    python -m tests.durability.campaign kills@rocksdb              one line, on RocksDB; --engine does so for all
    python -m tests.durability.campaign kills --seed 7 --part DIR  a part of a line, kept in DIR for later
    python -m tests.durability.campaign --collect DIR              add up the parts and write the table

A line's best run (most repetitions without a failure) stays in docs/durability.json until a larger one replaces it; a
failure always replaces it. Seeds replay the simulated lines exactly; a kill of a real process comes when it comes.
"""

from __future__ import annotations

import argparse
import gc
import logging
import os
import sys
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from multiprocessing import get_context
from pathlib import Path

import structlog

from storage import replay
from tests.durability.lines import LINES, ON_STORES, TITLES, TOTALS
from tests.durability.results import PAGE, Budget, Line, OtherCommit, collect, commit, keep, more, page, write_part
from tests.engines import ENGINES, ENVIRONMENT

SECONDS = 120.0
FULL_SECONDS = 36_000.0
JOBS = 2


def run(name: str, seed: int, count: int, seconds: float) -> Line:
    """Do one line."""
    line, begin = Line(name, seed, count, commit=commit()), time.monotonic()
    base, _, engine = name.partition("@")
    if engine:
        os.environ[ENVIRONMENT] = engine
    with tempfile.TemporaryDirectory(prefix="zvmd-durability-") as directory:
        try:
            LINES[base].campaign(line, Budget(count, begin + seconds), Path(directory))
        except Exception as error:
            notes = "; ".join(getattr(error, "__notes__", ()))
            line.failures, line.failure = 1, f"{type(error).__name__}: {error} {notes}"[:500]
            logging.getLogger("campaign").exception("%s failed", name)
    line.seconds = round(time.monotonic() - begin, 1)
    gc.collect()
    return line


def main() -> int:
    """Parse, run, write; 1 if anything failed."""
    parser = argparse.ArgumentParser(prog="campaign", description="Counted crashes, kills, flips and faults.")
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(LINES)}; default: all")
    parser.add_argument("--count", type=int, help="repetitions; default: a small number for each line")
    parser.add_argument("--full", action="store_true", help="as large as the nightly numbers of the reliability notes")
    parser.add_argument("--engine", choices=ENGINES, help="of the state stores; default: what a node takes by itself")
    parser.add_argument("--seed", type=int, default=int(os.environ.get("ZVMD_TEST_SEED", "1")))
    parser.add_argument("--seconds", type=float, help=f"no line longer than about this; default: {SECONDS:.0f}")
    parser.add_argument("--part", type=Path, metavar="DIR", help="keep what was done there instead of in the table")
    parser.add_argument("--collect", type=Path, metavar="DIR", help="only add up the parts kept there")
    parser.add_argument("--jobs", type=int, default=JOBS, help=f"lines at once, each in a process; default: {JOBS}")
    parser.add_argument("--any-commit", action="store_true", help="also parts of other sources; their rows say so")
    wanted = parser.parse_args()
    if wanted.collect:
        try:
            lines = collect(wanted.collect, any_commit=wanted.any_commit)
        except OtherCommit as error:
            parser.error(str(error))
        return write(lines)
    failures = 0
    for line in done(wanted):
        said = f"{line.name}: {line.count:,} in {line.seconds} s, {line.failures} failures. {more(line)} {line.failure}"
        print(said, flush=True)
        failures += line.failures
        if wanted.part:
            write_part(wanted.part, line)
        else:
            write([line])
    return min(failures, 1)


def done(wanted: argparse.Namespace) -> Iterator[Line]:
    """The lines asked for, each as soon as it is done."""
    seconds = wanted.seconds or (FULL_SECONDS if wanted.full else SECONDS)
    size = "full" if wanted.full else "normal"
    with ProcessPoolExecutor(wanted.jobs, get_context("spawn"), prepare, max_tasks_per_child=1) as pool:
        running = [
            pool.submit(run, name, wanted.seed, wanted.count or getattr(LINES[name.partition("@")[0]], size), seconds)
            for name in named(wanted)
        ]
        for future in as_completed(running):
            yield future.result()


def named(wanted: argparse.Namespace) -> list[str]:
    """The lines asked for, with their engine."""
    if not wanted.engine:
        return wanted.names or list(LINES)
    return [f"{name}@{wanted.engine}" for name in wanted.names or ON_STORES]


def prepare() -> None:
    """Settings of the processes that run lines."""
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    replay.CHECKPOINT_BLOCKS = 3  # so that short logs have checkpoints in the middle of their replay
    gc.set_threshold(50_000, 20, 50)  # machines come and go by the hundred thousand


def write(lines: list[Line]) -> int:
    """Take the lines into the table; 1 if one of them failed."""
    for line in lines:
        keep(line)
    PAGE.write_text(page(TITLES, TOTALS))
    return min(1, sum(line.failures for line in lines))


if __name__ == "__main__":
    sys.exit(main())
