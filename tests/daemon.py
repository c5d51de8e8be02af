"""A zvmd daemon as a process of its own: started, awaited, killed and restarted by the tests."""

from __future__ import annotations

import ctypes
import os
import queue
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import IO, Any, Protocol

import zvmd
from tests.engines import chosen
from tests.paths import REPO
from tests.rpc import Rpc

READY_SECONDS = 90.0
STOP_SECONDS = 30.0
CHAIN_ID = 31_337

_PRCTL = ctypes.CDLL(None).prctl
_PR_SET_PDEATHSIG = 1


class Process(Protocol):
    """What is used of `subprocess.Popen`."""

    pid: int

    @property
    def stdout(self) -> IO[str] | None: ...

    def wait(self, timeout: float | None = None) -> int: ...

    def send_signal(self, sig: int) -> None: ...

    def kill(self) -> None: ...


class DaemonFailed(Exception):
    """The process ended, or said nothing, before READY."""


class Daemon:
    """``zvmd start --dev`` on a data directory of its own and on free ports, which it keeps over restarts."""

    def __init__(
        self,
        data_dir: Path,
        *arguments: str,
        command: tuple[str, ...] = (),
        environment: Mapping[str, str] | None = None,
    ) -> None:
        self.data_dir = data_dir
        self.http_port = free_port(socket.SOCK_STREAM)
        self.quic_port = free_port(socket.SOCK_DGRAM)
        self.log_file = data_dir.with_name(f"{data_dir.name}.log")
        self.ready_line = ""
        self.printed: list[str] = []
        """Lines of standard output read so far, over restarts."""
        self._lines: queue.Queue[str | None] = queue.Queue()
        self._arguments = arguments
        self._command = command or (sys.executable, "-m", "node.cli.main")
        self._environment = clean_environment() | dict(environment or {})
        if not command:
            self._environment["PYTHONPATH"] = str(REPO)
        self._process: Process | None = None

    def __enter__(self) -> Daemon:
        """Started, and left running no longer than the block lasts."""
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def http_url(self) -> str:
        """Where JSON-RPC is answered."""
        return f"http://127.0.0.1:{self.http_port}"

    @property
    def is_running(self) -> bool:
        """Whether it was started and neither stopped nor killed by us."""
        return self._process is not None

    @property
    def pid(self) -> int:
        """Process id of the running daemon."""
        return self._running().pid

    def rpc(self) -> Rpc:
        """A JSON-RPC connection; one per thread."""
        return Rpc(self.http_url)

    def quic(self) -> zvmd.Node:
        """The SDK's client over QUIC, a connection as long as its ``with`` block."""
        return zvmd.Node(f"quic://127.0.0.1:{self.quic_port}", data_dir=self.data_dir)

    def call_over_quic(self, method: str, *params: object) -> Any:
        """The result of one call, on a connection of its own."""
        with self.quic() as client:
            return client.rpc(method, *params)

    def start(self, *extra: str, wait: bool = True) -> str:
        """Start the process and wait for its READY line, which is returned (empty with ``wait=False``)."""
        assert self._process is None, "already started"
        arguments = ["start", "--dev", "--data-dir", str(self.data_dir)]
        arguments += ["--http-port", str(self.http_port), "--quic-port", str(self.quic_port)]
        with self.log_file.open("a", encoding="utf-8") as log:
            self._process = self._spawn([*arguments, *self._arguments, *extra], log)
        self._lines = queue.Queue()
        threading.Thread(target=_read_lines, args=(self._process, self._lines, self.printed), daemon=True).start()
        if wait:
            self.ready_line = self._await_ready(self._lines)
        return self.ready_line

    def lines(self) -> Iterator[str]:
        """What it prints behind READY, line by line, waiting for the next one at most `READY_SECONDS`."""
        while (line := self._lines.get(timeout=READY_SECONDS)) is not None:
            yield line

    def _spawn(self, arguments: list[str], log: IO[str]) -> Process:
        """The process, with its standard output piped to us."""
        return subprocess.Popen(
            [*self._command, *arguments],
            stdout=subprocess.PIPE,
            stderr=log,
            stdin=subprocess.DEVNULL,
            text=True,
            env=self._environment,
            cwd=self.data_dir.parent,
            start_new_session=True,
            preexec_fn=_die_with_the_tests,  # one system call, resolved before the fork
        )

    def kill(self) -> None:
        """``kill -9``: the process gets no chance to do anything."""
        process = self._running()
        os.kill(process.pid, signal.SIGKILL)
        process.wait(STOP_SECONDS)
        self._process = None

    def stop(self) -> int:
        """SIGTERM, wait, and the exit status; killed (and an error) if it does not end."""
        process = self._running()
        process.send_signal(signal.SIGTERM)
        return self.wait()

    def wait(self, seconds: float = STOP_SECONDS) -> int:
        """The exit status, once the process has ended."""
        process = self._running()
        try:
            return process.wait(seconds)
        except subprocess.TimeoutExpired as error:
            process.kill()
            process.wait()
            raise DaemonFailed(f"did not end within {seconds} s; log:\n{self.log()}") from error
        finally:
            self._process = None

    def close(self) -> None:
        """Make sure that nothing is left running."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def log(self, characters: int = 4_000) -> str:
        """The end of what the daemon wrote to standard error."""
        return self.log_file.read_text(encoding="utf-8", errors="replace")[-characters:]

    def _running(self) -> Process:
        assert self._process is not None, "not started"
        return self._process

    def _await_ready(self, lines: queue.Queue[str | None]) -> str:
        while True:
            try:
                line = lines.get(timeout=READY_SECONDS)
            except queue.Empty:
                self.close()
                raise DaemonFailed(f"no READY within {READY_SECONDS} s; log:\n{self.log()}") from None
            if line is None:
                status = self.wait()
                raise DaemonFailed(f"ended with status {status} before READY; log:\n{self.log()}")
            if line.startswith("READY"):
                return line.rstrip()


def free_port(kind: socket.SocketKind) -> int:
    """A loopback port nobody listens on."""
    with socket.socket(socket.AF_INET, kind) as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    assert isinstance(port, int)
    return port


def clean_environment() -> dict[str, str]:
    """This environment without settings of zvmd but the engine that is tested, and no way to import the checkout."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("ZVMD_") and name != "PYTHONPATH"}
    return kept | {"ZVMD_STORAGE__ENGINE": chosen()} if chosen() != "auto" else kept


def _die_with_the_tests() -> None:
    """In the child, before exec: SIGKILL it when the test process dies, however that comes about (Linux)."""
    _PRCTL(_PR_SET_PDEATHSIG, signal.SIGKILL)


def _read_lines(process: Process, lines: queue.Queue[str | None], printed: list[str]) -> None:
    """Pass standard output on line by line, then ``None``; keeps the pipe from filling."""
    assert process.stdout is not None
    with process.stdout as stream:
        for line in stream:
            printed.append(line)
            lines.put(line)
    lines.put(None)
