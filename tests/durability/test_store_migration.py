"""A state store gets another engine: the same chain, whatever happens on the way."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from node.cli.main import cli
from node.migrating import migrate_data_directory
from node.verification import verify_data_directory
from storage.backup import restore_backup, write_backup
from storage.directory import layout
from storage.directory.stamp import engine_of
from storage.errors import DataDirectoryLocked, EngineMissing, MigrationRefused, StorageFull
from storage.export import write_export
from storage.io.checked_line import decode_checked, encode_checked
from storage.io.failpoints import ENVIRONMENT
from storage.io.files import RealFs
from storage.io.kv import LAST_KEY
from storage.state.keys import META_SETTINGS
from tests.daemon import Daemon
from tests.durability.nodes import PROGRAM, LocalNode
from tests.engines import ENGINES, each_engine, tables
from tests.paths import REPO
from tests.rpc import Rpc

BEFORE = (
    "kv.batch.before", "kv.batch.written", "migrate.copied", "migrate.proven",
    "file.replace.written", "file.replace.synced",
)  # fmt: skip
AFTER = (
    "file.replace.renamed", "migrate.stamped", "migrate.moved", "migrate.placed", "migrate.removing",
    "migrate.removing:3",
)  # fmt: skip


def other(engine: str) -> str:
    return next(name for name in ENGINES if name != engine)


def grown(place: Path, engine: str) -> LocalNode:
    """Blocks in two checkpoints, and some in none."""
    node = LocalNode(place, engine=engine)
    for _ in range(2):
        node.grow(5)
        node.checkpoint()
    node.grow(2)
    return node


def migrate_store(place: Path, *options: str) -> Result:
    return CliRunner().invoke(cli, ["migrate-store", "--data-dir", str(place), *options], catch_exceptions=False)


def exported(node: LocalNode) -> bytes:
    path = write_export(node.opened.fs, node.store.kv)
    assert path is not None
    data = node.opened.fs.read_file(path)
    node.opened.fs.unlink(path)
    return data


def untouched(place: Path) -> bool:
    """Whether nothing of a migration is left."""
    return not any(path.name.startswith(("migrating", layout.REPLACED)) for path in place.iterdir())


@each_engine
def test_there_and_back_again(tmp_path: Path, engine: str) -> None:
    node = grown(tmp_path / "d", engine)
    digest, before = node.digest(), exported(node)
    node.close()
    there = json.loads(migrate_store(tmp_path / "d", "--json").output)
    assert (there["from"], there["engine"], there["block"]) == (engine, other(engine), 10)
    assert engine_of(RealFs(tmp_path / "d")) == other(engine)
    assert verify_data_directory(tmp_path / "d").problems == []
    node = LocalNode(tmp_path / "d", engine=engine)  # which is for new directories
    assert node.store.kv.engine_name == other(engine)
    assert node.digest() == digest
    assert exported(node) == before
    assert not (tmp_path / "d" / layout.QUARANTINE).exists(), "the checkpoint was not used"
    assert node.opened.recovery.blocks == 2
    node.close()
    assert f"state store: {engine}, before" in migrate_store(tmp_path / "d", "--to", engine).output
    assert f"{engine} already" in migrate_store(tmp_path / "d", "--to", engine).output
    node = LocalNode(tmp_path / "d")
    assert node.digest() == digest
    node.grow(1)
    node.close()
    assert untouched(tmp_path / "d")


def kill_at(place: Path, engine: str, point: str) -> None:
    node = grown(place, engine)
    digest = node.digest()
    node.close()
    command = [sys.executable, "-m", "node.cli.main", "migrate-store", "--data-dir", str(place)]
    process = subprocess.run(command, cwd=REPO, env={**os.environ, ENVIRONMENT: point}, stdout=subprocess.DEVNULL)
    assert process.returncode == -signal.SIGKILL, f"{point} was not reached"
    twin = place.with_name("twin")
    shutil.copytree(place, twin)
    assert verify_data_directory(twin).problems == []
    node = LocalNode(place)
    assert node.store.kv.engine_name == (engine if point in BEFORE else other(engine))
    assert node.digest() == digest
    assert node.opened.recovery.blocks == 2, "its checkpoints were not used"
    assert untouched(place)
    node.grow(1)
    node.close()
    done = migrate_data_directory(twin, other(engine), lambda pairs, size: None)
    assert (done is None) == (point in AFTER)
    node = LocalNode(twin)
    assert (node.digest(), node.store.kv.engine_name) == (digest, other(engine))
    node.close()


@pytest.mark.parametrize("point", ["migrate.proven", "file.replace.renamed", "migrate.moved"])
def test_killed_around_the_step_that_decides(tmp_path: Path, point: str) -> None:
    kill_at(tmp_path / "d", "leveldb", point)


@pytest.mark.full
@each_engine
@pytest.mark.parametrize("point", [*BEFORE, *AFTER])
def test_killed_at_every_place(tmp_path: Path, engine: str, point: str) -> None:
    kill_at(tmp_path / "d", engine, point)


@each_engine
def test_a_damaged_store_is_not_moved(tmp_path: Path, engine: str) -> None:
    node = grown(tmp_path / "d", engine)
    digest = node.digest()
    node.close()
    LocalNode(tmp_path / "d").close()
    table = tables(tmp_path / "d" / layout.STATE)[0]
    content = bytearray(table.read_bytes())
    content[len(content) // 3] ^= 1
    table.write_bytes(content)
    with pytest.raises(MigrationRefused, match="not sound") as caught:
        migrate_store(tmp_path / "d")
    assert "zvmd verify" in caught.value.hint
    assert untouched(tmp_path / "d")
    node = LocalNode(tmp_path / "d")
    assert (node.digest(), node.store.kv.engine_name) == (digest, engine)
    node.close()


def test_what_keeps_a_store_where_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    place = tmp_path / "d"
    node = grown(place, "leveldb")
    with pytest.raises(DataDirectoryLocked):
        migrate_store(place)
    node.close()
    with monkeypatch.context() as patch:
        patch.setattr("storage.io.kv.engines.find_spec", lambda name: None)
        with pytest.raises(EngineMissing, match="rocksdict"):
            migrate_store(place)
    with monkeypatch.context() as patch:
        patch.setattr(RealFs, "free_bytes", lambda self: 2**20)
        with pytest.raises(StorageFull):
            migrate_store(place)
    for note in (layout.SUSPECT, layout.PANIC):
        (place / note).write_text("a test said so")
        with pytest.raises(MigrationRefused, match=note):
            migrate_store(place)
        (place / note).unlink()
    (place / layout.STATE).rename(tmp_path / "elsewhere")
    with pytest.raises(MigrationRefused, match="no state store"):
        migrate_store(place)
    (place / layout.STATE).symlink_to(tmp_path / "elsewhere")
    with pytest.raises(MigrationRefused, match="link"):
        migrate_store(place)
    assert untouched(place)
    assert engine_of(RealFs(place)) == "leveldb"


def test_a_store_without_a_checkpoint(tmp_path: Path) -> None:
    node = LocalNode(tmp_path / "d")
    node.grow(2)
    digest = node.digest()
    node.close()
    assert "no checkpoint yet" in migrate_store(tmp_path / "d").output
    node = LocalNode(tmp_path / "d")
    assert node.digest() == digest
    node.close()


def test_a_stamp_of_before_there_were_engines(tmp_path: Path) -> None:
    node = grown(tmp_path / "d", "leveldb")
    digest = node.digest()
    node.close()
    path = tmp_path / "d" / layout.FORMAT
    document = decode_checked(path.read_bytes())
    del document["engine"]
    path.write_bytes(encode_checked(document))
    node = LocalNode(tmp_path / "d", engine="rocksdb")
    assert (node.digest(), node.store.kv.engine_name) == (digest, "leveldb")
    node.close()


def test_two_directories_of_one_chain(tmp_path: Path) -> None:
    """The same transactions over each engine: the same blocks, states and answers, the same pairs in the store."""
    made = {}
    for engine in ENGINES:
        node = grown(tmp_path / engine, engine)
        node.checkpoint()
        pairs = dict(node.store.kv.snapshot().iterate(b"", LAST_KEY))
        del pairs[META_SETTINGS]  # which hold the number that a chain is given when it begins
        view = node.store.state.view(node.store.head.number)
        made[engine] = (
            node.digest(), pairs,
            [node.store.chain.header(number) for number in range(node.store.head.number + 1)],
            [(address, view.account(address), view.slots_of(address)) for address in view.addresses()],
            [node.store.state.view(number).account(node.accounts[0]) for number in range(12)],
        )  # fmt: skip
        node.close()
    assert made["leveldb"] == made["rocksdb"]


def test_a_backup_is_restored_where_its_engine_is_not_installed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    node = grown(tmp_path / "d", "rocksdb")
    digest = node.digest()
    node.close()
    write_backup(tmp_path / "d", tmp_path / "b")
    restore_backup(tmp_path / "b", tmp_path / "same", PROGRAM)
    assert engine_of(RealFs(tmp_path / "same")) == "rocksdb"
    with monkeypatch.context() as patch:
        patch.setattr("storage.io.kv.engines.find_spec", lambda name: None if name == "rocksdict" else name)
        restore_backup(tmp_path / "b", tmp_path / "other", PROGRAM)
    for place, engine in (("same", "rocksdb"), ("other", "leveldb")):
        node = LocalNode(tmp_path / place)
        assert (node.digest(), node.store.kv.engine_name) == (digest, engine)
        node.close()


def answers(rpc: Rpc, node: LocalNode, head: int) -> list[object]:
    """What a client can read of the chain."""
    blocks = [hex(number) for number in range(head + 1)]
    found = [rpc.call("eth_getBlockByNumber", block, True) for block in blocks]
    hashes = [transaction["hash"] for block in found for transaction in block["transactions"]]
    accounts = ["0x" + address.hex() for address in node.accounts]
    return [
        found,
        [rpc.call("eth_getBlockReceipts", block) for block in blocks],
        [rpc.call("eth_getTransactionByHash", each) for each in hashes],
        [rpc.call("eth_getBalance", account, block) for account in accounts for block in blocks],
        [rpc.call("eth_getProof", account, [], "latest") for account in accounts],
        rpc.call("eth_getProof", accounts[0], [], hex(head // 2)),
        [rpc.call("debug_traceTransaction", each, {"tracer": "callTracer"}) for each in hashes[-2:]],
        rpc.call("eth_getLogs", {"fromBlock": "0x0", "toBlock": hex(head)}),
        rpc.call("eth_feeHistory", hex(5), "latest", [50]),
    ]


def test_two_daemons_over_two_engines_give_the_same_answers(tmp_path: Path) -> None:
    node = grown(tmp_path / "leveldb", "leveldb")
    raw = "0x" + node.transfer(0, node.accounts[1], 5).raw.hex()
    node.close()
    shutil.copytree(tmp_path / "leveldb", tmp_path / "rocksdb")
    migrate_store(tmp_path / "rocksdb")
    given = {}
    for engine in ENGINES:
        daemon = Daemon(tmp_path / engine, environment={"ZVMD_STORAGE__ENGINE": "rocksdb"})
        try:
            daemon.start()
            rpc = daemon.rpc()
            before = answers(rpc, node, 12)
            rpc.call("evm_setNextBlockTimestamp", hex(1_800_000_000))
            rpc.call("eth_sendRawTransaction", raw)
            given[engine] = [before, answers(rpc, node, 13)]
            status = rpc.call("zvmd_status")["stateStore"]
            assert status == {"engine": engine, "setting": "rocksdb"}
            assert ("the state store keeps the engine it has" in daemon.log()) == (engine == "leveldb")
            shown = CliRunner().invoke(cli, ["status", "--data-dir", str(tmp_path / engine)]).output
            assert f"store       {engine}" in shown
            assert ("zvmd migrate-store" in shown) == (engine == "leveldb")
            assert daemon.stop() == 0
        finally:
            daemon.close()
    assert given["leveldb"] == given["rocksdb"]
