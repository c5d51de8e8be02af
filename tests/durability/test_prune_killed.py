"""Processes that prune a log and are killed: at named places, and at any moment."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from node.pruning import prune_data_directory
from node.verification import verify_data_directory
from storage.directory import layout
from storage.io.failpoints import ENVIRONMENT
from storage.io.files import RealFs
from storage.wal.bounds import read_beginning
from tests.durability.test_prune import live, opened, remove_state, segments
from tests.paths import REPO

POINTS = ("wal.prune.before", "wal.prune.noted", "wal.prune.unlinked", "wal.prune.unlinked:2", "wal.prune.done")


def pruning(place: Path, point: str = "") -> subprocess.Popen[bytes]:
    """A process of its own, to be killed: LevelDB has threads, which a fork would not take along."""
    command = [sys.executable, "-m", "node.cli.main", "wal", "prune", "--data-dir", str(place)]
    return subprocess.Popen(command, cwd=REPO, env={**os.environ, ENVIRONMENT: point}, stdout=subprocess.DEVNULL)


@pytest.mark.full
@pytest.mark.parametrize("after", ["start", "prune", "start without the state store"])
@pytest.mark.parametrize("point", POINTS)
def test_killed_at_places(tmp_path: Path, point: str, after: str) -> None:
    kill_in_prune(tmp_path, point, after)


def test_killed_between_two_segments(tmp_path: Path) -> None:
    kill_in_prune(tmp_path, "wal.prune.unlinked", "start without the state store")


def kill_in_prune(place: Path, point: str, after: str) -> None:
    """The next start, or the next prune, finishes what was begun; the chain is the same."""
    node = live(place)
    digest = node.digest()
    node.close()
    before = segments(place)
    assert pruning(place, point).wait(60) == -signal.SIGKILL, f"{point} was not reached"
    assert verify_data_directory(place).problems == []
    if after == "prune":
        prune_data_directory(place)
    elif "without" in after:
        remove_state(place)
    node = opened(place)
    assert node.digest() == digest
    beginning = read_beginning(RealFs(place), layout.WAL)
    first = beginning.sequence if beginning is not None else 0
    assert (first > 0) == (point != "wal.prune.before" or after == "prune")
    assert segments(place) == before[first:]
    node.grow(1)
    node.close()


@pytest.mark.full
@pytest.mark.timeout(600)
def test_killed_at_random_moments(tmp_path: Path) -> None:
    """A prune that is killed at any moment, again and again, while the chain grows in between."""
    source, seconds, done = random.Random(5), 1.0, 0
    for number in range(40):
        node = opened(tmp_path)
        node.grow(12)
        node.checkpoint()
        node.opened.export(2)
        digest = node.digest()
        node.close()
        begin = time.monotonic()
        process = pruning(tmp_path)
        if number > 1:
            time.sleep(source.uniform(seconds / 3, seconds))
            process.kill()
        if not process.wait(60):
            done += 1
            seconds = time.monotonic() - begin
        if number % 3 == 0:
            remove_state(tmp_path)
        node = opened(tmp_path)
        assert node.digest() == digest
        node.close()
    assert 2 <= done < 40
