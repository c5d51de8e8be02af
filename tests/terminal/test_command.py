"""``zvmd session debug`` in a real terminal (a pty)."""

from __future__ import annotations

import os
import pty
import subprocess
import sys
from collections.abc import Iterator

import pytest

from tests.conftest import Node
from tests.daemon import clean_environment
from tests.paths import REPO


def zvmd(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "node.cli.main", "session", "debug", *arguments]


def until(terminal: int, wanted: bytes) -> Iterator[bytes]:
    """What the terminal shows, until it has shown something. A missing thing is a time-out of the test."""
    seen = b""
    while wanted not in seen:
        piece = os.read(terminal, 65536)
        assert piece, seen
        seen += piece
        yield piece


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
        assert b"PUSH1 0x02" in b"".join(until(master, b"step 0  pc 0x0"))
        os.write(master, b"jj")
        list(until(master, b"step 2  pc 0x4"))
        os.write(master, b"q")
        end = b"".join(until(master, b"zvmd session debug "))
        assert b"stays as it is" in end
        assert process.wait(20) == 0
    finally:
        process.kill()
        process.wait()
        os.close(master)


def test_it_asks_for_one_session() -> None:
    for arguments in ((), ("3", "--code", "0x00")):
        done = subprocess.run(zvmd(*arguments), capture_output=True, text=True, cwd=REPO, check=False)
        assert done.returncode == 2
        assert "give the ID of a session, or what a new one is of" in done.stderr
