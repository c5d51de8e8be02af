"""What the node does when its disk is full, its state store damaged or its log cut: the failure table."""

from __future__ import annotations

import errno
import json
import random
import shutil
from pathlib import Path

import pytest

from chain.types import Address
from node.api.errors import ReadOnly
from node.daemon.periodic import watch_space
from node.engine.requests import Mine
from storage.directory import layout
from storage.directory.notes import suspect
from storage.errors import DataLossRefused, ExportDamaged, WalCorrupt, WalShort
from storage.export import exports, prune_exports, read_header, write_export
from storage.io.diskspace import Marks, Room, SpaceWatch
from storage.io.files import RealFs
from storage.wal import RecordType, inspect
from tests.durability.nodes import LocalNode
from tests.simulation.simfaults import Fault
from tests.simulation.simfs import SimFs

MARKS = Marks(warn=2000, read_only=500, ballast=100)


def test_room_is_measured_with_two_marks_and_a_ballast() -> None:
    fs = SimFs()
    watch = SpaceWatch(fs, MARKS)
    assert watch.look() is Room.ENOUGH
    assert fs.exists(layout.BALLAST)
    for free, room in ((1999, Room.LOW), (500, Room.LOW), (499, Room.NONE), (699, Room.NONE), (700, Room.LOW)):
        fs.free = free
        assert watch.look() is room, free
        assert fs.exists(layout.BALLAST) == (free in (1999, 500)), free
    fs.free = 800
    assert watch.look() is Room.LOW
    assert fs.exists(layout.BALLAST)


def test_a_ballast_without_room_is_not_taken() -> None:
    fs = SimFs()
    watch = SpaceWatch(fs, MARKS)
    fs.fail_at(Fault(0, errno.ENOSPC, forever=True))
    watch.look()
    assert not fs.exists(layout.BALLAST)


def test_a_nearly_full_disk_is_read_only_and_the_node_goes_on_by_itself(tmp_path: Path) -> None:
    node = LocalNode(tmp_path / "d", ballast_bytes=4096, space_read_only_bytes=1000)
    fs = SimFs()
    node.opened.space = SpaceWatch(fs, MARKS)
    written: list[str] = []

    def write_down() -> str:
        node.checkpoint()
        written.append("checkpoint")
        return ""

    node.grow(3)
    watch_space(node.committer, node.opened, write_down)
    fs.free = 499
    for _ in range(3):
        watch_space(node.committer, node.opened, write_down)
    assert written == ["checkpoint"], "one checkpoint when it begins"
    assert not fs.exists(layout.BALLAST)
    with pytest.raises(ReadOnly):
        node.committer.put(Mine(lambda _: None))
    assert node.store.head.number == 3
    assert node.store.state.view(3).account(Address(0x10000.to_bytes(20, "big"))) is not None
    fs.free = 10_000
    watch_space(node.committer, node.opened, write_down)
    node.committer.put(Mine(lambda _: None))
    assert fs.exists(layout.BALLAST)
    node.close()


def test_those_who_wait_for_a_full_disk_are_told(tmp_path: Path) -> None:
    node = LocalNode(tmp_path / "d")
    tries = 0
    flush = node.store.wal.flush

    def full(lsn: int | None = None) -> int:
        nonlocal tries
        tries += 1
        if tries <= 8:
            from storage.errors import StorageFull

            raise StorageFull("no space")
        return flush(lsn)

    node.store.wal.flush = full
    (answer,) = node.ask(lambda done: Mine(done))
    assert isinstance(answer, ReadOnly)
    assert tries == 9
    assert not node.committer.read_only
    assert node.store.head.number == 1
    node.close()


def broken(node: LocalNode) -> None:
    (node.data_dir / layout.STATE / "CURRENT").write_bytes(b"\0" * 100)


def test_a_state_store_that_came_back_empty_is_not_believed(tmp_path: Path) -> None:
    """LevelDB takes a log of zeros for one without records, and reports nothing."""
    node = LocalNode(tmp_path / "d")
    node.grow(5)
    node.checkpoint()
    node.opened.export(2)
    before = node.digest()
    node.close()
    for path in (node.data_dir / layout.STATE).glob("*.l??"):
        path.write_bytes(b"\0" * 100)
    again = LocalNode(node.data_dir)
    assert (again.opened.recovery.blocks, again.digest()) == (0, before)
    again.close()


@pytest.mark.parametrize("keep_export", [True, False])
def test_a_refused_state_store_is_restored_from_an_export_or_the_log(tmp_path: Path, *, keep_export: bool) -> None:
    node = LocalNode(tmp_path / "d")
    node.grow(5)
    node.checkpoint()
    node.opened.export(2)
    node.grow(4)
    node.checkpoint()
    before = node.digest()
    node.close()
    broken(node)
    if not keep_export:
        shutil.rmtree(node.data_dir / layout.EXPORTS)
    again = LocalNode(node.data_dir)
    assert again.opened.recovery.blocks == (4 if keep_export else 9)
    assert again.digest() == before
    again.grow(1)
    again.close()
    assert len(list((node.data_dir / layout.QUARANTINE).iterdir())) == 1


def test_a_damaged_export_is_never_used(tmp_path: Path) -> None:
    node = LocalNode(tmp_path / "d")
    node.grow(2)
    node.checkpoint()
    fs = RealFs(node.data_dir)
    good = write_export(fs, node.store.kv)
    assert good is not None
    assert read_header(fs, good).block == 2
    content = (node.data_dir / good).read_bytes()
    source = random.Random(1)
    for number in range(200):
        at = source.randrange(len(content))
        damaged = bytearray(content)
        damaged[at] ^= 1 << source.randrange(8)
        (node.data_dir / good).write_bytes(damaged if number % 2 else content[:at])
        with pytest.raises(ExportDamaged):
            read_header(fs, good)
    before = node.digest()
    node.close()
    broken(node)
    again = LocalNode(node.data_dir)
    assert again.digest() == before
    assert again.opened.recovery.blocks == 2
    again.close()


def test_old_exports_go(tmp_path: Path) -> None:
    node = LocalNode(tmp_path / "d")
    fs = RealFs(node.data_dir)
    for _ in range(4):
        node.grow(1)
        node.checkpoint()
        write_export(fs, node.store.kv)
    assert prune_exports(fs, 2) == 2
    assert [read_header(fs, path).block for path in exports(fs)] == [4, 3]
    node.close()


def test_a_state_seen_damaged_is_not_trusted_by_the_next_start(tmp_path: Path) -> None:
    node = LocalNode(tmp_path / "d")
    node.grow(3)
    node.checkpoint()
    before = node.digest()
    suspect(RealFs(node.data_dir), "a test said so")
    node.close()
    again = LocalNode(node.data_dir)
    assert again.opened.recovery.blocks == 3
    assert again.digest() == before
    again.close()
    once_more = LocalNode(node.data_dir)
    assert len(list((node.data_dir / layout.QUARANTINE).iterdir())) == 1
    once_more.close()


def damage_log(data_dir: Path, segment: int, share: float) -> None:
    path = sorted((data_dir / layout.WAL).glob("*.seg"))[segment]
    records = [f for f in inspect(RealFs(data_dir), layout.WAL) if f.record and f.path.endswith(path.name)]
    offset = records[int(len(records) * share)].offset
    content = bytearray(path.read_bytes())
    content[offset + 50] ^= 1
    path.write_bytes(content)


@pytest.mark.parametrize("segment", [0, 1, -1])
def test_data_loss_is_accepted_only_at_the_exact_record(tmp_path: Path, segment: int) -> None:
    node = LocalNode(tmp_path / "d", segment_size_bytes=65536)
    node.grow(350)
    node.checkpoint()
    node.grow(2)
    hashes = [node.store.applied.block_hash(number) for number in range(353)]
    node.close()
    damage_log(node.data_dir, segment, 0.4)
    (node.data_dir / layout.SUSPECT).write_text("replay everything")
    with pytest.raises(WalCorrupt) as refusal:
        LocalNode(node.data_dir)
    lost = refusal.value.lsn
    for wrong in (lost - 1, lost + 1, 2):
        with pytest.raises(DataLossRefused, match=f"LSN {lost}"):
            LocalNode(node.data_dir, accept_data_loss=wrong)
    again = LocalNode(node.data_dir, accept_data_loss=lost)
    head = again.store.head.number
    assert 0 < head < 352
    assert [again.store.applied.block_hash(number) for number in range(head + 1)] == hashes[: head + 1]
    again.grow(3)
    before = again.digest()
    again.close()
    last = LocalNode(node.data_dir)
    assert last.digest() == before
    marks = [record for record in last.store.wal.records() if record.type == RecordType.DATA_LOSS]
    assert [json.loads(record.payload)["lsn"] for record in marks] == [lost]
    last.close()


def test_a_log_without_its_tail_is_refused_and_may_be_accepted(tmp_path: Path) -> None:
    node = LocalNode(tmp_path / "d", segment_size_bytes=65536)
    node.grow(4)
    node.close()
    (segment,) = (node.data_dir / layout.WAL).glob("*.seg")
    findings = [f for f in inspect(RealFs(node.data_dir), layout.WAL) if f.record]
    content = segment.read_bytes()
    segment.write_bytes(content[: findings[-2].offset].ljust(len(content), b"\0"))
    with pytest.raises(WalShort) as refusal:
        LocalNode(node.data_dir)
    again = LocalNode(node.data_dir, accept_data_loss=refusal.value.lsn)
    assert again.store.head.number == 3
    again.grow(2)
    again.close()
    LocalNode(node.data_dir).close()
