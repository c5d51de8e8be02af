"""Running files of vectors: which cases, what comes of one, and several processes at once."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from dataclasses import dataclass
from itertools import islice
from typing import Any, Protocol

import msgspec

from node.conformance.errors import VectorsUnreadable
from node.conformance.vectors import VectorFile

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
    """What came of one case. Roots are state roots, for block tests the hashes of the last block."""

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


class Runner(Protocol):
    """Runs the cases of one kind of vectors."""

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
"""Of a worker process."""


def _run_in_worker(
    make: Callable[[str], Runner], engine: str, file: VectorFile, selection: Selection
) -> list[CaseResult]:
    global _runner
    if _runner is None:
        _runner = make(engine)
    return list(_runner.run_file(file, selection))


def run_files(
    make: Callable[[str], Runner],
    files: Iterable[VectorFile],
    selection: Selection,
    *,
    engine: str = "interpreter",
    jobs: int = 1,
) -> Iterator[CaseResult]:
    """All selected cases, in order; ``make`` gives a runner for an engine; 0 ``jobs`` means one per CPU.

    Raises `EngineUnavailable`, `VectorsUnreadable`.
    """
    runner = make(engine)  # refuses an engine here, not in a worker
    if jobs == 1:
        for file in files:
            yield from runner.run_file(file, selection)
        return
    jobs = jobs or os.cpu_count() or 1
    waiting: list[Future[list[CaseResult]]] = []
    source = iter(files)
    with ProcessPoolExecutor(jobs) as pool:
        while True:
            room = FILES_IN_FLIGHT_PER_JOB * jobs - len(waiting)
            waiting += [
                pool.submit(_run_in_worker, make, engine, file, selection) for file in islice(source, room)
            ]
            if not waiting:
                return
            yield from waiting.pop(0).result()
