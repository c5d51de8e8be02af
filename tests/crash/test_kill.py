"""``kill -9`` at random moments under load: nothing acknowledged is lost, doubled or changed."""

from __future__ import annotations

import os
import random
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.crash.forked_daemon import ForkedDaemon, Zygote
from tests.crash.harness import FAST, KillHarness, Pace
from tests.crash.quic import quic_to
from tests.daemon import Daemon
from tests.engines import ENVIRONMENT


def seed() -> int:
    """``ZVMD_TEST_SEED``, or a new one; a failure prints it. Moments of threads are not replayed by it."""
    return int(os.environ.get("ZVMD_TEST_SEED", random.SystemRandom().getrandbits(32)))


def run(daemon: Daemon, cycles: int, end: Callable[[Daemon], None] = Daemon.kill, pace: Pace | None = None) -> None:
    """End the process and check; prints the report also when it fails."""
    harness = KillHarness(daemon, seed(), quic_to(daemon), end=end, pace=pace)
    try:
        harness.run(cycles)
    finally:
        daemon.close()
        print(harness.report)


def run_forked(place: Path, cycles: int, end: Callable[[Daemon], None] = Daemon.kill) -> None:
    """The same on daemons that start in a moment."""
    zygote = Zygote(place / "zygote.log")
    try:
        run(ForkedDaemon(zygote, place / "data"), cycles, end, FAST)
    finally:
        zygote.close()


def stop(daemon: Daemon) -> None:
    """SIGTERM: what was answered is there, and the process says it ended well."""
    assert daemon.stop() == 0, daemon.log()


@pytest.mark.timeout(600)
def test_kill_once(tmp_path: Path) -> None:
    """A process as users start it."""
    run(Daemon(tmp_path / "data"), 1)


@pytest.mark.timeout(600)
@pytest.mark.parametrize(("engine", "times"), [("leveldb", 6), ("rocksdb", 3)])
def test_kill_forked_daemons(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, engine: str, times: int) -> None:
    monkeypatch.setenv(ENVIRONMENT, engine)
    run_forked(tmp_path, times)


@pytest.mark.timeout(600)
def test_stop_in_order_under_load(tmp_path: Path) -> None:
    run_forked(tmp_path, 3, stop)


@pytest.mark.full
@pytest.mark.timeout(3_600)
def test_kill_50_times(tmp_path: Path) -> None:
    run(Daemon(tmp_path / "data"), 50)


@pytest.mark.full
@pytest.mark.timeout(3_600)
def test_stop_50_times_in_order_under_load(tmp_path: Path) -> None:
    run_forked(tmp_path, 50, stop)


def test_a_stop_the_moment_it_is_ready_is_in_order(tmp_path: Path) -> None:
    daemon = Daemon(tmp_path / "data")
    try:
        for _ in range(3):
            daemon.start()
            assert daemon.stop() == 0, daemon.log()
    finally:
        daemon.close()
