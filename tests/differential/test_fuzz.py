"""Random programs end as in EELS and revm, compiled or not, and every case that once did not still does."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.differential import fuzz
from tests.differential.checking import Checker
from tests.differential.fuzz import REGRESSIONS, load, run_processes, shrink
from tests.differential.oracles import OF_PROGRAMS, Oracle, is_installed
from tests.differential.programs import Case, random_case

PER_COMMIT = 60
FULL = dict.fromkeys(range(2, 12), 10_000)
"""Programs by seed: 100,000 in all."""


@pytest.fixture(scope="module")
def checker() -> Iterator[Checker]:
    oracles = [Oracle.start(name) for name in OF_PROGRAMS]
    if None in oracles:
        pytest.skip("no oracles here: `make oracles` installs them")
    made = Checker([oracle for oracle in oracles if oracle is not None])
    yield made
    made.finish()


@pytest.mark.parametrize("path", sorted(REGRESSIONS.glob("*.json")), ids=lambda path: path.stem)
def test_saved_case(path: Path, checker: Checker) -> None:
    assert not checker.check([load(path)], share=1.0)


def check_programs(seed: int, programs: int) -> None:
    if not all(is_installed(name) for name in OF_PROGRAMS):
        pytest.skip("no oracles here: `make oracles` installs them")
    counts, failures = run_processes(seed, programs, 1, alone=False)
    print(f"seed {seed}: {counts}")
    assert not failures
    assert counts.programs == programs
    # None of the comparisons may fall away unseen.
    assert min(counts.limits, counts.with_revm) > programs // 3
    assert counts.lines > 40 * programs
    assert counts.contracts > programs // 2
    assert counts.entered > programs


def test_some_random_programs() -> None:
    check_programs(1, PER_COMMIT)


@pytest.mark.full
@pytest.mark.timeout(3_600)
@pytest.mark.parametrize(("seed", "programs"), FULL.items())
def test_many_random_programs(seed: int, programs: int) -> None:
    check_programs(seed, programs)


def test_a_failing_case_is_made_small() -> None:
    case = random_case(5)
    needle = "5f3560e01c"
    case.codes[0] += needle

    def fails(tried: Case) -> bool:
        return needle in tried.codes[0]

    assert shrink(case, fails).codes == [needle, "", "", ""]


def test_what_ran_when_a_process_died_is_saved(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fuzz, "REGRESSIONS", tmp_path / "regressions")
    running, case = tmp_path / "0.json", random_case(6)
    running.write_text(json.dumps(case.to_json()) + "\nleft over of a longer one")
    assert "but not when run again" in fuzz._after_a_crash(running, -11)
    (saved,) = fuzz.REGRESSIONS.iterdir()
    assert load(saved) == case
