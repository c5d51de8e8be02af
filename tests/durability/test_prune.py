"""A pruned log is the same chain, whatever is lost beside it; what is needed stays, nothing unproven is believed."""

from __future__ import annotations

import json
import random
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from chain.types import Address
from node.cli.main import cli
from node.engine.requests import Cheat, Control
from node.pruning import prune_data_directory
from node.verification import verify_data_directory
from storage.backup import restore_backup, write_backup
from storage.directory import layout
from storage.errors import (
    DataDirectoryLocked,
    DataLossRefused,
    PruneRefused,
    StoreTooNew,
    WalCorrupt,
    WalForeign,
    WalPruned,
)
from storage.export import exports, prune_exports, read_header
from storage.io.files import RealFs
from storage.wal import inspect
from storage.wal.bounds import BEGINNING_NAME, read_beginning
from storage.wal.segments import segment_name
from tests.durability.nodes import PROGRAM, LocalNode

SEGMENT = 12288
STRANGER = Address(b"\x42" * 20)


def opened(place: Path, **more: int) -> LocalNode:
    return LocalNode(place, segment_size_bytes=SEGMENT, **more)  # type: ignore[arg-type]


def live(place: Path) -> LocalNode:
    """A node with 40 blocks, the export of its block 25, a compressed segment, and a few blocks in no checkpoint."""
    node = opened(place)
    node.grow(25)
    node.checkpoint()
    node.opened.export(2)
    node.grow(10)
    node.checkpoint()
    assert node.store.wal.pack_one()
    node.grow(5)
    node.store.index_new_blocks()
    return node


def segments(place: Path) -> list[str]:
    return sorted(path.name for path in (place / layout.WAL).iterdir() if ".seg" in path.name)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, object]]:
    """A pruned directory that was left by a kill, and what its chain is."""
    place = tmp_path_factory.mktemp("pruned") / "d"
    node = live(place)
    digest = node.digest()
    node.close()
    before = segments(place)
    pruned = prune_data_directory(place)
    assert pruned.paths
    assert before[0] == segment_name(0) + ".zst"
    assert segments(place) == before[len(pruned.paths) :]
    return place, digest


@pytest.fixture
def pruned(tmp_path: Path, made: tuple[Path, dict[str, object]]) -> Path:
    shutil.copytree(made[0], tmp_path / "p")
    return tmp_path / "p"


def remove_state(place: Path) -> None:
    shutil.rmtree(place / layout.STATE)


def damage_state(place: Path) -> None:
    (place / layout.STATE / "CURRENT").write_text("nothing\n")


def lose_index(place: Path) -> None:
    (place / layout.INDEX).unlink()


def lose_all(place: Path) -> None:
    remove_state(place)
    lose_index(place)


@pytest.mark.parametrize("lose", [lambda _: None, remove_state, damage_state, lose_index, lose_all])
def test_it_is_the_same_chain_whatever_is_lost(
    pruned: Path, made: tuple[Path, dict[str, object]], lose: Callable[[Path], None]
) -> None:
    lose(pruned)
    node = opened(pruned)
    assert node.digest() == made[1]
    assert node.store.status()["log"]["firstLsn"] == node.store.wal.first_lsn > 1
    node.store.index_new_blocks()
    for number in range(1, node.store.head.number + 1):
        block = node.store.chain.block(number)
        assert block is not None
        assert node.store.transaction_place(block.transactions[0].hash) == (number, 0)
    node.grow(2)
    after = node.digest()
    node.checkpoint()
    node.close()
    again = opened(pruned)
    assert again.digest() == after
    again.close()
    assert not verify_data_directory(pruned).problems


def test_a_log_is_pruned_again_and_old_exports_go(pruned: Path) -> None:
    fs = RealFs(pruned)
    first = read_beginning(fs, layout.WAL)
    assert first is not None
    node = opened(pruned)
    for _ in range(3):
        node.grow(15)
        node.checkpoint()
        node.opened.export(1)
    assert exports(fs)[1:] == [first.export], "the one the log begins with is kept, however old"
    digest = node.digest()
    node.close()
    assert prune_data_directory(pruned).paths
    second = read_beginning(fs, layout.WAL)
    assert second is not None
    assert second.first_lsn > first.first_lsn
    assert prune_exports(fs, 1) == 1
    assert exports(fs) == [second.export]
    assert not prune_data_directory(pruned).paths, "nothing more to do"
    remove_state(pruned)
    node = opened(pruned)
    assert node.digest() == digest
    node.close()


def test_an_export_of_the_last_checkpoint_is_made_on_demand(tmp_path: Path) -> None:
    node = opened(tmp_path)
    node.grow(30)
    node.checkpoint()
    digest = node.digest()
    node.close()
    with pytest.raises(PruneRefused, match="no state export"):
        prune_data_directory(tmp_path)
    dry = prune_data_directory(tmp_path, fresh=True, dry_run=True)
    before = segments(tmp_path)
    assert [path.removeprefix("wal/") for path in dry.paths] == before[: len(dry.paths)] != []
    (tmp_path / "elsewhere").mkdir()
    assert prune_data_directory(tmp_path, scratch=tmp_path / "elsewhere").paths == dry.paths
    assert not list((tmp_path / "elsewhere").iterdir())
    assert segments(tmp_path) == before[len(dry.paths) :]
    assert not (tmp_path / layout.VERIFYING).exists()
    remove_state(tmp_path)
    node = opened(tmp_path)
    assert node.digest() == digest
    node.close()


def test_below_keeps_what_a_restore_to_there_needs(tmp_path: Path) -> None:
    node = opened(tmp_path / "d")
    lsns = []
    for _ in range(3):
        node.grow(20)
        node.checkpoint()
        node.opened.export(5)
        lsns.append(node.store.checkpoint_lsn)
    node.close()
    with pytest.raises(PruneRefused, match=f"up to LSN {lsns[0] - 1}"):
        prune_data_directory(tmp_path / "d", below=lsns[0] - 1)
    kept = prune_data_directory(tmp_path / "d", below=lsns[1] + 3)
    assert kept.export.checkpoint.lsn == lsns[1]
    write_backup(tmp_path / "d", tmp_path / "b")
    assert restore_backup(tmp_path / "b", tmp_path / "r", PROGRAM, until=lsns[1] + 3) == lsns[1] + 3


def test_waiting_transactions_and_snapshots_keep_their_records(tmp_path: Path) -> None:
    node = opened(tmp_path)
    node.grow(8)
    node.send(node.transfer(0, STRANGER, nonce=10_000))
    oldest = node.pool.oldest_lsn()
    assert oldest is not None
    node.ask(lambda done: Cheat(done, "snapshot", ()))
    node.ask(lambda done: Cheat(done, "drop_all", ()))
    node.grow(30)
    node.checkpoint()
    node.opened.export(1)
    node.close()
    pruned = prune_data_directory(tmp_path)
    assert 1 < pruned.first_lsn <= oldest
    remove_state(tmp_path)
    node = opened(tmp_path)
    assert not node.pool.entries()
    node.ask(lambda done: Cheat(done, "revert", (0,)))
    assert node.store.head.number == 8
    assert [entry.transaction.nonce for entry in node.pool.entries()] == [10_000]
    node.close()


def test_an_export_before_a_revert_is_as_good(tmp_path: Path) -> None:
    node = opened(tmp_path)
    node.grow(10)
    node.ask(lambda done: Cheat(done, "snapshot", ()))
    node.grow(20)
    node.checkpoint()
    node.opened.export(1)
    node.ask(lambda done: Cheat(done, "revert", (0,)))
    node.grow(5)
    node.checkpoint()
    digest = node.digest()
    node.close()
    assert prune_data_directory(tmp_path).paths
    remove_state(tmp_path)
    node = opened(tmp_path)
    assert node.digest() == digest
    assert node.store.head.number == 15
    node.close()


def test_backups_of_it_restore_from_where_it_begins(tmp_path: Path, pruned: Path) -> None:
    fs = RealFs(pruned)
    beginning = read_beginning(fs, layout.WAL)
    assert beginning is not None
    node = opened(pruned)
    node.grow(20)
    node.checkpoint()
    node.opened.export(1)
    digest = node.digest()
    blocks = {node.store.wal.durable_lsn: node.store.head.number}
    node.grow(1)
    node.close()
    write_backup(pruned, tmp_path / "b")
    base = read_header(fs, beginning.export)
    assert len(exports(fs)) == 2
    for until in (None, next(iter(blocks)), base.lsn + 1, base.lsn):
        target = tmp_path / f"r{until}"
        reached = restore_backup(tmp_path / "b", target, PROGRAM, until)
        assert until in (None, reached)
        restored = opened(target)
        head = restored.store.head.number
        assert restored.digest()["blocks"] == [*digest["blocks"], restored.store.head.hash.hex()][: head + 1]
        assert head == blocks.get(until or 0, head)
        restored.grow(2)
        restored.close()
    for until in (base.lsn - 1, beginning.first_lsn - 1, 1):
        with pytest.raises(WalPruned, match=f"LSN {until} was pruned"):
            restore_backup(tmp_path / "b", tmp_path / "no", PROGRAM, until)
    assert not (tmp_path / "no").exists()


def run(*words: str) -> Result:
    return CliRunner().invoke(cli, list(words))


def test_the_commands_know(pruned: Path) -> None:
    where = ("--data-dir", str(pruned))
    beginning = read_beginning(RealFs(pruned), layout.WAL)
    assert beginning is not None
    first = beginning.first_lsn
    verified = run("wal", "verify", *where)
    assert verified.exit_code == 0
    assert f"LSN {first}; what was before is in {beginning.export}" in verified.output
    assert "0 findings" in verified.output
    records = [json.loads(line)["lsn"] for line in run("wal", "export", *where).output.splitlines()]
    assert records == list(range(first, records[-1] + 1))
    assert f"lsn {first} " in run("wal", "inspect", *where).output
    for words in (("export", "--until"), ("export", "--from-lsn"), ("inspect", "--from-lsn")):
        refused = run("wal", *words, str(first - 1), *where)
        assert isinstance(refused.exception, WalPruned)
        assert f"begins at LSN {first}" in str(refused.exception)
    again = run("wal", "prune", *where)
    assert "0 segments, 0.0 MiB; the log begins" in again.output
    (pruned / beginning.export).unlink()
    assert run("wal", "verify", *where).exit_code == 65


def test_a_running_node_is_not_pruned(tmp_path: Path) -> None:
    node = live(tmp_path)
    refused = run("wal", "prune", "--data-dir", str(tmp_path))
    assert isinstance(refused.exception, DataDirectoryLocked)
    node.close()
    assert "removed wal/" in run("wal", "prune", "--data-dir", str(tmp_path)).output


def test_a_missing_first_segment_that_nobody_pruned_is_refused(pruned: Path, tmp_path: Path) -> None:
    live(tmp_path / "d").close()
    for name in segments(tmp_path / "d")[:1]:
        (tmp_path / "d" / layout.WAL / name).unlink()
    with pytest.raises(WalCorrupt, match="is missing"):
        opened(tmp_path / "d")
    (pruned / layout.WAL / segments(pruned)[0]).unlink()
    with pytest.raises(WalCorrupt, match="is missing"):
        opened(pruned)
    for name in segments(pruned):
        (pruned / layout.WAL / name).unlink()
    with pytest.raises(WalCorrupt, match="is missing"):
        opened(pruned)


def test_no_damaged_or_foreign_beginning_is_believed(pruned: Path, tmp_path: Path) -> None:
    path = pruned / layout.WAL / BEGINNING_NAME
    content = path.read_bytes()
    source = random.Random(1)
    for number in range(len(content) * 2):
        damaged = bytearray(content)
        damaged[number % len(content)] ^= 1 << source.randrange(8)
        path.write_bytes(damaged if number < len(content) else content[: number % len(content)])
        with pytest.raises(WalCorrupt):
            read_beginning(RealFs(pruned), layout.WAL)
    with pytest.raises(WalCorrupt, match="where the log begins"):
        opened(pruned)
    assert run("wal", "verify", "--data-dir", str(pruned)).exit_code == 65
    path.unlink()
    with pytest.raises((WalCorrupt, WalPruned)):
        opened(pruned)
    path.write_bytes(content)
    other = opened(tmp_path / "d")
    other.ask(lambda done: Control(done, "coinbase", STRANGER))
    other.grow(40)
    other.close()
    shutil.copy(path, tmp_path / "d" / layout.WAL)
    shutil.copytree(pruned / layout.EXPORTS, tmp_path / "d" / layout.EXPORTS)
    with pytest.raises(WalForeign):
        opened(tmp_path / "d")


def test_a_later_version_of_it_is_refused(pruned: Path) -> None:
    from storage.io.checked_line import decode_checked, encode_checked

    path = pruned / layout.WAL / BEGINNING_NAME
    path.write_bytes(encode_checked({**decode_checked(path.read_bytes()), "version": 2}))
    with pytest.raises(StoreTooNew):
        opened(pruned)


def test_without_its_export_and_its_state_it_is_refused(pruned: Path) -> None:
    remove_state(pruned)
    for path in (pruned / layout.EXPORTS).iterdir():
        damaged = bytearray(path.read_bytes())
        damaged[len(damaged) // 2] ^= 1
        path.write_bytes(damaged)
    with pytest.raises(WalPruned, match="cannot be used or is gone") as refused:
        opened(pruned)
    assert refused.value.exit_code == 65


def test_data_loss_is_accepted_behind_the_export_only(pruned: Path) -> None:
    fs = RealFs(pruned)
    (export,) = exports(fs)
    based = read_header(fs, export)
    behind = (f for f in inspect(fs, layout.WAL) if f.record is not None and f.record.lsn == based.lsn + 20)
    damaged = next(behind)
    content = bytearray((pruned / damaged.path).read_bytes())
    content[damaged.offset + 45] ^= 1
    (pruned / damaged.path).write_bytes(content)
    remove_state(pruned)
    with pytest.raises(WalCorrupt) as refused:
        opened(pruned)
    assert refused.value.lsn == based.lsn + 20
    with pytest.raises(DataLossRefused, match="goes on from"):
        opened(pruned, accept_data_loss=based.lsn)
    node = opened(pruned, accept_data_loss=refused.value.lsn)
    assert node.store.head.number >= based.block
    node.grow(1)
    node.close()
    assert exports(fs) == [export]
