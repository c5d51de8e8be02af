"""What is neither a file nor a directory in a data directory is named, and nothing waits for it or is changed."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from node.verification import verify_data_directory
from storage.backup import write_backup
from storage.directory import layout
from storage.errors import DataDirectoryUnusable, EntryUnusable
from storage.export import write_export
from storage.preflight import WANTED, looked_over
from tests.daemon import Daemon, DaemonFailed
from tests.durability.damage import copy_of
from tests.durability.nodes import LocalNode

KINDS: dict[str, Callable[[Path], object]] = {
    "FIFO": os.mkfifo,
    "link to nowhere": lambda path: path.symlink_to("nowhere"),
    "link to itself": lambda path: path.symlink_to(path.name),
    "link to a file": lambda path: path.symlink_to(path.parent.parent / "kept"),
    "endless device": lambda path: path.symlink_to("/dev/zero"),
}


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Path:
    node = LocalNode(tmp_path_factory.mktemp("entries") / "sound")
    node.grow(2)
    node.checkpoint()
    node.store.index_new_blocks()
    write_export(node.opened.fs, node.store.kv)
    node.close()
    return node.data_dir


def refused(directory: Path, path: str) -> None:
    with pytest.raises(EntryUnusable, match=path):
        LocalNode(directory)


@pytest.mark.parametrize("kind", KINDS)
def test_a_thing_in_place_of_any_file_is_refused(sound: Path, tmp_path: Path, kind: str) -> None:
    """Opening a FIFO in place of a segment, of CURRENT or of the token hung the start for ever."""
    directory = copy_of(sound, tmp_path / "d")
    files = sorted(path for path in directory.rglob("*") if path.is_file())
    assert {path.name for path in files} >= {"CURRENT", layout.LOCK, layout.INDEX, "watermark"}
    for path in files:
        kept = tmp_path / "kept"
        path.rename(kept)
        KINDS[kind](path)
        refused(directory, path.name)
        path.unlink()
        kept.rename(path)
    node = LocalNode(directory)
    assert node.store.head.number == 2
    node.close()


@pytest.mark.parametrize("name", sorted(WANTED))
def test_files_and_directories_are_not_taken_for_each_other(sound: Path, tmp_path: Path, name: str) -> None:
    directory = copy_of(sound, tmp_path / "d")
    path = directory / name
    if path.is_dir():
        shutil.rmtree(path)
    path.unlink(missing_ok=True)
    if WANTED[name] == "file":
        path.mkdir()
    else:
        path.touch()
    refused(directory, name)


def test_links_to_directories_are_as_good_and_looked_into(sound: Path, tmp_path: Path) -> None:
    directory = copy_of(sound, tmp_path / "d")
    for name in (layout.STATE, layout.WAL):
        (directory / name).rename(tmp_path / name)
        (directory / name).symlink_to(tmp_path / name)
    LocalNode(directory).close()
    os.mkfifo(tmp_path / layout.STATE / "000099.log")
    refused(directory, "state/000099.log")


def test_quarantine_is_not_read_and_a_missing_directory_is_no_stranger(sound: Path, tmp_path: Path) -> None:
    directory = copy_of(sound, tmp_path / "d")
    (directory / layout.QUARANTINE).mkdir()
    os.mkfifo(directory / layout.QUARANTINE / "state-1")
    looked_over(directory)
    looked_over(tmp_path / "nothing")


def test_what_nobody_opens_is_not_looked_into(sound: Path, tmp_path: Path) -> None:
    """Folders in folders, a thousand deep, ended the start in a RecursionError."""
    directory = copy_of(sound, tmp_path / "d")
    for place in (directory / "strange", directory / layout.EXPORTS / "strange"):
        place.mkdir()
        before = Path.cwd()
        os.chdir(place)
        for _ in range(1_200):
            Path("a").mkdir()
            os.chdir("a")
        os.mkfifo("fifo")
        os.chdir(before)
    LocalNode(directory).close()
    for place in (directory / "strange", directory / layout.EXPORTS / "strange"):
        subprocess.run(["rm", "-rf", place], check=True)  # pytest's own removal recurses


def test_commands_on_a_directory_look_before_they_read(sound: Path, tmp_path: Path) -> None:
    directory = copy_of(sound, tmp_path / "d")
    (directory / layout.GENESIS).unlink()
    os.mkfifo(directory / layout.GENESIS)
    for command in (verify_data_directory, lambda source: write_backup(source, tmp_path / "backup")):
        with pytest.raises(EntryUnusable):
            command(directory)


@contextmanager
def unwritable(path: Path) -> Iterator[None]:
    """A file that this user may not write, root neither."""
    if os.geteuid():
        path.chmod(0o400)
    elif subprocess.run(["chattr", "+i", path], check=False).returncode:
        pytest.skip("this file system cannot keep root from writing")
    try:
        yield
    finally:
        subprocess.run(["chattr", "-i", path], check=False, stderr=subprocess.DEVNULL)


@pytest.mark.parametrize("name", [layout.LOCK, layout.INDEX, "wal/watermark", "wal/0000000000000000.seg"])
def test_a_file_that_may_not_be_written_is_named(sound: Path, tmp_path: Path, name: str) -> None:
    """With an unwritable index the node said READY, and ended with 70 at the first block."""
    directory = copy_of(sound, tmp_path / "d")
    with unwritable(directory / name), pytest.raises(DataDirectoryUnusable, match=name):
        LocalNode(directory)


def test_a_node_that_cannot_tell_its_address_ends_with_the_status_of_settings(sound: Path, tmp_path: Path) -> None:
    """It was 1, after which systemd starts it again, for ever."""
    directory = copy_of(sound, tmp_path / "d")
    (directory / "endpoints.json").mkdir()
    daemon = Daemon(directory)
    with pytest.raises(DaemonFailed, match="ended with status 78"):
        daemon.start()
