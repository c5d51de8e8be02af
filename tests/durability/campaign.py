"""``make durability``: crashes, kills, flips and faults, counted, and the table of them in docs/durability.md.

    python -m tests.durability.campaign                        every line, small: under six minutes on two cores
    python -m tests.durability.campaign kills --count 5000     one line, so often
    python -m tests.durability.campaign --seconds 600 ...      no line longer than this

A line's best run (most repetitions without a failure) stays in docs/durability.json until a larger one replaces it; a
failure always replaces it. Seeds replay the simulated lines exactly; a kill of a real process comes when it comes.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import structlog

from storage import recovery
from tests.paths import REPO

RESULTS = REPO / "docs" / "durability.json"
PAGE = REPO / "docs" / "durability.md"


@dataclass
class Line:
    """What one campaign did."""

    name: str
    seed: int
    count: int = 0
    """Repetitions, in the campaign's unit."""
    seconds: float = 0.0
    failures: int = 0
    more: str = ""
    """Numbers beside the count."""
    failure: str = ""
    commit: str = ""
    """Of the sources that were run."""


@dataclass
class Budget:
    """How much of a campaign to do."""

    count: int
    deadline: float

    def left(self, done: int) -> bool:
        """Whether to go on."""
        return done < self.count and time.monotonic() < self.deadline


Campaign = Callable[[Line, Budget, Path], None]


def log_crashes(line: Line, budget: Budget, _: Path) -> None:
    from tests.unit.storage.test_wal_crash import crash_points, crashed, explore_image
    from tests.unit.storage.wal_history import WORKLOADS

    seed = line.seed
    while budget.left(line.count):
        for name, steps in WORKLOADS.items():
            for call in crash_points(steps, seed):
                history, machine = crashed(steps, seed, call)
                for number, (_, image) in enumerate(machine.survivors(seed + call, 16)):
                    line.count += explore_image(history, image, seed + call, int(number % 8 == 0))
                if not budget.left(line.count):
                    line.more = f"seeds {line.seed} to {seed}"
                    return
            del name
        seed += 1


def node_crashes(line: Line, budget: Budget, _: Path) -> None:
    from tests.simulation.explore import Run, survive, survive_interrupted_recovery
    from tests.simulation.workloads import WORKLOADS

    seed, nested, calls = line.seed, 0, 0
    while budget.left(line.count):
        for name in WORKLOADS:
            run, source = Run.of(name, seed), random.Random(f"{seed} {name}")
            cases = run.cases(10)
            share = max(3, min(len(cases), budget.count // 60))
            calls += len(run.pictures)
            for case in source.sample(cases, min(share, len(cases))):
                line.count += survive(run, case)
                if not budget.left(line.count):
                    break
            states = survive_interrupted_recovery(run, source.choice(cases), 2, source, 1)
            line.count, nested = line.count + states, nested + states
            line.more = f"{calls} calls of whole nodes, {nested} states after crashes in recovery, seeds to {seed}"
            if not budget.left(line.count):
                return
        seed += 1


def faults(line: Line, budget: Budget, _: Path) -> None:
    from tests.simulation.explore import Run
    from tests.simulation.test_faults import explore
    from tests.simulation.test_faults import faults as possible
    from tests.simulation.workloads import WORKLOADS

    seed, states = line.seed, 0
    while budget.left(line.count):
        for name in WORKLOADS:
            run, source = Run.of(name, seed), random.Random(f"{seed} {name}")
            assert run.last is not None
            for fault in source.sample(list(possible(run.last.disk.fs.trace)), max(1, budget.count // 24)):
                states += explore(run, [fault], 1)
                line.count += 1
                line.more = f"EIO, ENOSPC, EDQUOT, EINTR, short; once and for ever; {states} recoveries after them"
                if not budget.left(line.count):
                    return
        seed += 1


def kills(line: Line, budget: Budget, place: Path) -> None:
    from tests.crash.forked import Slaughter

    harness = Slaughter(place, line.seed)
    try:
        harness.run(budget.count, budget.deadline)
    finally:
        line.count, line.more = harness.tally.kills, harness.tally.line().partition("kills, ")[2]
    harness.close()


def places(line: Line, budget: Budget, place: Path) -> None:
    from tests.crash.forked import Slaughter, failpoints

    harness, names = Slaughter(place, line.seed), sorted(failpoints())
    random.Random(line.seed).shuffle(names)
    reached: dict[str, int] = {}
    while budget.left(line.count):
        for name in names:
            if not budget.left(line.count):
                break
            assert harness.at(name, 1), f"{name} was not reached"
            reached[name] = reached.get(name, 0) + 1
            line.count += 1
            line.more = f"{len(reached)} of {len(names)} places"
    harness.close()


def daemons(line: Line, budget: Budget, place: Path) -> None:
    from tests.crash.harness import KillHarness
    from tests.crash.quic import quic_to
    from tests.daemon import Daemon

    while budget.left(line.count):
        daemon = Daemon(place / f"data-{line.count}")
        harness = KillHarness(daemon, line.seed + line.count, quic_to(daemon))
        try:
            harness.run(min(10, budget.count - line.count))
        finally:
            daemon.close()
            line.count += harness.report.cycles
            line.more = f"4 clients on JSON-RPC and QUIC; last: {harness.report}"


def stops(line: Line, budget: Budget, place: Path) -> None:
    from tests.crash.harness import KillHarness
    from tests.crash.quic import quic_to
    from tests.daemon import Daemon

    times: list[float] = []

    def stop(daemon: Daemon) -> None:
        begin = time.perf_counter()
        assert daemon.stop() == 0, daemon.log()
        times.append(time.perf_counter() - begin)

    daemon = Daemon(place / "data")
    harness = KillHarness(daemon, line.seed, quic_to(daemon), end=stop)
    try:
        while budget.left(line.count):
            harness.run(budget.count)
            line.count = len(times)
    finally:
        daemon.close()
        times.sort()
        line.count = len(times)
        if times:
            p50, p99 = times[len(times) // 2], times[-1 - len(times) // 100]
            line.more = f"nothing in doubt; stop time p50 {p50:.2f} s, p99 {p99:.2f} s"


def bits(line: Line, budget: Budget, _: Path) -> None:
    from tests.unit.storage import test_wal_damage as log

    chance = random.Random(line.seed)
    files = (log.FIRST, log.SECOND, log.MARK)
    every = [(path, bit) for path in files for bit in range(8 * log.written(path))]
    refused = 0
    for path, bit in every if budget.count >= len(every) else chance.sample(every, budget.count):
        refused += not log.judge(log.damaged(path, log.flip(log.BASE.content(path), bit)), len(log.WHOLE), (path, bit))
        line.count += 1
        line.more = f"of {len(every)} written bits; {refused} refused, the others change nothing that is read"
        if not budget.left(line.count):
            return


def cuts(line: Line, budget: Budget, _: Path) -> None:
    from tests.unit.storage import test_wal_damage as log

    for mark in (True, False):
        for path in (log.FIRST, log.SECOND):
            sizes = log.lengths(path, step=1)
            sizes = sizes if budget.count >= 4 * len(sizes) else sizes[:: max(1, 4 * len(sizes) // budget.count)]
            log.check_cut(path, sizes, mark=mark)
            line.count += len(sizes)


def state_damage(line: Line, budget: Budget, place: Path) -> None:
    from tests.durability.damage import damage_state

    _damage(line, budget, place, damage_state)


def index_damage(line: Line, budget: Budget, place: Path) -> None:
    from tests.durability.damage import damage_index

    _damage(line, budget, place, damage_index)


def _damage(line: Line, budget: Budget, place: Path, damage: Callable[..., None]) -> None:
    from tests.durability.damage import make

    sound, facts = make(place)
    while budget.left(line.count):
        damage(sound, facts, place / "hurt", random.Random(line.seed * 1_000_000 + line.count))
        line.count += 1


CAMPAIGNS: dict[str, tuple[Campaign, int, str]] = {
    "log-crashes": (log_crashes, 8_000, "crash states of the log: a crash at a call, one way it may leave the disk"),
    "node-crashes": (node_crashes, 500, "crash states of whole nodes (T1, T3), each recovered and gone on from"),
    "faults": (faults, 24, "failing calls of the disk (T12, T13)"),
    "kills": (kills, 120, "kill -9 of the engine's process over real files (T4)"),
    "places": (places, 61, "kill -9 at named places of the sources (T5)"),
    "daemons": (daemons, 5, "kill -9 of whole daemons under network load (T4)"),
    "stops": (stops, 4, "SIGTERM under load (T16)"),
    "bits": (bits, 20_000, "bits flipped in a log (T7)"),
    "cuts": (cuts, 1_500, "lengths at which a log was cut (T8)"),
    "state-damage": (state_damage, 20, "damaged LevelDB directories (T10)"),
    "index-damage": (index_damage, 20, "damaged SQLite files (T11)"),
}


def run(name: str, seed: int, count: int, seconds: float) -> Line:
    """Do one line."""
    line, begin = Line(name, seed), time.monotonic()
    with tempfile.TemporaryDirectory(prefix="zvmd-durability-") as directory:
        try:
            CAMPAIGNS[name][0](line, Budget(count, begin + seconds), Path(directory))
        except Exception as error:
            notes = "; ".join(getattr(error, "__notes__", ()))
            line.failures, line.failure = 1, f"{type(error).__name__}: {error} {notes}"[:500]
            logging.getLogger("campaign").exception("%s failed", name)
    line.seconds = round(time.monotonic() - begin, 1)
    ask = ["git", "rev-parse", "--short", "HEAD"]
    line.commit = subprocess.run(ask, cwd=REPO, capture_output=True, text=True, check=False).stdout.strip()
    return line


def keep(line: Line) -> None:
    """Write the line down if it says more than the one before."""
    known: dict[str, Any] = json.loads(RESULTS.read_text()) if RESULTS.exists() else {}
    before = known.get(line.name)
    if before is None or line.failures or before["failures"] or line.count >= before["count"]:
        known[line.name] = asdict(line)
        RESULTS.write_text(json.dumps(known, indent=1, sort_keys=True) + "\n")


def page() -> str:
    """The table."""
    known: dict[str, Any] = json.loads(RESULTS.read_text()) if RESULTS.exists() else {}
    rows = [
        "# Durability, measured",
        "",
        "Written by `make durability` (`python -m tests.durability.campaign`); the largest run of each line so far.",
        "A failure would stand here until a later run of the line has none.",
        "",
        "| what | done | failures | seed | seconds | commit | repeat with |",
        "|---|---:|---:|---:|---:|---|---|",
    ]
    for name, (_, _, title) in CAMPAIGNS.items():
        line = known.get(name)
        if line is None:
            continue
        command = f"`python -m tests.durability.campaign {name} --seed {line['seed']} --count {line['count']}`"
        more = f"<br>{line['more']}" if line["more"] else ""
        more += f"<br>**{line['failure']}**" if line["failures"] else ""
        numbers = f"{line['count']:,} | {line['failures']} | {line['seed']} | {line['seconds']:.0f} | {line['commit']}"
        rows.append(f"| {title}{more} | {numbers} | {command} |")
    crashes = sum(known[name]["count"] for name in ("log-crashes", "node-crashes") if name in known)
    killed = sum(known[name]["count"] for name in ("kills", "places", "daemons") if name in known)
    rows += ["", f"Together: {crashes:,} crash states, {killed:,} `kill -9`.", ""]
    notes = REPO / "docs" / "durability-times.md"
    return "\n".join(rows) + ("\n" + notes.read_text() if notes.exists() else "")


def main() -> int:
    """Parse, run, write; 1 if anything failed."""
    parser = argparse.ArgumentParser(prog="campaign", description="Counted crashes, kills, flips and faults.")
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(CAMPAIGNS)}; default: all")
    parser.add_argument("--count", type=int, help="repetitions; default: a small number for each line")
    parser.add_argument("--seed", type=int, default=int(os.environ.get("ZVMD_TEST_SEED", "1")))
    parser.add_argument("--seconds", type=float, default=45.0, help="no line longer than about this")
    wanted = parser.parse_args()
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    recovery.CHECKPOINT_BLOCKS = 3  # so that short logs have checkpoints in the middle of their replay
    failures = 0
    for name in wanted.names or CAMPAIGNS:
        line = run(name, wanted.seed, wanted.count or CAMPAIGNS[name][1], wanted.seconds)
        failures += line.failures
        said = f"{name}: {line.count:,} in {line.seconds} s, {line.failures} failures. {line.more}{line.failure}"
        print(said, flush=True)
        keep(line)
        PAGE.write_text(page())
    return min(failures, 1)


if __name__ == "__main__":
    sys.exit(main())
