"""The shared node as clients of sessions reach it: over JSON-RPC, and with the SDK over QUIC."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

import zvmd
from tests.conftest import Node
from tests.daemon import Daemon
from tests.rpc import Rpc

OTHER_MNEMONIC = "legal winner thank year wave sausage worth useful legal winner thank yellow"


@pytest.fixture(scope="session")
def other_node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Node]:
    """A node that signs with keys which are not those of the public test mnemonic."""
    daemon = Daemon(tmp_path_factory.mktemp("other") / "data", "--mnemonic", OTHER_MNEMONIC)
    daemon.start()
    try:
        yield Node(daemon.http_url, daemon)
        assert daemon.stop() == 0, daemon.log()
    finally:
        daemon.close()


@pytest.fixture(scope="session")
def aioquic_daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    """A daemon whose QUIC library is aioquic."""
    data_dir = tmp_path_factory.mktemp("aioquic") / "data"
    with Daemon(data_dir, environment={"ZVMD_QUIC__LIBRARY": "aioquic"}) as daemon:
        yield daemon
        assert daemon.stop() == 0, daemon.log()


@pytest.fixture(params=["qh3", "aioquic"])
def quic_daemon(request: pytest.FixtureRequest) -> Daemon:
    """The shared daemon, then one with the other QUIC library."""
    if request.param == "aioquic":
        daemon: Daemon = request.getfixturevalue("aioquic_daemon")
        return daemon
    node: Node = request.getfixturevalue("node")
    if node.daemon is None:
        pytest.skip("an outside node has no QUIC")
    return node.daemon


@pytest.fixture(scope="module")
def own_daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    """One for the tests of a file: they bring its chain back and forth."""
    with Daemon(tmp_path_factory.mktemp("own") / "data") as daemon:
        yield daemon


@pytest.fixture
def daemon(own_daemon: Daemon) -> Daemon:
    """That one at genesis, where each transaction is sealed at once and by nothing else."""
    rpc = own_daemon.rpc()
    rpc.call("evm_setIntervalMining", 0)
    rpc.call("evm_setAutomine", True)
    rpc.call("anvil_reset")
    return own_daemon


@pytest.fixture
def rpc(node: Node) -> Rpc:
    """JSON-RPC to a node that has sessions."""
    if node.daemon is None:
        pytest.skip("an outside node has no sessions")
    return node.rpc()


@pytest.fixture
def quic(node: Node) -> Iterator[zvmd.Node]:
    """The SDK's client."""
    if node.daemon is None:
        pytest.skip("an outside node has no QUIC")
    with node.daemon.quic() as client:
        yield client
