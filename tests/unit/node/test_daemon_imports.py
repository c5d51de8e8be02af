"""What a daemon has loaded at READY: not what it does not need yet, nor libraries that weaken the interpreter."""

from __future__ import annotations

import os
import signal
import sys
import time
from pathlib import Path

import pytest

from tests.daemon import Daemon
from tests.paths import REPO

UNWANTED = {
    "py_ecc": "raises the recursion limit to 100,000: hostile nesting would overflow the C stack",
    "eth_account": "imports py_ecc, and takes a second",
    "web3": "a client",
    "wasmtime": "only for WASM contracts",
    "trie": "only for `zvmd verify`",
    "sqlalchemy": "only for the index process: 20 MiB",
    "alembic": "only for the index process, and there for a migration",
    "llvmlite": "40 MiB; only the compiling process needs it",
    "cryptography": "10 MiB; certificates are checked in a process of their own, signatures when there are some",
    "rich": "6 MiB; only for terminals",
    "pygments": "only for terminals",
    "textual": "only for terminals",
}
"""Packages, and why not."""

WATCHED = """
import os, signal, sys

def tell(*_):
    part = {file!r} + ".part"
    with open(part, "w") as out:
        print(sys.getrecursionlimit(), *sys.modules, file=out)
    os.rename(part, {file!r})

signal.signal(signal.SIGUSR1, tell)
from node.cli.main import main
main()
"""


@pytest.fixture(scope="module")
def loaded(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """The recursion limit and the modules of a daemon that has said READY for the second time."""
    directory = tmp_path_factory.mktemp("imports")
    file = directory / "loaded"
    command = (sys.executable, "-c", WATCHED.format(file=str(file)))
    with Daemon(directory / "data", command=command, environment={"PYTHONPATH": str(REPO)}) as daemon:
        daemon.stop()
        daemon.start()
        os.kill(daemon.pid, signal.SIGUSR1)
        end = time.monotonic() + 30
        while not file.exists():
            assert time.monotonic() < end, daemon.log()
            time.sleep(0.01)
        return file.read_text().split()


def test_the_recursion_limit_is_pythons(loaded: list[str]) -> None:
    assert loaded[0] == "1000"


def test_nothing_unwanted_is_loaded(loaded: list[str]) -> None:
    packages = {name.partition(".")[0] for name in loaded[1:]}
    assert {"node", "vm", "qh3"} <= packages
    assert not packages & set(UNWANTED)


def test_the_interpreter_is_compiled_before_any_call(tmp_path: Path) -> None:
    """It was compiled within the first call, whose time limit that passed on a slow computer."""
    with Daemon(tmp_path / "data", "--hardfork", "cancun") as daemon:
        kept = [path.name for path in (daemon.data_dir / "cache").iterdir()]
    assert [name for name in kept if name.startswith("interpreter-cancun-")], kept
