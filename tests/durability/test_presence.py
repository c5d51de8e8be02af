"""Every row of `storage.presence.TABLE`, and every kind of refusal to share: on real stores, without a daemon."""

from __future__ import annotations

import errno
import random
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from node.api.errors import ReadOnly
from node.daemon.opening import open_chain
from node.daemon.watch import presence_of
from node.engine.requests import Cheat
from node.verification import verify_data_directory
from storage.backup import restore_backup, write_backup
from storage.blocks.rewinds import REMEMBERED, Rewinds
from storage.directory import layout
from storage.errors import DataDirectoryLocked, FileGone, StateUnavailable, StorageFull
from storage.export import write_export
from storage.io.files import RealFile, RealFs
from storage.io.holders import is_locked, is_written
from storage.io.kv.engines import open_store_at
from storage.io.kv.store import DiskStore
from storage.presence import TABLE, Presence, Reaction
from tests.durability.full_disk import Filler, small_disk
from tests.durability.nodes import PROGRAM, LocalNode, settings_of
from tests.durability.second_nodes import HOLDERS, SQLITE, WRITERS, holding
from tests.engines import compact, each_engine, tables
from tests.paths import REPO

SMALL = {"token": b"ab" * 32, "endpoints.json": b"{}", "tls/authority.pem": b"pem"}
COPY = "replaced by a copy"


def lively(directory: Path) -> tuple[LocalNode, Presence]:
    """A node with sealed segments, a checkpoint, an export, an index and clients' files; and what watches them."""
    node = LocalNode(directory, segment_size_bytes=16384)
    node.grow(20)
    node.checkpoint()
    write_export(node.opened.fs, node.store.kv)
    node.store.index_new_blocks()
    (directory / "tls").mkdir()
    for name, content in SMALL.items():
        (directory / name).write_bytes(content)
    presence = presence_of(node.opened)
    assert presence.look() == "all in place"
    return node, presence


def damage(path: Path, how: str) -> None:
    """Remove, rename, or replace by a copy or by something else."""
    aside = path.with_name(f"{path.name}.aside")
    if how == "removed" and path.is_dir():
        shutil.rmtree(path)
    elif how == "removed":
        path.unlink()
    else:
        path.rename(aside)
    if how == COPY:
        (shutil.copytree if aside.is_dir() else shutil.copy2)(aside, path)
    elif how == "replaced":
        path.write_bytes(b"other")


def segment(place: int) -> Callable[[Path], Path]:
    return lambda directory: sorted((directory / layout.WAL).glob("*.seg"))[place]


def state_file(pattern: str) -> Callable[[Path], Path]:
    return lambda directory: next((directory / layout.STATE).glob(pattern))


def named(path: str) -> Callable[[Path], Path]:
    return lambda directory: directory / path


ENDS: dict[str, tuple[Callable[[Path], Path], tuple[str, ...]]] = {
    "the data directory": (lambda directory: directory, ("removed", "renamed", COPY)),
    "wal": (named(layout.WAL), ("removed", "renamed", COPY, "replaced")),
    "state": (named(layout.STATE), ("removed", "renamed", COPY, "replaced")),
    "the segment being written": (segment(-1), ("removed", "renamed", COPY, "replaced")),
    "a sealed segment": (segment(0), ("removed", "renamed", COPY, "replaced")),
    "watermark": (named("wal/watermark"), ("removed", "renamed", COPY, "replaced")),
    "CURRENT": (state_file("CURRENT"), ("removed", "renamed")),
    "LevelDB's LOCK": (state_file("LOCK"), ("removed",)),
    "MANIFEST": (state_file("MANIFEST-*"), ("removed",)),
    "LevelDB's log": (state_file("*.log"), ("removed",)),
    "FORMAT": (named(layout.FORMAT), ("replaced",)),
    "genesis.json": (named(layout.GENESIS), ("replaced",)),
}
MADE = {
    "FORMAT": ("removed", "renamed"),
    "genesis.json": ("removed", "renamed"),
    "LOCK": ("removed", "renamed", COPY, "replaced"),
    "token": ("removed", "renamed"),
    "endpoints.json": ("removed",),
    "tls/authority.pem": ("removed",),
    "tls": ("removed", "renamed"),
    "index.sqlite": ("removed", "renamed", "replaced"),
    "index.sqlite-wal": ("removed",),
    "index.sqlite-shm": ("removed",),
}


def test_a_file_that_finds_no_room_is_made_anew_later(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A node without room on its disk ended with 70 when somebody removed its token."""
    node, presence = lively(tmp_path / "d")
    token = node.data_dir / "token"
    token.unlink()
    with monkeypatch.context() as disk:
        disk.setattr(RealFs, "open", no_room)
        assert "reported: token" in presence.look()
    assert not token.exists()
    presence.look()
    assert token.read_bytes() == SMALL["token"]
    node.close()


def no_room(fs: RealFs, path: str, **_: bool) -> RealFile:
    raise OSError(errno.ENOSPC, "No space left on device", path)


def slice_of(ways: dict[str, tuple[str, ...]]) -> list[Any]:
    """Every file in the first way for every commit, in the others in the full run."""
    return [
        pytest.param(what, how, marks=[pytest.mark.full] if place else [])
        for what, hows in ways.items()
        for place, how in enumerate(hows)
    ]


@pytest.mark.parametrize(("what", "how"), slice_of({what: hows for what, (_, hows) in ENDS.items()}))
def test_the_node_ends_and_names_the_file(tmp_path: Path, what: str, how: str) -> None:
    node, presence = lively(tmp_path / "d")
    damage(ENDS[what][0](tmp_path / "d"), how)
    with pytest.raises(FileGone):
        presence.look()
    with pytest.raises(FileGone):
        presence.check()
    node.close()


@pytest.mark.parametrize(("what", "how"), slice_of(MADE))
def test_what_can_be_made_anew_is(tmp_path: Path, what: str, how: str) -> None:
    node, presence = lively(tmp_path / "d")
    damage(tmp_path / "d" / what, how)
    assert what.split(".sqlite")[0] in presence.look()
    assert (tmp_path / "d" / what).exists()
    assert presence.look() == "all in place"
    for name, content in SMALL.items():
        assert (tmp_path / "d" / name).read_bytes() == content
    node.grow(1)
    node.store.index_new_blocks()
    with pytest.raises(DataDirectoryLocked):
        LocalNode(tmp_path / "d")
    digest = node.digest()
    node.close()
    again = LocalNode(tmp_path / "d", segment_size_bytes=16384)
    assert again.digest() == digest
    again.close()


def test_what_is_read_only_is_as_good_as_gone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever runs the tests may write everything, so the system's answer is put in its place."""
    node, presence = lively(tmp_path / "d")
    tail = node.store.wal.segment_paths[-1]
    for path in ("", layout.WAL, layout.STATE, "wal/watermark", tail):
        monkeypatch.setattr(node.opened.fs, "is_writable", lambda asked, path=path: asked != path)
        with pytest.raises(FileGone, match="cannot be written"):
            presence.look()
    monkeypatch.setattr(node.opened.fs, "is_writable", lambda asked: asked != layout.INDEX)
    assert layout.INDEX in presence.look()
    node.close()


def test_another_token_is_told_of_and_left_alone(tmp_path: Path) -> None:
    node, presence = lively(tmp_path / "d")
    (tmp_path / "d" / "token").write_bytes(b"cd" * 32)
    assert "token" in presence.look()
    assert (tmp_path / "d" / "token").read_bytes() == b"cd" * 32
    node.close()


def test_a_lock_file_that_another_process_holds_is_replaced(tmp_path: Path) -> None:
    """A second start on hard links of the directory took it for a moment, and that ended the first node."""
    node, presence = lively(tmp_path / "d")
    (tmp_path / "d" / layout.LOCK).unlink()
    other = RealFs(tmp_path / "d").lock(layout.LOCK)
    assert "LOCK" in presence.look()
    assert presence.look() == "all in place"
    other.release()
    node.close()


@each_engine
def test_a_table_in_use(tmp_path: Path, engine: str) -> None:
    kv = open_store_at(tmp_path / "state", engine)
    for number in range(40):  # a hundred kilobytes each: some become tables
        kv.write({b"%d-%d" % (number, n): random.Random(n).randbytes(1000) for n in range(200)}, ())
    compact(kv)
    kv.check_files()
    table = tables(tmp_path / "state")[0]
    table.unlink()
    with pytest.raises(FileGone, match=table.suffix):
        kv.check_files()
    kv.close()


def test_a_log_removed_under_the_node_gives_no_answer(tmp_path: Path) -> None:
    """`data-directory-removed-while-running`: the group is synced into a file without a name."""
    node = LocalNode(tmp_path / "d")
    node.grow(1)
    shutil.rmtree(tmp_path / "d")
    with pytest.raises(FileGone):
        node.grow(1)
    node.close()


def test_the_table_is_in_the_documentation() -> None:
    text = (REPO / "docs" / "operations.md").read_text()
    for row in TABLE:
        changed = "" if row.changed is row.missing else row.changed.value
        assert f"| {row.what} | {row.missing.value} | {changed or 'the same'} | {row.remark} |" in text, row
    assert {row.missing for row in TABLE} == set(Reaction)


# In use, never damaged


@pytest.mark.parametrize("suspected", [False, True])
@pytest.mark.parametrize("programs", [HOLDERS, WRITERS], ids=["locked", "LOCK removed"])
@each_engine
def test_a_state_store_in_use_is_refused_and_left_alone(
    tmp_path: Path, engine: str, programs: dict[str, str], suspected: bool
) -> None:
    """`state-in-use-is-quarantined`."""
    node = LocalNode(tmp_path / "d", engine=engine)
    node.grow(2)
    node.checkpoint()
    node.close()
    if suspected:
        (tmp_path / "d" / layout.SUSPECT).write_text("a test said so")
    state = tmp_path / "d" / layout.STATE
    with holding(programs[engine], state):
        if programs is WRITERS:
            (state / "LOCK").unlink()
        before = {path.name: path.read_bytes() for path in state.iterdir()}
        for start in (lambda: LocalNode(tmp_path / "d"), lambda: verify_data_directory(tmp_path / "d")):
            with pytest.raises(DataDirectoryLocked, match="is in use by"):
                start()
        assert {path.name: path.read_bytes() for path in state.iterdir() if path.name in before} == before
        assert not (tmp_path / "d" / layout.QUARANTINE).exists()
    node = LocalNode(tmp_path / "d")
    assert node.store.head.number == 2
    node.close()


def test_an_index_in_use_is_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Blocks and reverts go on, lookups search; nothing is deleted, not even what looks damaged."""
    monkeypatch.setattr("storage.index.engine.BUSY_TIMEOUT_MS", 20)
    node = LocalNode(tmp_path / "d")
    node.opened.cheats = True
    first, *_ = node.grow(2)
    node.store.index_new_blocks()
    (snapshot,) = node.ask(lambda done: Cheat(done, "snapshot", (), ""))
    node.grow(1)
    node.store.index_new_blocks()
    index = tmp_path / "d" / layout.INDEX
    with holding(SQLITE, index):
        node.grow(1)
        with pytest.raises(DataDirectoryLocked):
            node.store.index_new_blocks()
        assert node.ask(lambda done: Cheat(done, "revert", (snapshot,), "")) == [True]
        assert node.store.transaction_place(first) == (1, 0)
        (late,) = node.grow(1)
        inode = index.stat().st_ino
        with pytest.raises(DataDirectoryLocked):
            open_chain(settings_of(tmp_path / "d"), {})
        index.with_name("index.sqlite-wal").write_bytes(b"")
        assert index.stat().st_ino == inode
    node.store.index_new_blocks()
    assert node.store.transaction_place(late) == (3, 0)
    node.close()


def test_a_damaged_index_that_another_program_has_open_stays(tmp_path: Path) -> None:
    node = LocalNode(tmp_path / "d")
    node.grow(1)
    node.store.index_new_blocks()
    node.close()
    index = tmp_path / "d" / layout.INDEX
    with sqlite3.connect(index) as other:
        other.execute("SELECT * FROM watermark").fetchall()
        script = "import sys; from storage.index.index import destroy; destroy(sys.argv[1])"
        words = [sys.executable, "-c", script, f"sqlite:///{index}"]
        done = subprocess.run(words, cwd=REPO, capture_output=True, text=True, check=False)
        assert "IndexLocked" in done.stderr
        assert index.exists()
    other.close()
    assert not is_locked(index)


def test_a_file_is_written_as_long_as_someone_has_it_open_for_writing(tmp_path: Path) -> None:
    path = tmp_path / "f"
    with path.open("w"):
        assert is_written(path)
    with path.open("r"):
        assert not is_written(path)
    assert not is_written(tmp_path / "missing")


# A state store without room


@each_engine
def test_a_state_store_that_found_no_room_goes_on_when_there_is_some(tmp_path: Path, engine: str) -> None:
    """It takes no more writes after one that failed; reads go on meanwhile, and snapshots stay what they were."""
    try:
        with small_disk(tmp_path) as disk:
            kv, filler, chance = open_store_at(disk / "state", engine), Filler(disk), random.Random(3)
            batches = [{chance.randbytes(8): chance.randbytes(4000) for _ in range(200)} for _ in range(8)]
            kv.write(batches[0], ())
            older = kv.snapshot()
            kv.write(batches[1], ())
            newest = kv.snapshot()
            filler.fill()
            for _ in range(3):
                with pytest.raises(StorageFull):
                    kv.write(batches[2], ())
                check(kv, batches[:2])
            filler.free()
            for batch in batches[2:]:
                kv.write(batch, ())
            check(kv, batches)
            assert kv.opened == 1
            for key, value in batches[1].items():
                assert newest.get(key) == value
            assert newest.get(next(iter(batches[2]))) is None
            with pytest.raises(StateUnavailable):
                older.get(key)
            kv.close()
            again = open_store_at(disk / "state", engine)
            check(again, batches)
            again.close()
    except PermissionError as error:
        pytest.skip(str(error))


def check(kv: DiskStore, batches: list[dict[bytes, bytes]]) -> None:
    for batch in batches:
        assert all(kv.get(key) == value for key, value in batch.items())


def test_a_revert_on_a_full_disk_is_not_logged(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    node = LocalNode(tmp_path / "d")
    (snapshot,) = node.ask(lambda done: Cheat(done, "snapshot", (), ""))
    node.grow(2)
    node.applied.freeze(node.store.last_lsn, None)

    def no_room(*_: object) -> None:
        raise StorageFull("a test said so")

    with monkeypatch.context() as patch:
        patch.setattr(node.store.kv, "write", no_room)
        (answer,) = node.ask(lambda done: Cheat(done, "revert", (snapshot,), ""))
        assert isinstance(answer, ReadOnly)
    assert node.ask(lambda done: Cheat(done, "revert", (snapshot,), "")) == [True]
    assert node.store.head.number == 0
    node.close()


# What follows the chain's way back


def test_any_number_of_reverts_takes_bounded_memory() -> None:
    """A5: the list grew with every revert. What it answers is compared with the list."""
    chance, rewinds, all_of_them = random.Random(1), Rewinds(), list[int]()
    for _ in range(3_000):
        block = chance.choice((chance.randrange(50), len(all_of_them)))
        rewinds.add(block)
        all_of_them.append(block)
        seen = chance.randrange(len(all_of_them) + 1)
        assert rewinds.since(seen) == (len(all_of_them), min(all_of_them[seen:], default=None))
    for block in range(10_000, 10_000 + 3 * REMEMBERED):
        rewinds.add(block)
        assert len(rewinds) <= REMEMBERED
    count = rewinds.count
    assert rewinds.since(count - 5) == (count, 10_000 + 3 * REMEMBERED - 5)
    assert rewinds.since(0) == (count, min(all_of_them))
    for _ in range(1_000):
        rewinds.add(7)
    assert len(rewinds) <= 60


def test_two_restores_or_backups_to_one_place(tmp_path: Path) -> None:
    """The second removed what the first had written."""
    node = LocalNode(tmp_path / "d")
    node.grow(1)
    node.close()
    write_backup(tmp_path / "d", tmp_path / "backup")
    for place, again in (
        (tmp_path / "new.restoring", lambda: restore_backup(tmp_path / "backup", tmp_path / "new", PROGRAM)),
        (tmp_path / "other", lambda: write_backup(tmp_path / "d", tmp_path / "other")),
    ):
        place.mkdir()
        lock = RealFs(place).lock("")
        (place / "half").write_text("of the first")
        with pytest.raises(DataDirectoryLocked):
            again()
        assert (place / "half").exists()
        lock.release()
    restore_backup(tmp_path / "backup", tmp_path / "new", PROGRAM)
    assert not (tmp_path / "new.restoring").exists()
    assert not (tmp_path / "new" / "half").exists()
