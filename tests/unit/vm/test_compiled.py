"""The machine's tests once more with engine ``jit``, where every contract is compiled when it is first called."""

from __future__ import annotations

import os
import re
import subprocess
import sys

import pytest

from tests.paths import REPO

OF_THEIR_OWN = ("test_hostile_code", "test_guard_pages", "test_compiled")
"""These choose their engines themselves."""


@pytest.mark.full
@pytest.mark.timeout(1_200)
def test_all_tests_of_the_machine_compiled() -> None:
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-m", "not full", "tests/unit/vm"]
    command += [f"--ignore=tests/unit/vm/{name}.py" for name in OF_THEIR_OWN]
    environment = os.environ | {"ZVMD_TEST_ENGINE": "jit"}
    environment.pop("PYTEST_XDIST_WORKER", None)
    done = subprocess.run(
        command, cwd=REPO, env=environment, capture_output=True, text=True, timeout=1_100, check=False
    )
    assert done.returncode == 0, done.stdout[-4_000:]
    passed = re.search(r"(\d+) passed", done.stdout)
    assert passed is not None
    assert int(passed[1]) > 1_000
