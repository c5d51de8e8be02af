"""Runs files of vectors: selection of cases, choice of machine, results, and parallel processes."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from dataclasses import dataclass, fields
from itertools import islice
from pathlib import Path
from typing import Any, Final, Protocol

import msgspec

from node.conformance.errors import VectorsUnreadable
from node.conformance.vectors import VectorFile
from node.machine.assembly import machine_parts
from node.machine.object_cache import FileObjectCache
from vm.evm.jit.metrics import Metrics
from vm.machine import Machine, Parts

FILES_IN_FLIGHT_PER_JOB = 4


@dataclass(frozen=True, slots=True)
class Selection:
    """Which cases to run."""

    fork: str | None = None
    """Only this fork, by the vectors' name."""
    match: str | None = None
    """Only names in which this regular expression is found; a name is ``file::case[...]``."""

    def pattern(self) -> re.Pattern[str] | None:
        """``match`` compiled."""
        return re.compile(self.match) if self.match else None


@dataclass(slots=True)
class CaseResult:
    """Result of one case. Roots are state roots; for block tests, hashes of the last block."""

    name: str
    fork: str
    passed: bool
    got_root: str = ""
    want_root: str = ""
    error: str = ""

    def to_json(self) -> dict[str, Any]:
        """As ``--json`` prints it."""
        result: dict[str, Any] = {"name": self.name, "fork": self.fork, "pass": self.passed}
        result |= {"got": self.got_root, "want": self.want_root}
        if self.error:
            result["error"] = self.error
        return result


@dataclass(frozen=True, slots=True)
class MachineChoice:
    """Which machine runs the cases; the same in all processes."""

    engine: str = "interpreter"
    cache: Path | None = None
    """Directory where compiled objects are kept, for all processes and later runs."""
    dump: Path | None = None
    """Directory for blocks, IR and assembly of what is compiled."""

    def parts(self) -> Parts:
        """The parts of a machine of this choice."""
        cache = None if self.cache is None else FileObjectCache(self.cache)
        return machine_parts(cache, self.engine, dump=self.dump)


INTERPRETED: Final = MachineChoice()


def add(total: Metrics, more: Metrics, *, times: int = 1) -> None:
    """Sum up what several machines did."""
    for field in fields(Metrics):
        setattr(total, field.name, getattr(total, field.name) + times * getattr(more, field.name))


class Runner(Protocol):
    """Runs the cases of one kind of vectors."""

    machine: Machine

    def run_file(self, file: VectorFile, selection: Selection) -> Iterator[CaseResult]:
        """All selected cases of a file, in its order. Raises `VectorsUnreadable`."""


def cases_of(file: VectorFile) -> dict[str, dict[str, Any]]:
    """Name to case. Raises `VectorsUnreadable`."""
    try:
        cases = msgspec.json.decode(file.data)
    except msgspec.DecodeError as error:
        raise VectorsUnreadable(f"{file.name}: {error}") from None
    if not isinstance(cases, dict) or not all(isinstance(case, dict) for case in cases.values()):
        raise VectorsUnreadable(f"{file.name}: not an object of cases")
    return cases


_runner: Runner | None = None
"""State of a worker process."""


def _run(runner: Runner, file: VectorFile, selection: Selection) -> tuple[list[CaseResult], Metrics]:
    """The cases of a file, and what the JIT did for them."""
    did = Metrics()
    add(did, runner.machine.metrics, times=-1)
    results = list(runner.run_file(file, selection))
    runner.machine.status()
    add(did, runner.machine.metrics)
    return results, did


def _run_in_worker(
    make: Callable[[MachineChoice], Runner], choice: MachineChoice, file: VectorFile, selection: Selection
) -> tuple[list[CaseResult], Metrics]:
    global _runner
    if _runner is None:
        _runner = make(choice)
    return _run(_runner, file, selection)


def run_files(
    make: Callable[[MachineChoice], Runner],
    files: Iterable[VectorFile],
    selection: Selection,
    *,
    choice: MachineChoice = INTERPRETED,
    jobs: int = 1,
    did: Metrics | None = None,
) -> Iterator[CaseResult]:
    """All selected cases, in order; ``make`` gives a runner for a machine; 0 ``jobs`` means one per CPU.

    What the JIT did is added to ``did``. Raises `EngineUnavailable`, `VectorsUnreadable`.
    """
    did = Metrics() if did is None else did
    runner = make(choice)  # refuses an engine here, not in a worker
    if jobs == 1:
        for file in files:
            results, metrics = _run(runner, file, selection)
            add(did, metrics)
            yield from results
        return
    jobs = jobs or os.cpu_count() or 1
    waiting: list[Future[tuple[list[CaseResult], Metrics]]] = []
    source = iter(files)
    with ProcessPoolExecutor(jobs) as pool:
        while True:
            room = FILES_IN_FLIGHT_PER_JOB * jobs - len(waiting)
            waiting += [
                pool.submit(_run_in_worker, make, choice, file, selection) for file in islice(source, room)
            ]
            if not waiting:
                return
            results, metrics = waiting.pop(0).result()
            add(did, metrics)
            yield from results
