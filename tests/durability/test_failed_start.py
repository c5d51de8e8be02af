"""A start that fails after the threads run ends the process: nothing keeps the data directory."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from chain.errors import EXIT_CONFIG, EXIT_FAILED
from storage.errors import DataDirectoryUnusable
from tests.daemon import Daemon, clean_environment
from tests.paths import REPO
from zvmd.endpoint import ENDPOINTS_FILE

ANY_PORTS = ("--http-port", "0", "--quic-port", "0")
FEW_THREADS = """
import signal, sys, threading
left, start = int(sys.argv.pop(1)), threading.Thread.start

def refuse(*_):
    global left
    left = 0

def counted(self):
    global left
    if not left:
        raise RuntimeError("can't start new thread")
    left -= 1
    start(self)

signal.signal(signal.SIGUSR1, refuse)
threading.Thread.start = counted
from node.cli.main import main
main()
"""


COUNTS = [3, 12, *(pytest.param(count, marks=pytest.mark.full) for count in range(16) if count not in (3, 12))]
NO_HOME = """
import os, pwd
del os.environ["HOME"]
pwd.getpwuid = {}.__getitem__
from node.cli.main import main
main()
"""
SMALL_FILES = """
import resource
resource.setrlimit(resource.RLIMIT_FSIZE, (20_000_000, 20_000_000))
from node.cli.main import main
main()
"""


def ended(program: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    environment = clean_environment() | {"PYTHONPATH": str(REPO)}
    command = [sys.executable, "-c", program, *arguments]
    return subprocess.run(command, capture_output=True, text=True, env=environment, timeout=120, check=False)


@pytest.mark.parametrize("count", COUNTS)
def test_a_start_without_enough_threads_ends_and_says_so(tmp_path: Path, count: int) -> None:
    """With ``TasksMax=`` too low, or a container's limit of pids: it printed nothing, or hung holding the directory."""
    data_dir = str(tmp_path / "data")
    result = ended(FEW_THREADS, str(count), "start", "--dev", "--data-dir", data_dir, *ANY_PORTS)
    assert result.returncode == EXIT_FAILED
    assert "error[os]: can't start new thread\nhint: allow more: " in result.stderr


def test_a_node_that_gets_no_thread_any_more_stops_in_order(tmp_path: Path) -> None:
    command = (sys.executable, "-c", FEW_THREADS, "1000")
    with Daemon(tmp_path / "data", command=command, environment={"PYTHONPATH": str(REPO)}) as daemon:
        daemon.rpc().call("anvil_mine", "0x3")
        os.kill(daemon.pid, signal.SIGUSR1)
        daemon.stop()
        daemon.start()
        assert daemon.rpc().call("eth_blockNumber") == "0x3"


@pytest.mark.parametrize(("command", "status"), [("start", EXIT_CONFIG), ("status", EXIT_FAILED)])
def test_a_user_without_a_home_is_told_so(command: str, status: int) -> None:
    """As in containers that run as any number; it ended with a traceback."""
    result = ended(NO_HOME, command)
    assert result.stderr.startswith("error["), result.stderr
    assert result.returncode == status


def test_files_that_may_not_be_as_large_as_a_segment_are_a_matter_of_configuration(tmp_path: Path) -> None:
    result = ended(SMALL_FILES, "start", "--dev", "--data-dir", str(tmp_path / "data"), *ANY_PORTS)
    assert result.returncode == DataDirectoryUnusable.exit_code, result.stderr
    assert "File too large" in result.stderr


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
