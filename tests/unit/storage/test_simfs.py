"""The simulated file system keeps its promises, and only those; the real one agrees on the rest."""

from __future__ import annotations

import errno
from contextlib import suppress
from pathlib import Path

import pytest

from storage.errors import DataDirectoryLocked
from storage.io.atomic import write_atomically
from storage.io.files import FileSystem, RealFs, write_all
from tests.simulation.simfaults import Fault, SimCrash
from tests.simulation.simfs import SECTOR, SimFs


def synced(fs: SimFs, path: str, content: bytes) -> None:
    file = fs.open(path, create=True)
    file.pwrite(0, content)
    file.fsync()
    fs.sync_directory("")


def images(fs: SimFs, path: str, count: int | None = None) -> set[bytes | None]:
    """What the file may hold after a power loss; None where it does not exist."""
    return {
        image.content(path) if image.exists(path) else None
        for name, image in fs.survivors(1, count)
        if name != "killed"
    }


def test_nothing_synced_nothing_promised() -> None:
    fs = SimFs()
    fs.open("file", create=True).pwrite(0, b"data")
    assert {None, b"data", b""} <= images(fs, "file")


def test_synced_content_and_name_stay() -> None:
    fs = SimFs()
    synced(fs, "file", b"data")
    assert images(fs, "file") == {b"data"}


def test_a_synced_file_may_lose_its_name() -> None:
    fs = SimFs()
    file = fs.open("file", create=True)
    file.pwrite(0, b"data")
    file.fsync()
    assert images(fs, "file") == {None, b"data"}


def test_a_synced_name_may_lose_its_content_or_show_stale_bytes() -> None:
    fs = SimFs()
    synced(fs, "other", b"\xee" * 600)
    file = fs.open("file", create=True)
    fs.sync_directory("")
    file.pwrite(0, b"data")
    found = images(fs, "file")
    assert {b"", b"data", bytes(4), b"\xee" * 4} <= found


def test_sectors_are_whole_and_arrive_in_any_order() -> None:
    fs = SimFs()
    synced(fs, "file", b"a" * 3 * SECTOR)
    fs.open("file").pwrite(0, b"b" * 3 * SECTOR)
    found = images(fs, "file")
    kinds = {bytes(content[place] for place in range(0, 3 * SECTOR, SECTOR)) for content in found if content}
    assert {b"aaa", b"baa", b"bba", b"bbb", b"aab"} <= kinds
    assert all(
        len(set(content[i : i + SECTOR])) == 1
        for content in found
        if content
        for i in range(0, len(content), SECTOR)
    )


def test_a_rename_is_one_step_and_may_be_lost() -> None:
    fs = SimFs()
    synced(fs, "old", b"1")
    synced(fs, "new", b"2")
    fs.rename("new", "old")
    for _, image in fs.survivors(1):
        names = image.listdir("")
        assert (names, image.content("old")) in ((["new", "old"], b"1"), (["old"], b"2"))
    assert images(fs, "old") == {b"1", b"2"}
    fs.sync_directory("")
    assert images(fs, "old") == {b"2"}


def test_an_unlink_may_be_lost() -> None:
    fs = SimFs()
    synced(fs, "file", b"1")
    fs.unlink("file")
    assert images(fs, "file") == {None, b"1"}


def test_a_directory_may_be_lost_with_all_in_it() -> None:
    fs = SimFs()
    fs.makedirs("a/b")
    file = fs.open("a/b/file", create=True)
    file.pwrite(0, b"1")
    file.fsync()
    fs.sync_directory("a/b")
    assert {image.exists("a/b/file") for _, image in fs.survivors(1)} == {False, True}
    fs.sync_directory("a")
    fs.sync_directory("")
    assert images(fs, "a/b/file") == {b"1"}


def test_a_killed_process_leaves_its_cache() -> None:
    fs = SimFs()
    synced(fs, "file", b"1")
    fs.open("file").pwrite(0, b"2")
    fs.lock("LOCK")
    following = fs.restart()
    assert following.content("file") == b"2"
    assert following.pending >= 1
    following.lock("LOCK")
    assert images(following, "file") == {b"1", b"2"}


def test_a_failed_sync_drops_the_pages_but_the_cache_shows_them() -> None:
    fs = SimFs()
    synced(fs, "file", b"1")
    file = fs.open("file")
    file.pwrite(0, b"2")
    fs.fail_at(Fault(fs.calls, errno.EIO))
    with pytest.raises(OSError, match="Input/output"):
        file.fdatasync()
    file.fdatasync()  # "succeeds"
    assert fs.content("file") == b"2"
    assert images(fs, "file") == {b"1"}


def test_failing_calls_once_and_for_ever() -> None:
    fs = SimFs()
    file = fs.open("file", create=True)
    fs.fail_at(Fault(fs.calls, errno.ENOSPC))
    with pytest.raises(OSError, match="No space"):
        file.pwrite(0, b"1")
    assert file.pwrite(0, b"1234") == 4
    fs.fail_at(Fault(fs.calls, 0, forever=True))
    assert file.pwrite(0, b"1234") == 2
    write_all(file, 0, b"5678")
    assert fs.content("file") == b"5678"
    fs.recover_from_faults()
    fs.fail_at(Fault(fs.calls, errno.EINTR, forever=True))
    with pytest.raises(InterruptedError):
        write_all(file, 0, b"1234")


def test_after_a_crash_no_call_does_anything() -> None:
    fs = SimFs()
    file = fs.open("file", create=True)
    fs.crash_at(fs.calls)
    for _ in range(2):
        with pytest.raises(SimCrash):
            file.pwrite(0, b"1")
    with pytest.raises(SimCrash):
        fs.listdir("")
    file.close()


def test_the_same_seed_gives_the_same_survivors() -> None:
    def run(seed: int) -> list[tuple[str, bytes]]:
        fs = SimFs()
        synced(fs, "file", bytes(4096))
        fs.open("file").pwrite(100, b"x" * 3000)
        return [(name, image.content("file")) for name, image in fs.survivors(seed, 12)]

    assert run(1) == run(1)
    assert run(1) != run(2)
    assert len(run(1)) == 12


@pytest.mark.parametrize("kind", ["real", "simulated"])
def test_both_file_systems_agree(kind: str, tmp_path: Path) -> None:
    fs: FileSystem = RealFs(tmp_path) if kind == "real" else SimFs()
    fs.makedirs("a/b")
    fs.makedirs("a/b")
    file = fs.open("a/b/file", create=True)
    assert file.pwrite(4, b"data") == 4
    assert file.pread(0, 100) == b"\0\0\0\0data"
    assert file.pread(6, 1) == b"t"
    assert file.pread(100, 1) == b""
    file.fallocate(20)
    file.fallocate(10)
    assert file.size() == 20
    file.ftruncate(6)
    assert fs.read_file("a/b/file") == b"\0\0\0\0da"
    assert file.data_ranges()[-1][1] >= 6
    file.fdatasync()
    file.fsync()
    file.close()
    with pytest.raises(FileExistsError):
        fs.open("a/b/file", create=True)
    with pytest.raises(FileNotFoundError):
        fs.open("a/b/none")
    with pytest.raises(FileNotFoundError):
        fs.unlink("a/b/none")
    with pytest.raises(FileNotFoundError):
        fs.rename("a/b/none", "a/b/file")
    with pytest.raises(FileNotFoundError):
        fs.listdir("none")
    fs.rename("a/b/file", "a/other")
    assert fs.listdir("a") == ["b", "other"]
    assert fs.listdir("a/b") == []
    fs.sync_directory("a")
    fs.sync_directory("")
    assert fs.exists("a/other")
    assert not fs.exists("a/b/file")
    assert not fs.exists("none/file")
    write_atomically(fs, "a/other", [b"new"])
    write_atomically(fs, "a/other", [b"newer"])
    assert fs.read_file("a/other") == b"newer"
    with pytest.raises(OSError, match="not empty"):
        fs.rmdir("a")
    fs.unlink("a/other")
    assert fs.listdir("a") == ["b"]
    fs.rmdir("a/b")
    assert fs.listdir("a") == []
    with pytest.raises(FileNotFoundError):
        fs.rmdir("a/b")
    lock = fs.lock("LOCK")
    with pytest.raises(DataDirectoryLocked) as caught:
        fs.lock("LOCK")
    assert caught.value.exit_code == 75
    lock.release()
    fs.lock("LOCK").release()


def test_an_atomic_write_is_old_or_new_at_every_crash() -> None:
    states = 0
    for call in range(20):
        fs = SimFs()
        synced(fs, "file", b"old" * 300)
        fs.crash_at(fs.calls + call)
        with suppress(SimCrash):
            write_atomically(fs, "file", [b"new" * 400])
        for _, image in fs.survivors(1, 12):
            assert image.content("file") in (b"old" * 300, b"new" * 400)
            states += 1
    assert states > 40
