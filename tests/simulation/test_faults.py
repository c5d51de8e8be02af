"""Calls of a whole node fail, once or until repaired: the policy holds, and a restart finds all that was promised."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from random import Random
from traceback import extract_tb

import pytest

from node.engine.committer import Committer
from storage.errors import (
    StateStoreCorrupt,
    StateStoreWriteFailed,
    StorageError,
    StorageFull,
    StoragePanic,
    StorageUnreadable,
)
from tests.simulation.disks import Disk, MachineKv
from tests.simulation.explore import Case, Run, survive
from tests.simulation.script import Script
from tests.simulation.simfaults import APPLICABLE, READING, SYNCING, Fault
from tests.simulation.simfs import SimFs
from tests.simulation.simkv import SimSnapshot
from tests.simulation.workloads import WORKLOADS

SEED = int(os.environ.get("ZVMD_SIMULATION_SEED", "1"))
SHORT = 0
ERRORS = (errno.EIO, errno.ENOSPC, errno.EDQUOT, errno.EINTR, SHORT)
FULL = (errno.ENOSPC, errno.EDQUOT)
CASES = 4


@dataclass
class Victim:
    """A workload on a machine whose disk fails."""

    run: Run
    """The same workload without faults: what the chain becomes."""
    disk: Disk
    failure: BaseException | None = None
    store: FailingKv = field(init=False, repr=False)
    script: Script | None = None

    def live(self) -> None:
        """Go on until something fails, or to the end."""
        workload = WORKLOADS[self.run.name]
        self.record = workload.record()
        latest = [self.disk]
        self.disk.observe(lambda disk, _: latest.__setitem__(0, disk))
        try:
            self.script = workload.start(self.disk, self.record)
            workload.run(self.script)
            self.script.life.check()
        except StorageError as error:
            self.failure = error
        self.disk = latest[0]

    def nothing_is_answered_any_more(self) -> None:
        """After a panic of its own the committer must not get another group through; a job's ends the process."""
        if self.script is None or not isinstance(self.failure, StoragePanic):
            return
        if all(frame.name != Committer.commit.__name__ for frame in extract_tb(self.failure.__traceback__)):
            return
        life, answered = self.script.life, len(self.record.answered)
        if life.disk is not self.disk:  # it was killed before; the next one failed to start
            return
        life.disk.fs._faults.clear()
        for turn in life.turns:
            with suppress(StorageError):
                life.committer.commit(turn)
        life.turns.clear()
        with suppress(StorageError):
            life.turn(life.mine())
            raise AssertionError("a turn after the panic came through")
        assert len(self.record.answered) == answered

    def outcome_is_right(self, kind: str, error: int, forever: bool) -> None:
        """The policy of the reliability notes, section 2.6."""
        failed = self.failure
        if error == SHORT or (error == errno.EINTR and not forever):
            assert failed is None
        elif error in FULL:
            assert failed is None or isinstance(failed, StorageFull)
        elif kind in READING - {"open"}:
            assert isinstance(failed, StorageUnreadable)
        elif kind in SYNCING:
            assert isinstance(failed, StoragePanic)
        else:
            assert isinstance(failed, StoragePanic | StorageUnreadable)

    def recovers(self, name: str, variants: int, seed: int) -> int:
        """Whatever happens to the machine then, the next process finds what was promised."""
        self.disk.fs._faults.clear()
        answered = [(ask.sent.hash, type(ask.answer)) for ask in self.record.answered]
        expected = [(ask.sent.hash, type(ask.answer)) for ask in self.run.record.answered[: len(answered)]]
        assert answered == expected
        states = 0
        for variant, disk in list(self.disk.survivors(seed, 12))[:variants]:
            states += survive(self.run, Case(f"{name}, {variant}", disk, self.record.mark()))
        return states


def faults(trace: list[str]) -> Iterator[tuple[int, str, int, bool]]:
    """Call, kind, error, for ever: everything that can go wrong in a run."""
    for call, kind in enumerate(trace):
        for error in ERRORS:
            if kind in APPLICABLE[error]:
                yield call, kind, error, False
                yield call, kind, error, True


def explore(run: Run, chosen: Iterable[tuple[int, str, int, bool]], variants: int) -> int:
    states = 0
    for call, kind, error, forever in chosen:
        name = f"call {call} ({kind}) fails with {errno.errorcode.get(error, 'SHORT')}{' for ever' * forever}"
        victim = Victim(run, Disk.new(run.seed))
        victim.disk.fs.fail_at(Fault(call, error, forever=forever, partial=error in FULL and call % 2 == 0))
        try:
            victim.live()
            victim.outcome_is_right(kind, error, forever)
            victim.nothing_is_answered_any_more()
            states += victim.recovers(name, variants, call)
        except Exception as problem:
            problem.add_note(
                f"workload {run.name!r}, seed {run.seed}: {name}, which raised {victim.failure!r}"
            )
            raise
    return states


@pytest.mark.parametrize("name", WORKLOADS)
def test_failing_calls(name: str) -> None:
    run, source = Run.of(name, SEED), Random(f"{SEED} {name}")
    assert run.last is not None
    possible = list(faults(run.last.disk.fs.trace))
    assert len(possible) > 200
    assert explore(run, source.sample(possible, CASES), 2) > CASES


@pytest.mark.full
@pytest.mark.timeout(7200)
@pytest.mark.parametrize("name", WORKLOADS)
def test_every_call_failing(name: str) -> None:
    run = Run.of(name, 31)
    assert run.last is not None
    explore(run, faults(run.last.disk.fs.trace), 2)


def full_disk(call: int) -> Victim:
    run = Run.of("groups", SEED)
    victim = Victim(run, Disk.new(run.seed))
    victim.disk.fs.fail_at(Fault(call, errno.ENOSPC, forever=True))
    victim.live()
    return victim


def test_a_full_disk_makes_the_node_read_only_until_there_is_room() -> None:
    run = Run.of("groups", SEED)
    assert run.last is not None
    waited = 0
    writes = [call for call, kind in enumerate(run.last.disk.fs.trace) if kind == "pwrite"]
    for call in Random(SEED).sample(writes, 8):
        victim = full_disk(call)
        if victim.failure is None and victim.disk.waits:
            waited += 1
            assert victim.script is not None
            assert not victim.script.life.committer.read_only
            assert victim.disk.waits == 3
            assert victim.record.blocks == run.record.blocks
    assert waited


class FailingKv(MachineKv):
    """A state store one of whose reads fails."""

    fails_at_read = 0
    reads = 0

    def count_read(self) -> None:
        self.reads += 1
        if self.reads == self.fails_at_read:
            raise StateStoreCorrupt("simulated checksum error")

    def get(self, key: bytes) -> bytes | None:
        self.count_read()
        return super().get(key)

    def snapshot(self) -> FailingSnapshot:
        return FailingSnapshot(self, dict(self._snapshot._data))


class FailingSnapshot(SimSnapshot):
    """A moment of a `FailingKv`."""

    __slots__ = ("_store",)

    def __init__(self, store: FailingKv, data: dict[bytes, bytes]) -> None:
        super().__init__(data)
        self._store = store

    def get(self, key: bytes) -> bytes | None:
        self._store.count_read()
        return super().get(key)


@pytest.mark.parametrize("name", ["checkpoints", "late checkpoints", "rotation and retention", "commands"])
@pytest.mark.parametrize("applied", [False, True])
def test_a_failing_checkpoint_ends_the_process(name: str, applied: bool) -> None:
    run = Run.of(name, SEED)
    assert run.last is not None
    for batch in range(run.last.disk.fs.trace.count("kv write")):
        disk = Disk.new(run.seed)
        disk.kv.fail_writes_from, disk.kv.applies_failed_write = batch, applied
        victim = Victim(run, disk)
        victim.live()
        if victim.failure is None:  # a kill in between has replaced the store
            continue
        assert isinstance(victim.failure, StateStoreWriteFailed)
        victim.recovers(f"batch {batch} fails, {applied=}", 2, batch)


@pytest.mark.parametrize("name", ["tokens", "late checkpoints", "intervals"])
def test_a_state_that_cannot_be_read_ends_the_process(name: str) -> None:
    """No transaction is refused, no block sealed over it: a block half applied must not stay."""
    run, source = Run.of(name, SEED), Random(SEED)
    probe = unreadable(run, 10**9)
    assert probe.failure is None
    reads = probe.store.reads
    for number, read in enumerate(source.sample(range(1, reads + 1), min(40, reads))):
        victim = unreadable(run, read)
        assert isinstance(victim.failure, StateStoreCorrupt), read
        if number % 5:
            continue
        victim.recovers(f"read {read} of {reads} fails", 1, read)


def unreadable(run: Run, read: int) -> Victim:
    fs = SimFs(run.seed)
    store = FailingKv(fs)
    store.fails_at_read = read
    victim = Victim(run, Disk(fs, store))
    victim.live()
    victim.store = store
    return victim
