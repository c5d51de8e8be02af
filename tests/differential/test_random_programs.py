"""Random programs on both engines: same outcome, gas, output, logs, refund and state."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.differential.compare import REGRESSIONS, differ, load
from tests.paths import REPO

PER_COMMIT = 300
FULL_PROCESSES = 20
FULL_PROGRAMS = 5_000


@pytest.mark.parametrize("path", sorted(REGRESSIONS.glob("*.json")), ids=lambda path: path.stem)
def test_programs_that_once_failed(path: Path) -> None:
    how = differ(load(path))
    assert how is None, how


def _run(seed: int, count: int, seconds: int) -> None:
    # In a process of its own: what native code does wrong must not take the test run with it.
    command = [sys.executable, "-m", "tests.differential.compare", str(seed), str(count)]
    done = subprocess.run(command, cwd=REPO, capture_output=True, text=True, timeout=seconds, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_random_programs() -> None:
    _run(20_260_101, PER_COMMIT, 200)


@pytest.mark.full
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("seed", range(FULL_PROCESSES))
def test_many_random_programs(seed: int) -> None:
    _run(seed, FULL_PROGRAMS, 3500)
