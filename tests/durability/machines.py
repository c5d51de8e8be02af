"""Lines of the table that crash simulated machines: the log alone, and whole nodes with every store."""

from __future__ import annotations

import errno
import random
from pathlib import Path

from tests.durability.results import Budget, Line
from tests.simulation import test_faults as failing
from tests.simulation import test_prune as prunes
from tests.simulation import test_sequences as sequences
from tests.simulation.explore import Run, survive, survive_interrupted_recovery
from tests.simulation.workloads import WORKLOADS
from tests.unit.storage import test_wal_crash as log
from tests.unit.storage import wal_history

VARIANTS = 12
"""Ways in which a crash at one call may leave the machine, at most."""
STATES_A_CASE = 4
"""The crashed machine, and three after a second crash."""
TWICE = 4
"""One machine of so many is started twice and has to come back the same."""
CASES_A_SEQUENCE = 4
SEED_STEP = 1000
"""Between the first seeds of two parts."""


def log_crashes(line: Line, budget: Budget, _: Path) -> None:
    seed = line.seed * SEED_STEP
    while budget.left(line.count):
        for steps in wal_history.WORKLOADS.values():
            for call in log.crash_points(steps, seed):
                history, machine = log.crashed(steps, seed, call)
                for number, (_, image) in enumerate(machine.survivors(seed + call, 16)):
                    line.count += log.explore_image(history, image, seed + call, int(number % 8 == 0))
                if not budget.left(line.count):
                    return
        seed += 1


def node_crashes(line: Line, budget: Budget, _: Path) -> None:
    """Every distinct machine that a crash at any call of twelve workloads leaves, seed after seed."""
    seed = line.seed * SEED_STEP
    while budget.left(line.count):
        for name in WORKLOADS:
            run = Run.of(name, seed)
            cases = run.cases(VARIANTS)
            share = -(-budget.count // (STATES_A_CASE * len(WORKLOADS)))
            chosen = random.Random(f"{seed} {name}").sample(cases, min(share, len(cases)))
            line.add("calls of whole nodes crashed at", len(run.pictures))
            for number, case in enumerate(chosen):
                line.count += survive(run, case, twice=number % TWICE == 0)
                line.add("recoveries", 5 if number % TWICE == 0 else 4)
                if not budget.left(line.count):
                    return
        seed += 1


def node_sequences(line: Line, budget: Budget, _: Path) -> None:
    """Part ``seed`` of all sequences in a fixed order; the budget's unit is the sequence."""
    order = sequences.sequences()
    random.Random(1).shuffle(order)
    for done, names in enumerate(order[(line.seed - 1) * budget.count : line.seed * budget.count]):
        if not budget.left(done):
            return
        line.count += sequences.explore(names, CASES_A_SEQUENCE, seed=1)
        line.add("sequences")
    line.most["sequences there are"] = len(order)


def prune_crashes(line: Line, budget: Budget, _: Path) -> None:
    """Every call of a first prune and of a later one, seed after seed; after one of four the next start crashes too."""
    seed = line.seed * SEED_STEP
    while budget.left(line.count):
        for again in (False, True):
            run = prunes.run(again=again, seed=seed)
            for number, case in enumerate(prunes.every_crash(again=again, variants=VARIANTS, seed=seed)):
                line.count += survive(run, case, twice=number % TWICE == 0)
                if number % TWICE == 1:
                    line.count += survive_interrupted_recovery(run, case, 1, random.Random(seed + number), 3)
                    line.add("starts interrupted")
                if not budget.left(line.count):
                    return
        seed += 1


def recovery_crashes(line: Line, budget: Budget, _: Path) -> None:
    """Crash, crash in the recovery from that, and once more in the recovery from that."""
    seed = line.seed * SEED_STEP
    while budget.left(line.count):
        for name in WORKLOADS:
            run, source = Run.of(name, seed), random.Random(f"{seed} {name}")
            case = source.choice(run.cases(VARIANTS))
            states = survive_interrupted_recovery(run, case, 3, source, 3)
            line.count += states
            line.add("recoveries interrupted")
            if not budget.left(line.count):
                return
        seed += 1


FAILED = {**{code: errno.errorcode[code] for code in failing.ERRORS if code}, failing.SHORT: "short writes"}


def faults(line: Line, budget: Budget, _: Path) -> None:
    """Every call of every workload fails in every way, once and for ever, if the budget allows."""
    seed = line.seed * SEED_STEP
    while budget.left(line.count):
        for name in WORKLOADS:
            run, source = Run.of(name, seed), random.Random(f"{seed} {name}")
            assert run.last is not None
            possible = list(failing.faults(run.last.disk.fs.trace))
            share = -(-budget.count // len(WORKLOADS))
            for fault in source.sample(possible, min(share, len(possible))):
                line.add("crash states afterwards", failing.explore(run, [fault], 1))
                line.add(f"with {FAILED[fault[2]]}")
                line.count += 1
                if not budget.left(line.count):
                    return
        seed += 1


def failing_syncs(line: Line, budget: Budget, _: Path) -> None:
    """Every sync of every workload fails; the cache shows what the disk has not."""
    seed = line.seed * SEED_STEP
    while budget.left(line.count):
        for name in WORKLOADS:
            run = Run.of(name, seed)
            assert run.last is not None
            syncs = [fault for fault in failing.faults(run.last.disk.fs.trace) if fault[1] in failing.SYNCING]
            share = -(-budget.count // len(WORKLOADS))
            for fault in random.Random(f"{seed} {name}").sample(syncs, min(share, len(syncs))):
                line.add("crash states afterwards", failing.explore(run, [fault], 4))
                line.count += 1
                if not budget.left(line.count):
                    return
        seed += 1
