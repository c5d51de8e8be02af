"""The nodes that are measured: zvmd, and anvil where it is present, each a process on loopback."""

from __future__ import annotations

import contextlib
import http.client
import socket
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tests.daemon import CHAIN_ID, Daemon, free_port
from tests.programs import find_program
from tests.rpc import Rpc

ACCOUNTS = 40
BLOCK_GAS_LIMIT = 30_000_000
START_SECONDS = 30.0
NO_ANSWERS_KEPT = {"ZVMD_LIMITS__ANSWER_CACHE_BYTES": "0"}
"""Of the environment of a node that is measured: every call is run."""


@dataclass(frozen=True, slots=True)
class Target:
    """A running node with the development accounts funded."""

    name: str
    url: str
    pid: int
    daemon: Daemon | None = None

    def rpc(self) -> Rpc:
        """A JSON-RPC connection; one per thread."""
        return Rpc(self.url)


@contextlib.contextmanager
def zvmd(folder: Path, *more: str, gas_limit: int = BLOCK_GAS_LIMIT) -> Iterator[Target]:
    """A new zvmd on a new data directory; ``more`` are arguments of ``zvmd start``."""
    options = ["--accounts", str(ACCOUNTS), "--block-gas-limit", str(gas_limit), *more]
    daemon = Daemon(folder / "data", *options, environment=NO_ANSWERS_KEPT)
    try:
        daemon.start()
        assert daemon.rpc().call("zvmd_status")["answerCache"]["bytesMax"] == 0, "calls would not be run"
        yield Target("zvmd", daemon.http_url, daemon.pid, daemon)
    finally:
        daemon.close()


@contextlib.contextmanager
def anvil(program: str, *more: str, gas_limit: int = BLOCK_GAS_LIMIT) -> Iterator[Target]:
    """A new anvil with the same accounts, chain id and gas limit; it keeps everything in memory."""
    port = free_port(socket.SOCK_STREAM)
    options = ["--port", str(port), "--accounts", str(ACCOUNTS), "--chain-id", str(CHAIN_ID), "--quiet"]
    process = subprocess.Popen([program, *options, "--gas-limit", str(gas_limit), *more])
    try:
        target = Target("anvil", f"http://127.0.0.1:{port}", process.pid)
        _await_answer(target)
        yield target
    finally:
        process.kill()
        process.wait()


def processor_seconds(pid: int) -> float:
    """Processor time that all threads of a process have taken, to the nanosecond."""
    nanoseconds = 0
    for task in Path(f"/proc/{pid}/task").iterdir():
        with contextlib.suppress(OSError):  # a thread that has just ended
            nanoseconds += int((task / "schedstat").read_text().split()[0])
    return nanoseconds / 1e9


def find_anvil() -> str | None:
    """Path of anvil, if this machine has it."""
    return find_program("anvil")


def _await_answer(target: Target) -> None:
    deadline = time.monotonic() + START_SECONDS
    while True:
        try:
            target.rpc().call("eth_chainId")
        except (OSError, http.client.HTTPException):
            if time.monotonic() > deadline:
                raise
            time.sleep(0.05)
        else:
            return
