"""``zvmd session debug`` in a real terminal (a pty)."""

from __future__ import annotations

import os
import pty
import subprocess
import sys

import pytest

from tests.conftest import Node
from tests.daemon import clean_environment
from tests.paths import REPO


def zvmd(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "node.cli.main", "session", "debug", *arguments]


def until(terminal: int, *wanted: bytes) -> bytes:
    """What the terminal shows until it has shown all of some things. A missing one is a time-out of the test."""
    seen = b""
    while not all(text in seen for text in wanted):
        piece = os.read(terminal, 65536)
        assert piece, seen
        seen += piece
    return seen


@pytest.mark.parametrize("transport", ["quic", pytest.param("http", marks=pytest.mark.full)])
def test_it_draws_obeys_keys_and_leaves_the_session(node: Node, transport: str) -> None:
    if node.daemon is None:
        pytest.skip("an outside node has no data directory")
    master, slave = pty.openpty()
    link = ["--data-dir", str(node.daemon.data_dir)] + (["--http"] if transport == "http" else [])
    environment = {**clean_environment(), "TERM": "xterm-256color", "COLUMNS": "120", "LINES": "40"}
    command = zvmd(*link, "--code", "0x6001600201")
    process = subprocess.Popen(command, stdin=slave, stdout=slave, stderr=slave, cwd=REPO, env=environment)
    os.close(slave)
    try:
        until(master, b"step 0  pc 0x0", b"PUSH1 0x02")
        os.write(master, b"jj")
        until(master, b"step 2  pc 0x4")
        os.write(master, b"q")
        until(master, b"stays as it is: zvmd session debug ")
        assert process.wait(20) == 0
    finally:
        process.kill()
        process.wait()
        os.close(master)


def test_it_asks_for_one_session() -> None:
    for arguments in ((), ("3", "--code", "0x00")):
        done = subprocess.run(zvmd(*arguments), capture_output=True, text=True, cwd=REPO, check=False)
        assert done.returncode == 2
        assert "give the ID of a session, or --code, --to" in done.stderr
