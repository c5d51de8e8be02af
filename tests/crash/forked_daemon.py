"""Daemons that start in a twentieth of a second: `tests.daemon.Daemon` over the children of `tests.crash.zygote`."""

from __future__ import annotations

import json
import os
import select
import signal
import socket
import subprocess
import sys
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import IO, TextIO

from tests.daemon import Daemon
from tests.paths import REPO

WARM_SECONDS = 120.0

OFTEN = {
    "ZVMD_STORAGE__SEGMENT_SIZE_BYTES": "65536",
    "ZVMD_STORAGE__CHECKPOINT_SECONDS": "0.15",
    "ZVMD_STORAGE__EXPORT_SECONDS": "0.5",
    "ZVMD_STORAGE__BALLAST_BYTES": "4096",
}
"""Settings under which a short life rotates segments, writes checkpoints and exports, and recovers from all of them."""


class ForkedProcess:
    """A child of the zygote, as much of `subprocess.Popen` as `Daemon` uses."""

    def __init__(self, zygote: Zygote, pid: int, stdout: TextIO) -> None:
        self._zygote = zygote
        self.pid = pid
        self.stdout = stdout
        self.returncode: int | None = None

    def wait(self, seconds: float | None = None) -> int:
        """The exit status; raises `subprocess.TimeoutExpired`."""
        if self.returncode is None:
            if not select.select([self._zygote.orders], [], [], seconds)[0]:
                raise subprocess.TimeoutExpired("zvmd", seconds or 0)
            self.returncode = json.loads(self._zygote.orders.recv(100))
            self._zygote.busy = False
        return self.returncode

    def send_signal(self, number: int) -> None:
        """Unless it has ended: the zygote waits for it."""
        if self.returncode is None:
            with suppress(ProcessLookupError):
                os.kill(self.pid, number)

    def kill(self) -> None:
        """``kill -9``."""
        self.send_signal(signal.SIGKILL)


class Zygote:
    """The parent of daemons, one at a time."""

    def __init__(self, log: Path) -> None:
        self.orders, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.busy = False
        environment = {**os.environ, "PYTHONPATH": str(REPO)}
        with log.open("ab") as errors:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "tests.crash.zygote", str(theirs.fileno())],
                pass_fds=[theirs.fileno()], cwd=REPO, env=environment, stdout=errors, stderr=errors,
            )  # fmt: skip
        theirs.close()
        ready = select.select([self.orders], [], [], WARM_SECONDS)[0]
        assert ready, f"no warm zygote within {WARM_SECONDS} s"
        assert self.orders.recv(100), log.read_text()

    def fork(
        self,
        arguments: list[str],
        environment: Mapping[str, str],
        directory: Path,
        failpoint: str,
        log: IO[str],
        *,
        unprivileged: bool = False,
        user: int = 0,
    ) -> ForkedProcess:
        """A new daemon; the one before has ended and was waited for."""
        assert not self.busy, "the daemon before was not waited for"
        order = {
            "arguments": arguments,
            "environment": dict(environment),
            "directory": str(directory),
            "failpoint": failpoint,
            "unprivileged": unprivileged,
            "user": user,
        }
        reading, writing = os.pipe()
        socket.send_fds(self.orders, [json.dumps(order).encode()], [writing, log.fileno()])
        os.close(writing)
        self.busy = True
        return ForkedProcess(self, json.loads(self.orders.recv(100)), os.fdopen(reading, encoding="utf-8"))

    def close(self) -> None:
        """End it; a daemon still alive dies with it."""
        self.orders.close()
        self._process.wait(30)


class ForkedDaemon(Daemon):
    """A daemon out of a zygote."""

    def __init__(
        self, zygote: Zygote, data_dir: Path, *arguments: str, environment: Mapping[str, str] | None = None
    ) -> None:
        super().__init__(data_dir, "--log-level", "warning", *arguments, environment=environment)
        self._zygote = zygote
        self._environment.update(OFTEN)
        self.failpoint = ""
        """Where the next process shall die, see `storage.io.failpoints`."""
        self.unprivileged = False
        """Whether file modes hold for it, though the tests are run by root."""
        self.user = 0
        """As whom it runs, if the tests may choose."""

    def _spawn(self, arguments: list[str], log: IO[str]) -> ForkedProcess:
        failpoint, self.failpoint = self.failpoint, ""
        return self._zygote.fork(
            arguments,
            self._environment,
            self.data_dir.parent,
            failpoint,
            log,
            unprivileged=self.unprivileged,
            user=self.user,
        )
