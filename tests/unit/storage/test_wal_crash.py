"""The log survives a power loss or kill at every call of twelve workloads, and a second one."""

from __future__ import annotations

import copy
import random
from contextlib import suppress

import pytest

from tests.effort import tries
from tests.simulation.simfaults import READING, SimCrash
from tests.simulation.simfs import SimFs
from tests.unit.storage.wal_history import WORKLOADS, History, counted_calls

HARMLESS = READING | {"exists", "size"}
"""Calls that change nothing: a crash before one is a crash before the next that does."""


def crash_points(steps: list[tuple[str, int]], seed: int) -> list[int]:
    trace = counted_calls(steps, seed)
    return [call for call, kind in enumerate(trace) if kind not in HARMLESS] + [len(trace)]


def crashed(steps: list[tuple[str, int]], seed: int, call: int) -> tuple[History, SimFs]:
    history, fs = History(seed), SimFs(seed)
    fs.crash_at(call)
    with suppress(SimCrash):
        history.live(fs, steps)
    history.machine.crash()
    return history, history.machine


def explore(name: str, *, seed: int, variants: int, depth: int) -> int:
    """Crash at every call x variants, then recover, write, crash, recover; returns the states explored."""
    steps, states = WORKLOADS[name], 0
    for call in crash_points(steps, seed):
        history, machine = crashed(steps, seed, call)
        for variant, image in machine.survivors(seed + call, variants):
            try:
                states += explore_image(history, image, seed + call, depth)
            except Exception as error:
                error.add_note(f"workload {name!r}, seed {seed}, crash at call {call}, survivor {variant!r}")
                raise
    return states


def explore_image(history: History, image: SimFs, seed: int, depth: int) -> int:
    states = 1
    if depth:
        states += explore_recovery(history, image, seed, depth)
    return states + copy.deepcopy(history).continues(image.restart(), seed)


def explore_recovery(history: History, image: SimFs, seed: int, depth: int) -> int:
    """Crash at every changing call of the recovery itself."""
    probe = image.restart()
    copy.deepcopy(history).open(probe)
    states = 0
    for call, kind in enumerate(probe.trace):
        if kind in HARMLESS:
            continue
        again = image.restart()
        again.crash_at(call)
        with pytest.raises(SimCrash):
            copy.deepcopy(history).open(again)
        for _, deeper in again.survivors(seed + call, 4):
            states += explore_image(history, deeper, seed + call, depth - 1)
    return states


@pytest.mark.parametrize("name", WORKLOADS)
def test_nothing_acknowledged_is_lost_whatever_survives(name: str) -> None:
    assert explore(name, seed=1, variants=10, depth=0) > 50


@pytest.mark.parametrize("name", ["three groups", "rotates", "killed between flushes"])
def test_a_crash_during_recovery_changes_nothing(name: str) -> None:
    steps = WORKLOADS[name]
    source = random.Random(7)
    states = 0
    for call in source.sample(crash_points(steps, 2), tries(4, 8)):
        history, machine = crashed(steps, 2, call)
        for variant, image in machine.survivors(call, 5):
            try:
                states += explore_image(history, image, call, 1)
            except Exception as error:
                error.add_note(f"crash at call {call}, survivor {variant!r}")
                raise
    assert states > tries(100, 300)


@pytest.mark.full
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("name", WORKLOADS)
def test_every_crash_of_every_recovery(name: str, seed: int) -> None:
    assert explore(name, seed=seed, variants=24, depth=1) > 1000
