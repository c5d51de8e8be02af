"""Whatever the machine's clock does, timestamps rise, the chain replays, and jobs keep their periods."""

from __future__ import annotations

import random
from datetime import datetime, tzinfo
from functools import partial
from itertools import pairwise
from pathlib import Path

import pytest
from apscheduler.executors.debug import DebugExecutor

from node.ops.jobs import JOB_DEFAULTS, LOOK_SECONDS, Jobs, SteadyScheduler
from tests.durability.nodes import LocalNode

HOUR, DAY, YEAR = 3600, 86_400, 365 * 86_400
JUMPS = (0, 0, 1, HOUR, -HOUR, DAY, -DAY, 10 * YEAR, -10 * YEAR, 7 * HOUR, -1)




def live_with_a_wild_clock(place: Path, seed: int) -> None:
    """Blocks, restarts and jumps of the clock in any order."""
    chance = random.Random(seed)
    node = LocalNode(place / f"{seed}")
    for number in range(60):
        node.clock.seconds = max(0, node.clock.seconds + chance.choice(JUMPS))
        if chance.random() < 0.5:
            node.mine(key=f"{number}")
        else:
            node.grow(1)
        if chance.random() < 0.1:
            before = node.digest()
            node.close()
            node = LocalNode(node.data_dir, clock=node.clock)
            assert node.digest() == before
    headers = [node.store.chain.header(number) for number in range(node.store.head.number + 1)]
    times = [header.timestamp for header in headers if header is not None]
    assert len(times) == 61
    assert all(later > earlier for earlier, later in pairwise(times))
    node.close()


@pytest.mark.parametrize("seed", range(2))
def test_timestamps_rise_over_jumps_and_restarts(tmp_path: Path, seed: int) -> None:
    live_with_a_wild_clock(tmp_path, seed)


class Time:
    """A machine's two clocks: one that only runs, one that people and servers set."""

    def __init__(self) -> None:
        self.steady = 1000.0
        self.wall = 1_700_000_000.0

    def now(self, zone: tzinfo | None = None) -> datetime:
        """What `datetime.now` says."""
        return datetime.fromtimestamp(self.wall, zone)


INTERVALS = {"quick": 0.5, "slow": 60.0, "hourly": HOUR}
CLOCK_READERS = (
    "apscheduler.schedulers.base",
    "apscheduler.executors.base",
    "apscheduler.triggers.interval",
    "node.ops.jobs",
)
LONGEST_LOOK = 1.001 + LOOK_SECONDS
"""So late may a job be: the scheduler looks at the clock so often, and passes over jumps of a second."""


def jobs_keep_their_periods(seed: int, steps: int = 300) -> int:
    """Jobs run over jumps of the clock: never twice in a period, never forgotten. Returns the runs."""
    time_, chance = Time(), random.Random(seed)
    runs: dict[str, list[float]] = {name: [] for name in INTERVALS}
    with pytest.MonkeyPatch.context() as patch:
        clock = type("datetime", (datetime,), {"now": staticmethod(time_.now)})
        for module in CLOCK_READERS:
            patch.setattr(f"{module}.datetime", clock)
        patch.setattr(SteadyScheduler, "_main_loop", lambda _: None)
        jobs = Jobs(clock=lambda: time_.wall, steady=lambda: time_.steady)
        scheduler = jobs._scheduler
        scheduler.configure(executors={"default": DebugExecutor()}, timezone="UTC", job_defaults=JOB_DEFAULTS)

        def note(name: str) -> None:
            runs[name].append(time_.steady)

        for name, seconds in INTERVALS.items():
            jobs.register(name, partial(note, name), seconds)
        jobs.start()
        wait = scheduler._process_jobs() or 0.0
        for _ in range(steps):
            passed = min(wait, chance.choice((wait, wait, 0.01, 0.3)))
            time_.steady += passed
            time_.wall += passed
            if chance.random() < 0.1:
                time_.wall = max(0.0, time_.wall + chance.choice(JUMPS))
            wait = scheduler._process_jobs() or 0.0
        jobs.stop()
    for name, seconds in INTERVALS.items():
        moments = [1000.0, *runs[name], time_.steady]
        gaps = [later - earlier for earlier, later in pairwise(moments)]
        assert all(gap >= seconds - LONGEST_LOOK for gap in gaps[1:-1]), f"seed {seed}: {name} ran twice in a period"
        assert all(gap <= seconds + LONGEST_LOOK for gap in gaps), f"seed {seed}: {name} waited for {max(gaps)} s"
    return sum(map(len, runs.values()))


@pytest.mark.parametrize("seed", range(20))
def test_jobs_keep_their_periods_over_jumps(seed: int) -> None:
    assert jobs_keep_their_periods(seed) > 100
