"""A daemon on a small disk of its own that is really filled, freed, and filled again.

A disk that fills in the time of many looks at it makes the node read-only, which goes on by itself. One that is full
from one moment to the next may meet a checkpoint half way; LevelDB then takes no more writes until it is opened again,
which the node does when there is room. It never ends, and nothing acknowledged is lost.
"""

from __future__ import annotations

import errno
import os
import random
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

from tests.crash.forked_daemon import ForkedDaemon, Zygote
from tests.crash.harness import FAST, KillHarness
from tests.crash.quic import quic_to
from tests.daemon import Daemon, DaemonFailed
from tests.rpc import RpcFailed

DISK_BYTES = 48 * 2**20
MARKS = {
    "ZVMD_STORAGE__SPACE_WARN_BYTES": str(4 * 2**20),
    "ZVMD_STORAGE__SPACE_READ_ONLY_BYTES": str(2**20),
    "ZVMD_STORAGE__BALLAST_BYTES": str(2**19),
}
CHUNK = 2**16
PATIENCE_SECONDS = 60.0
ROOM_LEFT = 3 * 2**18
"""Less than the mark at which the node becomes read-only, enough for what it then writes down."""
WAYS = ("freed", "freed", "killed while full", "started while full", "full at once")


@contextmanager
def small_disk(place: Path) -> Iterator[Path]:
    """A file system in memory of `DISK_BYTES`. Raises `PermissionError` where nobody may mount one."""
    disk = place / "disk"
    disk.mkdir()
    mounting = ["mount", "-t", "tmpfs", "-o", f"size={DISK_BYTES}", "zvmd-test", str(disk)]
    if subprocess.run(mounting, capture_output=True, check=False).returncode:
        raise PermissionError(f"cannot mount a small disk at {disk}")
    try:
        yield disk
    finally:
        subprocess.run(["umount", "-l", str(disk)], capture_output=True, check=False)


class Filler:
    """A file that takes all the room."""

    def __init__(self, disk: Path) -> None:
        self._path = disk / "filler"

    def fill(self, left: int = 0) -> None:
        """Take all but so many bytes, or what is left, to the last page."""
        with self._path.open("ab", buffering=0) as file:
            for size in (CHUNK, 4096):
                with suppress(Full):
                    while free_bytes(self._path) - size >= left:
                        write(file, size)

    def free(self) -> None:
        """Give it back."""
        self._path.unlink(missing_ok=True)


class Full(Exception):
    """No room."""


def write(file: IO[bytes], size: int) -> None:
    """Write zeros. Raises `Full`."""
    try:
        file.write(bytes(size))
    except OSError as error:
        if error.errno == errno.ENOSPC:
            raise Full from error
        raise


def free_bytes(path: Path) -> int:
    """On its file system."""
    stat = os.statvfs(path)
    return stat.f_bavail * stat.f_frsize


class FullDisk:
    """Fills the disk under load; then frees it under the running node, or after the node is gone."""

    def __init__(self, disk: Path, seed: int) -> None:
        self._filler = Filler(disk)
        self._chance = random.Random(seed)
        self.ways = dict.fromkeys(WAYS, 0)
        self.refusals = 0
        """Nodes that became read-only."""
        self.reads = 0
        """Answered while the disk was full."""

    def __call__(self, daemon: Daemon) -> None:
        """The end of a cycle's load."""
        way = self._chance.choice(WAYS)
        self.ways[way] += 1
        if way == "full at once":
            self._at_once(daemon)
        else:
            self._filler.fill(ROOM_LEFT)
            self._until_read_only(daemon)
            self._filler.fill()
            self._read(daemon, self._chance.uniform(0.2, 1.0))
        if way == "freed":
            self._filler.free()
            self._write(daemon)
        elif daemon.is_running:
            daemon.kill()
        if way == "started while full":
            self._filler.fill()
            self._start(daemon)
        self._filler.free()

    def _at_once(self, daemon: Daemon) -> None:
        self._filler.fill()
        self._read(daemon, self._chance.uniform(0.2, 1.0))

    def _start(self, daemon: Daemon) -> None:
        """It starts and can be read, or says why it does not."""
        try:
            daemon.start()
        except DaemonFailed as error:
            if "error[" not in str(error):
                raise
            return
        self._read(daemon, 0.1)
        daemon.kill()

    def _until_read_only(self, daemon: Daemon) -> None:
        """The node has seen that there is little room, and written down what it had."""
        rpc, end = daemon.rpc(), time.monotonic() + PATIENCE_SECONDS
        while True:
            self._filler.fill(ROOM_LEFT)  # again: LevelDB may have given a file back since
            status = rpc.call("zvmd_status")
            if status["disk"]["room"] == "none" and status["checkpointBlock"] == status["head"]["number"]:
                break
            if time.monotonic() > end:
                raise AssertionError(f"not read-only after {PATIENCE_SECONDS} s: {status}")
            time.sleep(0.02)
        self.refusals += 1
        rpc.close()

    def _read(self, daemon: Daemon, seconds: float) -> None:
        """Reads are answered, every one."""
        rpc, end = daemon.rpc(), time.monotonic() + seconds
        head = int(rpc.call("eth_blockNumber"), 16)
        while time.monotonic() < end:
            number = hex(self._chance.randint(0, head))
            assert rpc.call("eth_getBlockByNumber", number, True)["number"] == number
            assert int(rpc.call("eth_getBalance", "0x" + "11" * 20, number), 16) == 0
            self.reads += 2
        rpc.close()

    def _write(self, daemon: Daemon) -> None:
        """Changes go through again, without a restart."""
        rpc, end = daemon.rpc(), time.monotonic() + PATIENCE_SECONDS
        while True:
            try:
                rpc.call("zvmd_mine", 1, f"freed {self._chance.random()}")
                break
            except RpcFailed:
                if time.monotonic() > end:
                    raise
                time.sleep(0.05)
        rpc.close()


def fill_and_free(place: Path, seed: int, cycles: int, deadline: float = float("inf")) -> tuple[FullDisk, int]:
    """So many cycles on one disk; what was done, and how many. Raises `PermissionError` as `small_disk`."""
    with small_disk(place) as disk:
        zygote = Zygote(place / "zygote.log")
        daemon = ForkedDaemon(zygote, disk / "data")
        daemon.log_file = place / "daemon.log"
        daemon._environment.update(MARKS)
        full = FullDisk(disk, seed)
        harness = KillHarness(daemon, seed, quic_to(daemon), end=full, pace=FAST)
        harness.record.may_be_full = True
        try:
            harness.run(cycles, deadline)
        except BaseException as error:
            error.add_note(f"seed {seed}, cycle {harness.report.cycles}: {daemon.log(1500)}")
            raise
        finally:
            daemon.close()
            zygote.close()
    return full, harness.report.cycles

