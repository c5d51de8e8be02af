"""``kill -9`` at random moments under load: nothing acknowledged is lost, doubled or changed."""

from __future__ import annotations

import os
import random
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.crash.harness import KillHarness
from tests.crash.quic import quic_to
from tests.daemon import Daemon


def seed() -> int:
    """``ZVMD_TEST_SEED``, or a new one; a failure prints it. Moments of threads are not replayed by it."""
    return int(os.environ.get("ZVMD_TEST_SEED", random.SystemRandom().getrandbits(32)))


def run(tmp_path: Path, cycles: int, end: Callable[[Daemon], None] = Daemon.kill) -> None:
    """End the process and check; prints the report also when it fails."""
    daemon = Daemon(tmp_path / "data")
    harness = KillHarness(daemon, seed(), quic_to(daemon), end=end)
    try:
        harness.run(cycles)
    finally:
        daemon.close()
        print(harness.report)


@pytest.mark.timeout(600)
def test_kill_5_times(tmp_path: Path) -> None:
    run(tmp_path, 5)


@pytest.mark.timeout(600)
def test_stop_in_order_under_load(tmp_path: Path) -> None:
    """SIGTERM: what was answered is there, and the process says it ended well."""

    def stop(daemon: Daemon) -> None:
        assert daemon.stop() == 0, daemon.log()

    run(tmp_path, 2, stop)


@pytest.mark.full
@pytest.mark.timeout(3_600)
def test_kill_50_times(tmp_path: Path) -> None:
    run(tmp_path, 50)


def test_a_stop_the_moment_it_is_ready_is_in_order(tmp_path: Path) -> None:
    daemon = Daemon(tmp_path / "data")
    try:
        for _ in range(3):
            daemon.start()
            assert daemon.stop() == 0, daemon.log()
    finally:
        daemon.close()
