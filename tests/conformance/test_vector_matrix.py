"""Official state, VM and block tests: all of every fork in both engines in the full run, some of each at every commit.

Which there are and what is skipped: `tests.conformance.matrix`. The same by hand: ``zvmd statetest --engine jit
../shared/fixtures/*state* ../shared/fixtures/*State* ../shared/fixtures/*VMTests*`` and ``zvmd blocktest``.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterable
from functools import lru_cache

import pytest

from node.conformance.running import MachineChoice, Selection
from node.conformance.vectors import VectorFile, vector_files
from tests.conformance.matrix import ENGINES, SKIPPED, SUITES, Suite
from tests.paths import FIXTURES, REPO
from vm.evm.jit.metrics import Metrics

CACHE = REPO / ".cache" / "objects"
"""Compiled contracts, shared by the processes of a run and by the runs after it."""
SLICE = 60
"""One file in so many runs at every commit."""
SLICE_BYTES_MAX = 60_000
"""Larger files are left to the full run."""


def files_of(suite: Suite) -> Iterable[VectorFile]:
    path = FIXTURES / f"{suite.archive}.tar.xz"
    if not path.exists():
        pytest.skip(f"no fixtures at {FIXTURES}")
    return vector_files([path])


@lru_cache(maxsize=2)
def some_files(archive: str) -> tuple[VectorFile, ...]:
    """The same ones every time: one in so many, and the largest, which run most code."""
    found = [file for file in files_of(SUITES[archive]) if len(file.data) < SLICE_BYTES_MAX]
    largest = sorted(found, key=lambda file: len(file.data))[-2:]
    return tuple(file for file in found if file in largest or not zlib.crc32(file.name.encode()) % SLICE)


def check(suite: Suite, files: Iterable[VectorFile], engine: str) -> int:
    """How many cases ran; all must pass, and compiled if that is asked."""
    did, failures, seen = Metrics(), [], 0
    for result in suite.run(files, Selection(), choice=MachineChoice(engine, CACHE), did=did):
        seen += 1
        if not result.passed and result.name not in SKIPPED:
            failures.append(f"{result.name}: {result.error}")
    assert not failures, f"{len(failures)} of {seen}, first: " + "; ".join(failures[:5])
    if engine == "jit":
        print(f"{suite.archive}: {did}")
        assert did.functions
        assert did.entered >= seen // 2
        assert not did.failed
        assert not did.rejected
    return seen


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("archive", SUITES)
def test_some_vectors(archive: str, engine: str) -> None:
    assert check(SUITES[archive], some_files(archive), engine)


@pytest.mark.full
@pytest.mark.timeout(3_600)
@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("archive", SUITES)
def test_all_vectors(archive: str, engine: str) -> None:
    suite = SUITES[archive]
    assert check(suite, files_of(suite), engine) == suite.count
