"""The index process is killed, stopped or robbed of its file under a node that goes on and answers right."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from chain.types import Address
from storage.directory import layout
from tests.contracts import dev_account
from tests.crash.forked_daemon import ForkedDaemon, Zygote
from tests.daemon import Daemon
from tests.rpc import Rpc
from tests.signed import signed_transfer

TOPIC = "0x" + "00" * 31 + "01"
LOGS_ONE = "0x600160006000a100"
"""Init code: LOG1 with topic 1 and no data, STOP."""
PATIENCE_SECONDS = 60.0


@pytest.fixture(scope="module")
def zygote(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Zygote]:
    made = Zygote(tmp_path_factory.mktemp("zygote") / "zygote.log")
    yield made
    made.close()


class Load:
    """Creations that log once each, and what a client knows of them."""

    def __init__(self, daemon: Daemon) -> None:
        self.daemon = daemon
        self.mined: dict[str, str] = {}
        """Hash -> block."""

    def rpc(self) -> Rpc:
        return self.daemon.rpc()

    def send(self, count: int) -> None:
        rpc = self.rpc()
        for _ in range(count):
            sent = rpc.call("eth_sendTransaction", {"from": dev_account(0).address, "data": LOGS_ONE, "gas": "0x20000"})
            self.mined[sent] = rpc.call("eth_getTransactionReceipt", sent)["blockNumber"]

    def check(self) -> None:
        """Every transaction and log is found where it was, and no other."""
        rpc = self.rpc()
        for sent, block in self.mined.items():
            assert rpc.call("eth_getTransactionReceipt", sent)["blockNumber"] == block
        logs = rpc.call("eth_getLogs", {"fromBlock": "0x0", "toBlock": "latest", "topics": [TOPIC]})
        assert [log["transactionHash"] for log in logs] == list(self.mined)
        assert rpc.call("eth_getTransactionReceipt", "0x" + "ee" * 32) is None

    def index(self) -> dict[str, Any]:
        found: dict[str, Any] = self.rpc().call("zvmd_status")["index"]
        return found

    def pid(self) -> int:
        """Of the index process, once there is one."""
        end = time.monotonic() + PATIENCE_SECONDS
        while (pid := self.index()["process"]["pid"]) is None:
            assert time.monotonic() < end, self.index()
            time.sleep(0.02)
        return int(pid)

    def caught_up(self) -> dict[str, Any]:
        """The index has reached the head."""
        end = time.monotonic() + PATIENCE_SECONDS
        while (index := self.index())["indexing"]:
            assert time.monotonic() < end, index
            time.sleep(0.05)
        return index


def started(zygote: Zygote, place: Path, environment: Mapping[str, str] | None = None) -> Load:
    daemon = ForkedDaemon(zygote, place, environment=environment)
    daemon.start()
    return Load(daemon)


def test_killed_again_and_again_under_load(zygote: Zygote, tmp_path: Path) -> None:
    load = started(zygote, tmp_path / "d")
    try:
        for number in range(8):
            load.send(3)
            if number % 2:  # at work; or else while it waits for work, which also forgives it its deaths before
                load.caught_up()
            with suppress(ProcessLookupError):
                os.kill(load.pid(), signal.SIGKILL)
            load.send(2)
            load.check()
        index = load.caught_up()
        assert index["block"] == 40
        assert index["process"]["losses"] >= 4
        load.check()
    finally:
        load.daemon.close()


@pytest.mark.parametrize("point", ["index.migrate.uncommitted", "index.commit.before"])
def test_a_process_that_dies_each_time_and_a_node_killed_with_it(zygote: Zygote, tmp_path: Path, point: str) -> None:
    load = started(zygote, tmp_path / "d", {"ZVMD_FAILPOINT": point})
    for _ in range(3):
        load.send(4)
        end = time.monotonic() + PATIENCE_SECONDS
        while not load.index()["process"]["losses"]:
            assert time.monotonic() < end
            time.sleep(0.02)
        assert load.index()["block"] == -1
        load.check()
        load.daemon.kill()
        load.daemon.start()
        load.check()
    load.daemon.close()
    sound = started(zygote, tmp_path / "d")
    try:
        sound.mined = load.mined
        assert sound.caught_up()["block"] == 12
        sound.check()
    finally:
        sound.daemon.close()


def test_stopped(zygote: Zygote, tmp_path: Path) -> None:
    """The node answers, goes back in time, and ends in order; the next one is not kept out by what the old one left."""
    load = started(zygote, tmp_path / "d")
    try:
        load.send(3)
        load.caught_up()
        snapshot = load.rpc().call("evm_snapshot")
        before = dict(load.mined)
        load.send(2)
        load.caught_up()
        hung = load.pid()
        os.kill(hung, signal.SIGSTOP)
        load.send(3)
        load.check()
        assert load.rpc().call("evm_revert", snapshot) is True
        load.mined = before
        load.check()
        assert load.daemon.stop() == 0, load.daemon.log()
        assert not Path(f"/proc/{hung}").exists()
        load.daemon.start()
        load.caught_up()
        load.check()
        load.send(1)
        load.caught_up()  # it has asked the kernel to end it with the node
        os.kill(load.pid(), signal.SIGSTOP)
        load.daemon.kill()
        load.daemon.start()
        load.send(1)
        load.check()
        load.caught_up()
    finally:
        load.daemon.close()


@pytest.mark.parametrize("how", ["removed", "garbage"])
def test_the_file_goes_under_it(zygote: Zygote, tmp_path: Path, how: str) -> None:
    load = started(zygote, tmp_path / "d")
    try:
        load.send(3)
        load.caught_up()
        path = tmp_path / "d" / layout.INDEX
        old = path.stat().st_ino
        if how == "removed":
            path.unlink()
        else:
            path.with_name("other").write_bytes(b"not a database" * 1000)
            path.with_name("other").replace(path)
        load.send(3)
        load.check()
        end = time.monotonic() + PATIENCE_SECONDS
        while not path.exists() or path.stat().st_ino == old or load.index()["indexing"]:
            assert time.monotonic() < end, load.index()
            load.send(1)
        load.check()
        assert load.daemon.stop() == 0, load.daemon.log()
        load.daemon.start()
        load.check()
    finally:
        load.daemon.close()


def test_the_daemon_never_imports_what_the_process_does(tmp_path: Path) -> None:
    environment = {"PYTHONPROFILEIMPORTTIME": "1"}
    with Daemon(tmp_path / "d", environment=environment) as daemon:
        load = Load(daemon)
        load.send(2)
        transfer = signed_transfer(bytes(dev_account(1).key), Address(b"\x11" * 20), 0)
        raw = "0x" + transfer.raw.hex()
        load.rpc().call("zvmd_sendRawTransaction", raw, "indexed")
        assert load.caught_up()["process"]["pid"]
        load.check()
        imported = daemon.log()
    assert "node.indexing.remote" in imported
    assert "sqlalchemy" not in imported
    assert "alembic" not in imported
