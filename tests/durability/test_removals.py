"""Files that go away under a daemon, and second daemons beside it: a slice of the campaign's lines, and the cases."""

from __future__ import annotations

import random
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from storage.directory import layout
from tests.contracts import dev_account
from tests.crash.forked_daemon import ForkedDaemon
from tests.crash.load import BROKEN
from tests.daemon import CHAIN_ID
from tests.durability.removals import PANIC, Removals, until
from tests.durability.second_nodes import RUNNING, STOPPED, SecondNodes
from tests.engines import ENVIRONMENT
from tests.rpc import Rpc, RpcFailed

EVERY_COMMIT = 6
FULL = 300
DISK_MIB = 100
ROOM_MIB = 260
SLOW = ("index held", "another mount and PID namespace")
"""Left to the full run: one waits for SQLite's patience, the other starts Python twice."""


@pytest.fixture(scope="module")
def removals(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Removals]:
    harness = Removals(tmp_path_factory.mktemp("removals"))
    yield harness
    harness.close()


@pytest.fixture(scope="module")
def removals_on_rocksdb(removals: Removals, tmp_path_factory: pytest.TempPathFactory) -> Removals:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(ENVIRONMENT, "rocksdb")  # what it makes now keeps its engine
        return Removals(tmp_path_factory.mktemp("removals"), removals.zygote)


@pytest.mark.parametrize("seed", range(EVERY_COMMIT))
def test_what_goes_away_takes_no_answer_with_it(removals: Removals, seed: int) -> None:
    removals.run(seed)


@pytest.mark.parametrize("seed", range(EVERY_COMMIT // 2))
def test_what_goes_away_takes_no_answer_with_it_on_rocksdb(removals_on_rocksdb: Removals, seed: int) -> None:
    removals_on_rocksdb.run(seed)


@pytest.mark.full
@pytest.mark.timeout(1800)
def test_what_goes_away_takes_no_answer_with_it_often(removals: Removals, removals_on_rocksdb: Removals) -> None:
    for seed in range(EVERY_COMMIT, FULL):
        removals.run(seed)
        removals_on_rocksdb.run(seed)


@pytest.fixture(scope="module")
def nodes(removals: Removals) -> Iterator[SecondNodes]:
    if subprocess.run(["unshare", "--mount", "true"], capture_output=True, check=False).returncode:
        pytest.skip("needs to be allowed to mount")
    with tempfile.TemporaryDirectory() as place:  # which another user may enter
        harness = SecondNodes(Path(place), removals.zygote)
        yield harness
        harness.close()


@pytest.mark.parametrize(
    "way", [pytest.param(way, marks=pytest.mark.full) if way in SLOW else way for way in (*RUNNING, *STOPPED)]
)
def test_a_second_one_is_refused(nodes: SecondNodes, way: str) -> None:
    """`two-nodes-lock-removed` and `state-in-use-is-quarantined` among them."""
    nodes.attempt(way)


def test_two_nodes_lock_removed(nodes: SecondNodes) -> None:
    """The case to its end: after both are killed, what was answered is there."""
    nodes.attempt("LOCK removed")
    nodes.kill_and_start()
    nodes.attempt("nothing in the way")


@pytest.fixture
def daemon(removals: Removals, tmp_path: Path) -> Iterator[ForkedDaemon]:
    made = ForkedDaemon(removals.zygote, tmp_path / "d")
    yield made
    made.close()


def test_data_directory_removed_while_running(daemon: ForkedDaemon) -> None:
    """Answers were given for as long as it was let live; a stop said 0."""
    daemon.start()
    rpc = daemon.rpc()
    rpc.call("evm_mine")
    shutil.rmtree(daemon.data_dir, ignore_errors=True)
    shutil.rmtree(daemon.data_dir, ignore_errors=True)  # of what the daemon made meanwhile
    with pytest.raises(BROKEN):
        rpc.call("evm_mine")
    assert daemon.wait() == PANIC
    assert "error[storage.gone]" in daemon.log()


def test_a_stop_after_the_directory_was_removed_does_not_say_0(daemon: ForkedDaemon) -> None:
    daemon.start()
    daemon.rpc().call("evm_mine")
    shutil.rmtree(daemon.data_dir, ignore_errors=True)
    assert daemon.stop() == PANIC
    assert "error[storage." in daemon.log()


def test_disk_full_without_guard(removals: Removals, tmp_path: Path) -> None:
    """A checkpoint that finds no room: reads are answered, changes refused, and it goes on when there is room."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mounting = ["mount", "-t", "tmpfs", "-o", f"size={DISK_MIB}m", "zvmd-test", str(disk)]
    if subprocess.run(mounting, capture_output=True, check=False).returncode:
        pytest.skip("needs to be allowed to mount")
    daemon = ForkedDaemon(removals.zygote, disk / "d")
    daemon.log_file = tmp_path / "d.log"
    daemon._environment |= {
        "ZVMD_STORAGE__SPACE_READ_ONLY_BYTES": "0",
        "ZVMD_STORAGE__SPACE_WARN_BYTES": "0",
        "ZVMD_STORAGE__BALLAST_BYTES": "2000000",
        "ZVMD_STORAGE__EXPORT_SECONDS": "0",
        "ZVMD_STORAGE__CHECKPOINT_SECONDS": "5",
        "ZVMD_STORAGE__SEGMENT_SIZE_BYTES": str(64 * 2**20),
    }
    try:
        daemon.start()
        rpc, sent = daemon.rpc(), list[str]()
        with suppress(RpcFailed):
            while True:
                sent.append(rpc.call("eth_sendRawTransaction", large_transaction(len(sent))))
        assert rpc.call("zvmd_status")["readOnly"]
        end = time.monotonic() + 1.5  # several attempts at a checkpoint
        while time.monotonic() < end:
            assert rpc.call("eth_getTransactionReceipt", random.Random(1).choice(sent))
            assert int(rpc.call("eth_getBalance", "0x" + "22" * 20, "latest"), 16) == 0
        subprocess.run(["mount", "-o", f"remount,size={ROOM_MIB}m", str(disk)], check=True)
        until(lambda: goes_on(rpc), "the node does not go on")
        until(lambda: not rpc.call("zvmd_status")["disk"]["full"], "the state store has no room")
        assert daemon.stop() == 0, daemon.log()
        daemon.start()
        rpc = daemon.rpc()
        for at in range(0, len(sent), 50):
            assert all(rpc.batch([("eth_getTransactionReceipt", (name,)) for name in sent[at : at + 50]]))
        assert not (daemon.data_dir / layout.QUARANTINE).exists()
    finally:
        daemon.close()
        subprocess.run(["umount", "-l", str(disk)], capture_output=True, check=False)


def large_transaction(nonce: int) -> str:
    """One of 100 kB."""
    signed = dev_account(3).sign_transaction({
        "type": 2, "chainId": CHAIN_ID, "nonce": nonce, "gas": 5_000_000, "maxFeePerGas": 10**11,
        "maxPriorityFeePerGas": 10**9, "to": b"\x22" * 20, "value": 0, "data": random.Random(nonce).randbytes(100_000),
    })  # fmt: skip
    return "0x" + bytes(signed.raw_transaction).hex()


def goes_on(rpc: Rpc) -> bool:
    """Whether changes are taken."""
    with suppress(RpcFailed):
        rpc.call("evm_mine")
        return True
    return False


def test_a_refused_session_leaves_no_file(daemon: ForkedDaemon, tmp_path: Path) -> None:
    """Attack 12: each refusal of a node without room left a file of megabytes, for a day."""
    daemon._environment |= {"ZVMD_SESSIONS__FILE_BYTES": "65536", "ZVMD_STORAGE__SPACE_READ_ONLY_BYTES": str(2**60)}
    daemon.start()
    rpc = daemon.rpc()
    until(lambda: rpc.call("zvmd_status")["readOnly"], "the node is not read-only")
    for _ in range(5):
        with pytest.raises(RpcFailed, match="full"):
            rpc.call("zvmd_session_create", {"code": "0x" + "5b" * 80_000})
    assert not list(daemon.data_dir.glob("sessions/*"))
    assert daemon.stop() == 0
    orphan = daemon.data_dir / "sessions" / "7" / f"{'ab' * 32}.sess"
    orphan.parent.mkdir(parents=True)
    orphan.write_bytes(b"of a crash before its record")
    daemon.start()
    assert not orphan.parent.exists()
