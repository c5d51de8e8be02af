"""The wheel of this checkout, built once, and programs of an installation, run outside the checkout."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.daemon import clean_environment
from tests.paths import REPO


@pytest.fixture(scope="session")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("built")
    run(sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "--wheel-dir", str(folder), str(REPO), cwd=folder)
    (built,) = folder.glob("zvmd-*.whl")
    return built


def run(*command: str, cwd: Path) -> str:
    """Run a program that must succeed, outside the checkout; its standard output."""
    result = subprocess.run(
        command, capture_output=True, text=True, cwd=cwd, env=clean_environment(), timeout=500, check=False
    )
    assert result.returncode == 0, f"{command}: {result.stderr[-4_000:]}"
    return result.stdout
