"""Takes a picture of the machine before every call of a workload, and lets it crash there in every way."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from random import Random
from typing import Any

from storage.export import founding_export
from tests.simulation.disks import Disk
from tests.simulation.life import LAST, Life
from tests.simulation.record import Mark, Record, check, sessions_kept
from tests.simulation.script import Script, Workload
from tests.simulation.simfaults import READING
from tests.simulation.workloads import WORKLOADS

HARMLESS = READING | {"exists", "size"}
"""Calls that change nothing: a crash before one is a crash before the next that does."""


@dataclass
class Picture:
    """A moment of a run."""

    call: int
    kind: str
    disk: Disk
    mark: Mark


@dataclass
class Case:
    """A machine after a crash, and the last moment that leaves it."""

    name: str
    disk: Disk
    mark: Mark


@dataclass
class Run:
    """A workload that ran to its end, and every moment of it."""

    name: str
    seed: int
    record: Record
    options: dict[str, Any]
    last: Life | None = None
    pictures: list[Picture] = field(default_factory=list)

    @classmethod
    def of(
        cls, name: str, seed: int, workload: Workload | None = None, pictures: list[Picture] | None = None
    ) -> Run:
        """Run a workload, by default the one of that name, on a new machine; ``pictures`` fills while it runs."""
        workload = workload or WORKLOADS[name]
        record = workload.record()
        run = cls(name, seed, record, workload.settings, pictures=pictures if pictures is not None else [])

        def picture(disk: Disk, kind: str) -> None:
            if kind not in HARMLESS:
                run.pictures.append(Picture(disk.fs.calls, kind, disk.picture(), record.mark()))

        disk = Disk.new(seed)
        disk.observe(picture)
        script = workload.start(disk, record)
        workload.run(script)
        run.last = script.life
        run.last.check()
        picture(run.last.disk, "end")
        return run

    def cases(self, variants: int | None, since: int = 0) -> list[Case]:
        """Every crash of the run, or from picture ``since`` on.

        Machines that are alike come once, with the moment after which the most was promised.
        """
        return distinct(crashes(self.pictures[since:], self.seed, variants))

    def life(self, disk: Disk) -> Life:
        """A process on a copy of this machine."""
        return Life(disk.picture(), self.record, self.options, self.seed)


def crashes(pictures: list[Picture], seed: int, variants: int | None) -> Iterator[Case]:
    """What a crash at each of these moments may leave."""
    for picture in pictures:
        for variant, disk in picture.disk.survivors(seed * 1_000_003 + picture.call, variants):
            yield Case(f"call {picture.call} ({picture.kind}), {variant}", disk, picture.mark)


def distinct(cases: Iterator[Case]) -> list[Case]:
    """Without repetition."""
    found: dict[bytes, Case] = {}
    for case in cases:
        found[case.disk.fingerprint()] = case
    return list(found.values())


def survive(run: Run, case: Case, *, twice: bool = True) -> int:
    """The node comes back with all it promised, goes on, and survives another crash; ``twice``: it comes back the same
    if it is started once more.

    Returns the number of crashed machines looked at: this one, and those after the second crash.
    """
    try:
        life = run.life(case.disk)
        check(life.store, life.pool, run.record, case.mark)
        if twice and founding_export(case.disk.fs):
            bare = run.life(case.disk.bare())
            check(bare.store, bare.pool, run.record, case.mark)
        if twice:
            again = run.life(life.disk)
            oldest = again.store.state.oldest
            assert again.digest(oldest) == life.digest(oldest), "a second recovery found another chain"
            life = again
        return 1 + go_on(run, life, case)
    except Exception as error:
        error.add_note(f"workload {run.name!r}, seed {run.seed}, crash at {case.name}")
        raise


def go_on(run: Run, life: Life, case: Case) -> int:
    """Three more transactions, then another crash."""
    source = Random(case.name)
    kept = sessions_kept(life.store, run.record, case.mark)
    life.record = run.record.branch(case.mark, life.store.head.number + 1, kept)
    script = Script(life)
    first, second, third = (script.transfer(LAST, 0, wei) for wei in (1, 2, 3))
    life.turn(life.submit(first, wait_mined=True), life.keep(1, case.name.encode()), life.mine())
    if source.random() < 0.5:
        life.checkpoint()
    if source.random() < 0.5:
        life.index()
    life.turn(life.submit(second), life.keep(2, None), commit=False)
    life.turn(life.submit(third, wait_mined=True), life.mine())
    for sent in (first, second, third):
        assert life.store.transaction_place(sent.hash) is not None
    images = 0
    for name, disk in life.disk.survivors(source.randrange(2**32), 3):
        try:
            last = Life(disk, life.record, run.options, run.seed)
            last.check()
        except Exception as error:
            error.add_note(f"three transactions later, second crash: {name}")
            raise
        images += 1
    return images


def survive_interrupted_recovery(run: Run, case: Case, depth: int, source: Random, samples: int) -> int:
    """Crash again at every changing call of the recovery, or at ``samples`` of them, and so on to ``depth``."""
    pictures: list[Picture] = []

    def picture(disk: Disk, kind: str) -> None:
        if kind not in HARMLESS:
            pictures.append(Picture(disk.fs.calls, kind, disk.picture(), case.mark))

    disk = case.disk.picture()
    disk.observe(picture)
    Life(disk, run.record, run.options, run.seed)
    inner = distinct(crashes(pictures, run.seed, 4))
    images = 0
    for one in inner if len(inner) <= samples else source.sample(inner, samples):
        one.name = f"{case.name}; in its recovery {one.name}"
        images += survive(run, one)
        if depth > 1:
            images += survive_interrupted_recovery(run, one, depth - 1, source, samples)
    return images
