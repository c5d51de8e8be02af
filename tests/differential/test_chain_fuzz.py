"""Mutated transactions and blocks come out as in EELS, compiled or not, and every case that once did not still does."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.differential import chain_fuzz, fuzz
from tests.differential.chain_checking import ChainCase, ChainChecker, ChainCounts, document_of
from tests.differential.chain_fuzz import ARCHIVES, CHAINS, REGRESSIONS, load, run_range, shrink
from tests.differential.oracles import Oracle
from tests.differential.state_cases import official_case
from tests.paths import FIXTURES

PER_COMMIT = 40
FORKS_PER_COMMIT = ("Osaka", "London", "EIP150")
"""The specification takes a while to import each of its forks."""
FULL = dict.fromkeys(range(20, 24), 2_500)
"""Cases by seed: 10,000 in all."""


@pytest.fixture(scope="module")
def checker() -> Iterator[ChainChecker]:
    oracle = Oracle.start("eels_chain")
    if oracle is None:
        pytest.skip("no execution specification here: `make oracles` installs it")
    made = ChainChecker(oracle)
    yield made
    made.finish()


@pytest.mark.parametrize("path", sorted(REGRESSIONS.glob("*.json")), ids=lambda path: path.stem)
def test_saved_case(path: Path, checker: ChainChecker) -> None:
    assert not checker.check([load(path)])


def check_counts(counts: ChainCounts, cases: int) -> None:
    """None of the comparisons may fall away unseen."""
    assert counts.transactions > cases // 2
    assert counts.executed > counts.transactions // 2
    assert counts.failed > counts.transactions // 10
    assert counts.blocks > cases
    assert counts.accepted > counts.blocks // 5
    assert counts.given_up < cases // 10


def test_some_mutated_transactions_and_blocks(checker: ChainChecker) -> None:
    if not FIXTURES.exists():
        pytest.skip(f"no fixtures at {FIXTURES}")
    assert not run_range(1, PER_COMMIT, checker, FORKS_PER_COMMIT)
    check_counts(checker.counts, PER_COMMIT)


@pytest.mark.full
@pytest.mark.timeout(3_600)
@pytest.mark.parametrize(("seed", "cases"), FULL.items())
def test_many_mutated_transactions_and_blocks(seed: int, cases: int) -> None:
    if not FIXTURES.exists() or Oracle.start("eels_chain") is None:
        pytest.skip("no fixtures or no execution specification here")
    counts, failures = fuzz.run_processes(seed, cases, 1, campaign=CHAINS)
    print(f"seed {seed}: {counts}")
    assert not failures
    check_counts(counts, cases)


def test_a_failing_transaction_is_made_small() -> None:
    case = official_case(random.Random(4), ARCHIVES)
    needle = "fe5f3560e01c"
    case["transaction"]["data"] = ["0x" + "00" * 40 + needle + "11" * 40]

    def fails(tried: ChainCase) -> bool:
        return needle in tried["transaction"]["data"][0]

    small = shrink(case, fails)
    assert small["transaction"]["data"] == ["0x" + needle]
    assert not small["pre"]


def test_what_ran_when_a_process_died_is_saved(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(chain_fuzz, "REGRESSIONS", tmp_path / "regressions")
    running, case = tmp_path / "0.json", official_case(random.Random(6), ARCHIVES)
    running.write_text(json.dumps(document_of(case)) + "\nleft over of a longer one")
    assert "ended with -11" in chain_fuzz._after_a_crash(running, -11)
    (saved,) = chain_fuzz.REGRESSIONS.iterdir()
    assert load(saved) == case
