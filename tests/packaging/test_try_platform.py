"""The trial that the rows of docs/platforms.md come from, here; and that it tells a node that does not start."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from tests.daemon import clean_environment
from tests.paths import REPO


def trial(folder: Path, *options: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, str(REPO / "tools/try_platform.py"), str(folder / "chain"), *options],
        capture_output=True, text=True, env=clean_environment() | {"PYTHONPATH": str(REPO)}, timeout=250, check=False,
    )  # fmt: skip


def test_this_platform_passes(tmp_path: Path) -> None:
    result = trial(tmp_path)
    assert result.returncode == 0, result.stderr
    steps = [line.split("  ")[0] for line in result.stdout.splitlines()]
    assert steps[-2:] == ["zvmd verify", "tried"]
    assert {"transactions, calls", "gas of compiled code", "debug session imported", "same chain"} <= set(steps)


def test_a_node_that_does_not_start_fails_the_trial(tmp_path: Path) -> None:
    result = trial(tmp_path, "--hardfork", "none")
    assert result.returncode == 1
    assert "no READY line, exit status 78" in result.stderr
    assert "tried" not in result.stdout
