"""A prune that ends at any of its calls, or in which any of them fails, leaves the old log or the new one."""

from __future__ import annotations

import errno
import os
from functools import lru_cache
from itertools import islice
from random import Random

import pytest

from storage.errors import StorageError, StoragePanic
from storage.wal.bounds import read_beginning
from tests.simulation.disks import Disk
from tests.simulation.explore import (
    HARMLESS,
    Case,
    Picture,
    Run,
    crashes,
    distinct,
    survive,
    survive_interrupted_recovery,
)
from tests.simulation.life import Life, prune_disk
from tests.simulation.record import check
from tests.simulation.script import GWEI, Script, Workload
from tests.simulation.simfaults import Fault

SEED = int(os.environ.get("ZVMD_SIMULATION_SEED", "1"))
CRASHES = 8
FAULTS = 8


def before_the_prunes(s: Script) -> None:
    """A log with something that every part of recovery needs from it."""
    s.turn(s.transfer(5, 1, 8, nonce=1, cap=21 * GWEI))
    for number in range(3):
        s.keep(number + 1, b"%d" % number * 5000)
        s.turn(s.transfer(0, 1, number))
        s.compress()
    s.prune()  # the waiting transaction keeps all there is
    s.turn(s.transfer(5, 1, 9, nonce=0))
    s.nonces[5] = 2
    s.keep(1, b"one" * 2000)
    s.life.checkpoint()
    s.keep(2, b"two" * 2000)
    s.turn(s.transfer(0, 2, 5))
    s.stop()


@lru_cache(maxsize=2)
def run(*, again: bool, seed: int = SEED) -> Run:
    """A run before a prune; ``again``: of a log that was pruned already."""

    def script(s: Script) -> None:
        before_the_prunes(s)
        if again:
            s.prune()
            s.keep(3, b"three" * 1400)
            s.turn(s.transfer(1, 2, 5))
            s.stop()

    return Run.of("prune", seed, Workload(script))


def machine(*, again: bool, seed: int = SEED) -> Disk:
    """A machine on which nothing runs, to be pruned."""
    last = run(again=again, seed=seed).last
    assert last is not None
    disk = last.disk.picture()
    assert (read_beginning(disk.fs, "wal") is not None) == again
    return disk


def every_crash(*, again: bool, variants: int | None, seed: int = SEED) -> list[Case]:
    """What a crash at each call of a prune may leave."""
    record, pictures = run(again=again, seed=seed).record, list[Picture]()
    disk = machine(again=again, seed=seed)

    def picture(at: Disk, kind: str) -> None:
        if kind not in HARMLESS:
            pictures.append(Picture(at.fs.calls, kind, at.picture(), record.mark()))

    disk.observe(picture)
    assert prune_disk(disk).paths
    picture(disk, "end")
    return distinct(crashes(pictures, seed, variants))


@pytest.mark.parametrize("again", [False, True])
def test_a_crash_at_some_calls(*, again: bool) -> None:
    cases = every_crash(again=again, variants=6)
    for case in Random(SEED).sample(cases, min(CRASHES, len(cases))):
        survive(run(again=again), case)


def test_a_crash_in_the_start_that_finishes_a_killed_prune() -> None:
    """Killed before the directory's sync: the note's name is only in memory when the next start begins to remove."""
    record, options = run(again=False).record, run(again=False).options
    cases = every_crash(again=False, variants=2)
    killed = next(c for c in cases if read_beginning(c.disk.fs, "wal") is not None and "killed" in c.name)
    left: list[Disk] = []
    killed.disk.observe(lambda disk, kind: left.append(disk.picture()) if kind == "unlink" else None)
    Life(killed.disk, record, options, SEED)
    assert len(left) > 2
    for disk in left:
        for _, survivor in disk.survivors(SEED, None):
            life = Life(survivor, record, options, SEED)
            check(life.store, life.pool, record, killed.mark)


@pytest.mark.full
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("again", [False, True])
def test_a_crash_in_a_start_after_any_crash(*, again: bool) -> None:
    source = Random(SEED)
    cases = every_crash(again=again, variants=4)
    print(sum(survive_interrupted_recovery(run(again=again), case, 2, source, 8) for case in cases), "machines")


@pytest.mark.full
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("again", [False, True])
def test_a_crash_at_every_call(*, again: bool) -> None:
    cases = every_crash(again=again, variants=None)
    print(f"{len(cases)} machines, {sum(survive(run(again=again), case) for case in cases)} with those afterwards")


def faults(*, again: bool) -> list[Fault]:
    disk = machine(again=again)
    first = len(disk.fs.trace)
    assert first == disk.fs.calls
    prune_disk(disk)
    return [
        fault
        for at, kind in enumerate(disk.fs.trace[first:], first)
        for error in (errno.EIO, errno.ENOSPC, 0)
        for forever in (False, True)
        if (fault := Fault(at, error, forever)).hits(at, kind)
    ]


def fails(fault: Fault, *, again: bool) -> None:
    """The prune says so, with an error of ours, or did its work; nothing is lost then, nor after a crash then."""
    disk, record = machine(again=again), run(again=again).record
    disk.fs.fail_at(fault)
    try:
        prune_disk(disk)
    except StorageError:
        disk.fs.recover_from_faults()
    for _, left in [("restart", disk.picture()), *islice(disk.survivors(SEED, 3), 3)]:
        life = Life(left, record, run(again=again).options, SEED)
        check(life.store, life.pool, record, record.mark())
        bare = Life(life.disk.bare(), record, run(again=again).options, SEED)
        check(bare.store, bare.pool, record, record.mark())


def test_a_disk_that_dies_while_the_export_is_written_is_told_as_what_it_is() -> None:
    disk = machine(again=False)
    first = disk.fs.calls
    prune_disk(disk)
    writes = [at for at, kind in enumerate(disk.fs.trace) if kind == "pwrite" and at >= first]
    disk = machine(again=False)
    disk.fs.fail_at(Fault(writes[0], errno.EIO, forever=True))
    with pytest.raises(StoragePanic):
        prune_disk(disk)


@pytest.mark.parametrize("again", [False, True])
def test_some_failing_calls(*, again: bool) -> None:
    for fault in Random(SEED).sample(faults(again=again), FAULTS):
        fails(fault, again=again)


@pytest.mark.full
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("again", [False, True])
def test_every_failing_call(*, again: bool) -> None:
    every = faults(again=again)
    for fault in every:
        fails(fault, again=again)
    print(f"{len(every)} faults")
