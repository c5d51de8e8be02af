"""The official block tests: every block accepted or refused for the reason given, the right head and state.

Nothing is skipped. All archives take half a minute of one core; the archives of forks before Cancun that say
little more than the state tests are left to the full run.
"""

from __future__ import annotations

import pytest

from node.conformance.blocktest import run_block_tests
from node.conformance.running import Selection
from node.conformance.vectors import vector_files
from tests.paths import FIXTURES

EVERY_COMMIT = {
    "eest-v5.4.0-blockchain-Cancun": 342,
    "eest-v5.4.0-blockchain-Prague": 531,
    "eest-v5.4.0-blockchain-Osaka": 715,
    "eest-v5.4.0-blockchain-transition": 19,
    "ethtests-v14.1-BlockchainTests": 197,
    "legacytests-Cancun-BlockchainTests": 918,
}
"""Cases by archive: none may be lost."""

FULL = {
    "eest-v5.4.0-blockchain-Frontier": 33,
    "eest-v5.4.0-blockchain-Homestead": 34,
    "eest-v5.4.0-blockchain-Byzantium": 50,
    "eest-v5.4.0-blockchain-ConstantinopleFix": 52,
    "eest-v5.4.0-blockchain-Istanbul": 71,
    "eest-v5.4.0-blockchain-Berlin": 97,
    "eest-v5.4.0-blockchain-London": 101,
    "eest-v5.4.0-blockchain-Paris": 121,
    "eest-v5.4.0-blockchain-Shanghai": 182,
}


def _check(archive: str, count: int) -> None:
    path = FIXTURES / f"{archive}.tar.xz"
    if not path.exists():
        pytest.skip(f"no fixtures at {FIXTURES}")
    failures, seen = [], 0
    for result in run_block_tests(vector_files([path]), Selection()):
        seen += 1
        if not result.passed:
            failures.append(f"{result.name}: {result.error}")
    assert not failures, f"{len(failures)} of {seen}, first: " + "; ".join(failures[:5])
    assert seen == count


@pytest.mark.parametrize(("archive", "count"), EVERY_COMMIT.items())
def test_block_vectors(archive: str, count: int) -> None:
    _check(archive, count)


@pytest.mark.full
@pytest.mark.parametrize(("archive", "count"), FULL.items())
def test_block_vectors_of_older_forks(archive: str, count: int) -> None:
    _check(archive, count)
