"""A start that fails after the threads run ends the process: nothing keeps the data directory."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from chain.errors import EXIT_FAILED
from tests.daemon import Daemon, clean_environment
from tests.paths import REPO

WITHOUT_PROC = 'umount --lazy /proc && exec "$0" -m node.cli.main start --dev --quiet "$@"'
"""The memory job reads ``/proc`` when it is made, behind the open doors. (`zvmd` refuses to start there.)"""


def test_a_job_that_cannot_be_made_ends_the_process(tmp_path: Path) -> None:
    if subprocess.run(["unshare", "--mount", "true"], capture_output=True, check=False).returncode:
        pytest.skip("mounting needs privileges")
    data_dir = tmp_path / "data"
    ports = ["--http-port", "0", "--quic-port", "0"]
    result = subprocess.run(
        ["unshare", "--mount", "sh", "-c", WITHOUT_PROC, sys.executable, "--data-dir", str(data_dir), *ports],
        capture_output=True, text=True, env=clean_environment() | {"PYTHONPATH": str(REPO)}, timeout=60, check=False,
    )  # fmt: skip
    assert result.returncode == EXIT_FAILED, result.stderr
    assert "/proc/self/status" in result.stderr
    assert "READY" not in result.stdout
    with Daemon(data_dir) as daemon:
        assert daemon.ready_line.startswith("READY")
