"""The whole node crashes at every call of twelve workloads, and in its recovery, and forgets nothing."""

from __future__ import annotations

import os
from random import Random

import pytest

from tests.simulation.explore import Run, survive, survive_interrupted_recovery
from tests.simulation.workloads import WORKLOADS

SEED = int(os.environ.get("ZVMD_SIMULATION_SEED", "1"))
"""Which crashes the normal run looks at."""
VARIANTS = 10
"""What a crash at one call may leave: so many ways."""
CASES = 22
RECOVERIES = 3


@pytest.mark.parametrize("name", WORKLOADS)
def test_nothing_acknowledged_is_lost(name: str) -> None:
    run = Run.of(name, SEED)
    cases = run.cases(VARIANTS)
    assert len(cases) > 100
    for case in Random(SEED).sample(cases, CASES):
        survive(run, case)


@pytest.mark.parametrize("name", WORKLOADS)
def test_recovery_may_be_interrupted_twice(name: str) -> None:
    run, source = Run.of(name, SEED), Random(f"{SEED} {name}")
    for case in source.sample(run.cases(VARIANTS), RECOVERIES):
        survive_interrupted_recovery(run, case, 2, source, 1)


@pytest.mark.full
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("seed", [11, 12])
@pytest.mark.parametrize("name", WORKLOADS)
def test_every_crash(name: str, seed: int) -> None:
    run = Run.of(name, seed)
    cases = run.cases(16)
    states = sum(survive(run, case) for case in cases)
    print(f"{name}, seed {seed}: {len(run.pictures)} calls, {len(cases)} machines, {states} recoveries")


@pytest.mark.full
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("name", WORKLOADS)
def test_every_crash_of_recoveries(name: str) -> None:
    """Every changing call of 12 recoveries, and of 2 recoveries from each of those crashes."""
    run, source = Run.of(name, 21), Random(f"21 {name}")
    states = 0
    for case in source.sample(run.cases(16), 12):
        states += survive_interrupted_recovery(run, case, 1, source, 1000)
        states += survive_interrupted_recovery(run, case, 2, source, 3)
    print(f"{name}: {states} recoveries")
