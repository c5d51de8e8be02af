"""The official state tests: the forks in use at every commit, all others in the full run."""

from __future__ import annotations

import pytest

from node.conformance.running import Selection
from node.conformance.statetest import run_state_tests
from node.conformance.vectors import vector_files
from tests.paths import FIXTURES

EVERY_COMMIT = {
    "eest-v5.4.0-state-Cancun": 3_048,
    "eest-v5.4.0-state-Prague": 3_345,
    "eest-v5.4.0-state-Osaka": 3_661,
    "ethtests-v14.1-GeneralStateTests": 6_593,
    "legacytests-VMTests": 229,
}
"""Subtests by archive: none may be lost."""

FULL = {
    "eest-v5.4.0-state-Frontier": 44,
    "eest-v5.4.0-state-Homestead": 45,
    "eest-v5.4.0-state-Byzantium": 79,
    "eest-v5.4.0-state-ConstantinopleFix": 81,
    "eest-v5.4.0-state-Istanbul": 131,
    "eest-v5.4.0-state-Berlin": 227,
    "eest-v5.4.0-state-London": 231,
    "eest-v5.4.0-state-Paris": 248,
    "eest-v5.4.0-state-Shanghai": 309,
    "legacytests-Cancun-GeneralStateTests": 30_954,
    "legacytests-Constantinople-GeneralStateTests": 6_674,
}


def _check(archive: str, count: int | None, engine: str = "interpreter", match: str | None = None) -> None:
    path = FIXTURES / f"{archive}.tar.xz"
    if not path.exists():
        pytest.skip(f"no fixtures at {FIXTURES}")
    failures, seen = [], 0
    for result in run_state_tests(vector_files([path]), Selection(match=match), engine=engine):
        seen += 1
        if not result.passed:
            failures.append(f"{result.name}: {result.error}")
    assert not failures, f"{len(failures)} of {seen}, first: " + "; ".join(failures[:5])
    assert seen == count if count is not None else seen > 0


@pytest.mark.parametrize(("archive", "count"), EVERY_COMMIT.items())
def test_state_vectors(archive: str, count: int) -> None:
    _check(archive, count)


@pytest.mark.full
@pytest.mark.parametrize(("archive", "count"), FULL.items())
def test_state_vectors_of_older_forks(archive: str, count: int) -> None:
    _check(archive, count)


@pytest.mark.full
@pytest.mark.timeout(3600)
@pytest.mark.parametrize(("archive", "count"), (EVERY_COMMIT | FULL).items())
def test_state_vectors_compiled(archive: str, count: int) -> None:
    _check(archive, count, "jit")


def test_a_slice_of_the_state_vectors_compiled() -> None:
    _check("eest-v5.4.0-state-Prague", None, "jit", r"eip7702.*gas|eip2537.*G1ADD|eip1153")
