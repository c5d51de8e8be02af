"""``kill -9`` of the engine at random moments, several a second, and at every named place of the sources."""

from __future__ import annotations

import os
import random
from pathlib import Path

import pytest

from tests.crash.forked import Slaughter, failpoints
from tests.engines import ENVIRONMENT, each_engine

SEED = int(os.environ.get("ZVMD_TEST_SEED", random.SystemRandom().getrandbits(32)))
CYCLES = int(os.environ.get("ZVMD_KILL_CYCLES", "5000"))
POINTS = sorted(failpoints())


def slaughter(place: Path, cycles: int) -> None:
    harness = Slaughter(place, SEED)
    try:
        tally = harness.run(cycles)
        assert tally.kills >= cycles
        assert tally.acknowledged, "nothing was acknowledged, so nothing could be lost"
    finally:
        print(harness.tally.line())
    harness.close()


@pytest.mark.timeout(600)
@pytest.mark.parametrize(("engine", "times"), [("leveldb", 30), ("rocksdb", 15)])
def test_kill_some_times(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, engine: str, times: int) -> None:
    monkeypatch.setenv(ENVIRONMENT, engine)
    slaughter(tmp_path, times)


@pytest.mark.full
@pytest.mark.timeout(36_000)
@each_engine
def test_kill_thousands_of_times(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, engine: str) -> None:
    monkeypatch.setenv(ENVIRONMENT, engine)
    slaughter(tmp_path, CYCLES)


def kill_at_places(place: Path, points: list[str], times: int) -> None:
    harness = Slaughter(place, SEED)
    try:
        for point in points:
            reached = harness.at(point, times)
            assert reached == times, f"{point} was reached {reached} of {times} times (seed {SEED})"
    finally:
        print(harness.tally.line())
    harness.close()


def test_there_are_enough_places_and_each_name_is_one() -> None:
    assert len(POINTS) == len(set(POINTS)) >= 40


@pytest.mark.timeout(600)
def test_kill_at_some_places(tmp_path: Path) -> None:
    """Another part of them at each run; `make durability` kills at all of them."""
    kill_at_places(tmp_path, random.Random(SEED).sample(POINTS, 5), 1)


@pytest.mark.full
@pytest.mark.timeout(36_000)
def test_kill_at_every_place(tmp_path: Path) -> None:
    kill_at_places(tmp_path, POINTS, 20)
