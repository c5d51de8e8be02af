"""A start that fails after the threads run ends the process: nothing keeps the data directory."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from storage.errors import DataDirectoryUnusable
from tests.daemon import Daemon, clean_environment
from tests.paths import REPO
from zvmd.endpoint import ENDPOINTS_FILE


def test_a_start_that_fails_behind_its_doors_ends_the_process(tmp_path: Path) -> None:
    data_dir = tmp_path / "data"
    in_the_way = data_dir / ENDPOINTS_FILE
    in_the_way.mkdir(parents=True)
    command = [sys.executable, "-m", "node.cli.main", "start", "--dev", "--quiet", "--data-dir", str(data_dir)]
    result = subprocess.run(
        [*command, "--http-port", "0", "--quic-port", "0"],
        capture_output=True, text=True, env=clean_environment() | {"PYTHONPATH": str(REPO)}, timeout=60, check=False,
    )  # fmt: skip
    assert result.returncode == DataDirectoryUnusable.exit_code, result.stderr
    assert ENDPOINTS_FILE in result.stderr
    assert "READY" not in result.stdout
    in_the_way.rmdir()
    with Daemon(data_dir) as daemon:
        assert daemon.ready_line.startswith("READY")
