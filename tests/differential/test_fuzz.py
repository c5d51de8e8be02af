"""Random programs end as in revm, and every case that once did not still does."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.differential.fuzz import REGRESSIONS, compare, fuzz, load, shrink
from tests.differential.programs import Case, random_case
from tests.differential.revm import Revm


@pytest.fixture(scope="module")
def revm() -> Iterator[Revm]:
    worker = Revm.start_or_skip()
    yield worker
    worker.close()


@pytest.mark.parametrize("path", sorted(REGRESSIONS.glob("*.json")), ids=lambda path: path.stem)
def test_saved_case(path: Path, revm: Revm) -> None:
    assert not compare([load(path)], revm, 1)


def test_some_random_programs(revm: Revm) -> None:
    done, failures = fuzz(1, 500, revm, keep=False)
    assert not failures
    assert done == 500


@pytest.mark.full
@pytest.mark.timeout(1_800)
@pytest.mark.parametrize("seed", range(2, 12))
def test_many_random_programs(seed: int, revm: Revm) -> None:
    done, failures = fuzz(seed, 10_000, revm)
    assert not failures
    assert done == 10_000


def test_a_failing_case_is_made_small() -> None:
    case = random_case(5)
    needle = "5f3560e01c"
    case.codes[0] += needle

    def fails(tried: Case) -> bool:
        return needle in tried.codes[0]

    assert shrink(case, fails).codes == [needle, "", "", ""]
