"""Lines of the table that end real processes: killed at random, killed at named places, stopped under load."""

from __future__ import annotations

import random
import time
from pathlib import Path

from tests.crash.forked import Slaughter, failpoints
from tests.crash.forked_daemon import ForkedDaemon, Zygote
from tests.crash.harness import FAST, KillHarness, Report
from tests.crash.quic import quic_to
from tests.daemon import Daemon
from tests.durability.removals import Removals
from tests.durability.results import Budget, Line
from tests.durability.second_nodes import SecondNodes

CYCLES_PER_DIRECTORY = 40

LIVES = 3
"""Lives in which a place must be reached: on a busy machine seconds may pass without much being done."""


def daemons(line: Line, budget: Budget, place: Path) -> None:
    """Counts kills, those in recovery among them."""
    zygote, seed = Zygote(place / "zygote.log"), line.seed * 1_000_000
    try:
        while budget.left(line.count):
            daemon = ForkedDaemon(zygote, place / f"data-{line.count}")
            seed += 1
            harness = KillHarness(daemon, seed, quic_to(daemon), pace=FAST)
            cycles = max(1, min(CYCLES_PER_DIRECTORY, (budget.count - line.count) // 2))
            try:
                harness.run(cycles, budget.deadline)
            except BaseException as error:
                error.add_note(f"directory seed {seed}, cycle {harness.report.cycles}; {daemon.log(1500)}")
                raise
            finally:
                daemon.close()
                line.count += take(line, harness.report)
    finally:
        zygote.close()


def take(line: Line, report: Report) -> int:
    """Take over what a harness counted; returns the kills."""
    line.add("cycles of load, kill, restart and check", report.cycles)
    line.add("of the kills in recovery", report.kills_in_recovery)
    line.add("transactions sent", report.acknowledged)
    line.add("of them in flight and sent again", report.sent_again)
    line.add("of those in the chain already", report.landed_unanswered)
    line.add("session commands acknowledged", report.session_commands)
    for seconds in report.recovery_seconds:
        line.took("start until READY", seconds)
    return report.cycles + report.kills_in_recovery


def kills(line: Line, budget: Budget, place: Path) -> None:
    harness = Slaughter(place, line.seed)
    try:
        harness.run(budget.count, budget.deadline)
    finally:
        tally = harness.tally
        line.count = tally.kills
        line.add("of them in recovery", tally.in_recovery)
        line.add("transactions acknowledged", tally.acknowledged)
        line.add("sent again", tally.resent)
        for seconds in tally.recovery_seconds:
            line.took("recovery", seconds)
    harness.close()


def places(line: Line, budget: Budget, place: Path) -> None:
    harness, names = Slaughter(place, line.seed), sorted(failpoints())
    random.Random(line.seed).shuffle(names)
    reached: set[str] = set()
    while budget.left(line.count):
        for name in names:
            if not budget.left(line.count):
                break
            assert any(harness.at(name, 1) for _ in range(LIVES)), f"{name} was not reached"
            reached.add(name)
            line.count += 1
            line.most["places reached"] = len(reached)
    line.most["places there are"] = len(names)
    harness.close()


def stops(line: Line, budget: Budget, place: Path) -> None:
    zygote = Zygote(place / "zygote.log")
    daemon = ForkedDaemon(zygote, place / "data")

    def stop(daemon: Daemon) -> None:
        begin = time.perf_counter()
        assert daemon.stop() == 0, daemon.log()
        line.took("SIGTERM until the end", time.perf_counter() - begin)
        line.count += 1

    harness = KillHarness(daemon, line.seed, quic_to(daemon), end=stop, pace=FAST)
    try:
        harness.run(budget.count, budget.deadline)
    finally:
        daemon.close()
        zygote.close()
        report = harness.report
        line.add("transactions sent", report.acknowledged)
        line.add("of them without an answer and sent again", report.sent_again)
        line.add("of those in the chain already", report.landed_unanswered)


def removals(line: Line, budget: Budget, place: Path) -> None:
    harness, seed = Removals(place), line.seed * 1_000_000
    try:
        while budget.left(line.count):
            line.count += 1
            line.add(harness.run(seed + line.count))
    finally:
        harness.close()


def second_nodes(line: Line, budget: Budget, place: Path) -> None:
    """Needs to be allowed to mount, and to be another user."""
    harness, seed = SecondNodes(place), line.seed * 1_000_000
    try:
        while budget.left(line.count):
            line.count += 1
            line.add(harness.run(seed + line.count))
    finally:
        harness.close()
