"""What every test may ask for: a running node, and the client programs of other people."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import eth_account  # noqa: F401 - imported here for what it does to the interpreter, see below
import pytest
from hypothesis import HealthCheck, settings

from node.machine.object_cache import FileObjectCache
from tests import effort
from tests.daemon import Daemon
from tests.paths import OBJECTS
from tests.programs import NODE_MODULES, find_program
from tests.rpc import Rpc

sys.setrecursionlimit(1000)
"""Python's default. py_ecc, which eth_account imports, raises it to 100,000: far more than the C stack bears, so that
hostile nesting would crash the interpreter in C decoders. The daemon imports neither (test_daemon_imports)."""


OBJECTS_BYTES_MAX = 256 * 2**20


settings.register_profile("patient", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("patient")


def pytest_configure(config: pytest.Config) -> None:
    """Let tests know how much to try."""
    effort.look_at(config)


def pytest_sessionfinish() -> None:
    """Compiled code of programs that were tried once does not pile up."""
    FileObjectCache(OBJECTS).prune(OBJECTS_BYTES_MAX)


class Node(NamedTuple):
    """A running node: where it answers, and its process unless somebody else runs it."""

    http_url: str
    daemon: Daemon | None

    def rpc(self) -> Rpc:
        """A JSON-RPC connection; one per thread."""
        return Rpc(self.http_url)


@pytest.fixture(scope="session")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Node]:
    """A real daemon process that tests share, each using accounts and contracts of its own.

    With ``ZVMD_TEST_ENDPOINT=URL`` the client tests run against that node instead, for example anvil: a test
    that fails there too is wrong.
    """
    if endpoint := os.environ.get("ZVMD_TEST_ENDPOINT"):
        yield Node(endpoint, None)
        return
    daemon = Daemon(tmp_path_factory.mktemp("node") / "data")
    daemon.start()
    try:
        yield Node(daemon.http_url, daemon)
        assert daemon.stop() == 0, daemon.log()
    finally:
        daemon.close()


@pytest.fixture(scope="session")
def cast() -> str:
    """Foundry's command-line client."""
    found = find_program("cast")
    if found is None:
        pytest.skip("no cast here: `make test` installs it where npm is there")
    return found


@pytest.fixture(scope="session")
def node_modules() -> Path:
    """The folder with ethers, to be run by Node.js."""
    if shutil.which("node") is None or not (NODE_MODULES / "ethers").is_dir():
        pytest.skip("no Node.js with ethers here: `make test` installs ethers where npm is there")
    return NODE_MODULES
