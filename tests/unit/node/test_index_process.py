"""The index process: writes what the library writes, ends when idle, and may die or hang at any time."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from node.indexing import remote
from node.indexing.messages import IndexingFailed, Write, decode_answer, decode_request, encode
from node.indexing.remote import MODULE, RemoteWriter
from node.ops import worker
from node.ops.worker import Worker, WorkerLost
from storage.errors import IndexDamaged, IndexLocked, IndexUnavailable, StorageFull, StoreTooNew
from storage.index.index import Index
from storage.index.rows import BlockRows, IndexWatermark, LogRow, TransactionRow
from storage.index.sessions import SessionFilter, SessionRow
from storage.index.sql import SqlWriter
from tests.durability.full_disk import Filler, small_disk
from tests.paths import REPO
from tests.unit.storage.test_index import dump, entries

MIGRATIONS = REPO / "migrations"
SESSION = SessionRow(3, "Name", ("a", "b"), "osaka", b"c" * 32, b"", b"", "stop", 1, 2, 3, 4, True)
CHAIN = entries(30)


@pytest.fixture
def writer(tmp_path: Path) -> Iterator[RemoteWriter]:
    made = RemoteWriter(tmp_path / "index.sqlite", MIGRATIONS, 30.0)
    yield made
    made.close()


def opened(path: Path, writer: RemoteWriter) -> Index:
    index = Index.open(path, MIGRATIONS, writer)
    index.prepare()
    return index


def pid_of(writer: RemoteWriter) -> int:
    pid = writer.status()["pid"]
    assert isinstance(pid, int)
    return pid


def gone(pid: int) -> bool:
    """Whether a process has ended, within a generous time."""
    for _ in range(600):
        try:
            if Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] in "ZX":
                return True
        except OSError:
            return True
        time.sleep(0.05)
    return False


def test_it_writes_what_the_library_writes(tmp_path: Path, writer: RemoteWriter) -> None:
    here, there = tmp_path / "here.sqlite", tmp_path / "index.sqlite"
    apart = opened(there, writer)
    assert apart.write(CHAIN, 7) == IndexWatermark(7, 29, CHAIN[29].hash) == apart.watermark()
    apart.write_sessions([SESSION], [9], 8, all_=True)
    assert apart.sessions(SessionFilter(tag="b", pinned=True), 10) == [3]
    library = Index.open(here, MIGRATIONS, SqlWriter(here, MIGRATIONS))
    library.prepare()
    library.write(CHAIN, 7)
    library.write_sessions([SESSION], [9], 8, all_=True)
    assert dump(there) == dump(here)
    with pytest.raises(IndexDamaged, match="was to follow"):
        apart.write(entries(40)[35:], 9)
    apart.close()
    library.close()


def test_it_ends_when_there_is_nothing_to_do_and_begins_again(tmp_path: Path) -> None:
    writer = RemoteWriter(tmp_path / "index.sqlite", MIGRATIONS, 0.1)
    index = opened(tmp_path / "index.sqlite", writer)
    for number in range(3):
        process = writer.status()["pid"]
        assert process is None or gone(process)
        index.write(CHAIN[: number + 1], number)
    assert writer.losses == 0, "an end for lack of work is no loss"
    assert index.moved == "", "SQLite's files stay while somebody reads"
    index.close()


def test_killed_again_and_again(tmp_path: Path, writer: RemoteWriter, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(remote, "PAUSE_SECONDS_MAX", 0.0)
    index = opened(tmp_path / "index.sqlite", writer)
    for number in range(4):
        index.write(CHAIN[: number + 1], number)
        os.kill(pid_of(writer), signal.SIGKILL)
        with suppress(IndexUnavailable):  # or the end was seen before
            index.write(CHAIN[: number + 1], number)
    assert index.write(CHAIN, 9) == index.watermark()
    assert 0 < writer.losses <= 4
    assert "-9" in writer.status()["lastLoss"]
    index.close()


def test_one_that_hangs_is_killed_and_the_next_one_waits_its_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [0.0]
    writer = RemoteWriter(tmp_path / "index.sqlite", MIGRATIONS, 30.0, lambda: now[0])
    index = opened(tmp_path / "index.sqlite", writer)
    index.write(CHAIN[:3], 3)
    hung = pid_of(writer)
    os.kill(hung, signal.SIGSTOP)
    monkeypatch.setattr(remote, "ASK_SECONDS", 0.3)
    with pytest.raises(IndexUnavailable, match="lost"):
        index.write(CHAIN[:9], 9)
    assert gone(hung)
    assert index.watermark() == IndexWatermark(3, 2, CHAIN[2].hash), "readers do not need it"
    with pytest.raises(IndexUnavailable, match="starts again in"):
        index.write(CHAIN[:9], 9)
    monkeypatch.setattr(remote, "ASK_SECONDS", 60.0)
    now[0] += 0.6
    index.write(CHAIN[:9], 9)
    index.close()
    writer.close()


def test_who_waits_for_a_hung_one_is_told_when_the_program_ends(tmp_path: Path, writer: RemoteWriter) -> None:
    index = opened(tmp_path / "index.sqlite", writer)
    os.kill(pid_of(writer), signal.SIGSTOP)
    index.abandon()
    with pytest.raises(IndexUnavailable, match="stopping"):
        index.write(CHAIN, 1)
    index.close()


def test_a_database_that_kills_it_is_given_up_once_an_hour(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    now = [0.0]
    writer = RemoteWriter(tmp_path / "index.sqlite", MIGRATIONS, 30.0, lambda: now[0])
    index = opened(tmp_path / "index.sqlite", writer)
    monkeypatch.setenv("ZVMD_FAILPOINT", "index.commit.before")  # of the next processes
    writer.close()
    outcomes = []
    for _ in range(8):
        try:
            index.write(CHAIN, 1)
        except (IndexUnavailable, IndexDamaged) as error:
            outcomes.append(type(error))
        now[0] += remote.PAUSE_SECONDS_MAX
    assert outcomes == [IndexUnavailable, IndexUnavailable, IndexDamaged, *[IndexUnavailable] * 5]
    assert index.watermark() is None, "it died before each commit"
    monkeypatch.delenv("ZVMD_FAILPOINT")
    index.write(CHAIN, 1)
    assert index.watermark() is not None
    index.close()


def test_one_that_cannot_be_started_does_not_cost_the_index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With all file descriptors in use the index was deleted, as if it had crashed the process three times."""
    monkeypatch.setattr(sys, "executable", str(tmp_path / "nothing"))
    now = [0.0]
    broken = RemoteWriter(tmp_path / "index.sqlite", MIGRATIONS, 30.0, lambda: now[0])
    for _ in range(2 * remote.LOSSES_BEFORE_REBUILD):
        with pytest.raises(IndexUnavailable, match="no process could be started"):
            broken.prepare()
        assert broken.status()["pauseSeconds"] > 0
        now[0] += remote.PAUSE_SECONDS_MAX


def test_refusals_come_as_what_they_are(tmp_path: Path, writer: RemoteWriter, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "index.sqlite"
    index = opened(path, writer)
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(IndexLocked):
        index.write(CHAIN, 1)
    other.execute("UPDATE alembic_version SET version_num = '9999'")
    other.execute("COMMIT")
    other.close()
    with pytest.raises(StoreTooNew):
        writer.prepare()
    assert writer.losses == 0
    index.close()


def test_a_full_disk_is_said_to_be_full_and_it_goes_on_when_there_is_room(tmp_path: Path) -> None:
    try:
        with small_disk(tmp_path) as disk:
            writer = RemoteWriter(disk / "index.sqlite", MIGRATIONS, 30.0)
            index = opened(disk / "index.sqlite", writer)
            filler = Filler(disk)
            filler.fill()
            with pytest.raises(StorageFull):
                index.write(CHAIN, 1)
            assert index.watermark() is None
            filler.free()
            index.write(CHAIN, 1)
            assert index.watermark() == IndexWatermark(1, 29, CHAIN[29].hash)
            assert writer.losses == 0
            index.close()
    except PermissionError as error:
        pytest.skip(str(error))


def test_it_does_not_outlive_its_parent_even_stopped() -> None:
    script = (
        "import os, signal, sys, time; from pathlib import Path; from node.indexing.remote import RemoteWriter\n"
        "w = RemoteWriter(Path(sys.argv[1]) / 'i.sqlite', Path(sys.argv[2]), 600.0); w.prepare()\n"
        "pid = w.status()['pid']\n"
        "if sys.argv[3] == 'stopped': os.kill(pid, signal.SIGSTOP)\n"
        "print(pid, flush=True); os.kill(os.getpid(), signal.SIGKILL)"
    )
    for how in ("waiting", "stopped"):
        with tempfile.TemporaryDirectory() as place:
            words = [sys.executable, "-c", script, place, str(MIGRATIONS), how]
            done = subprocess.run(words, cwd=REPO, capture_output=True, text=True, check=False)
            assert gone(int(done.stdout)), how


blobs = st.binary(max_size=40)
numbers = st.integers(0, 2**63 - 1)
blocks = st.builds(
    BlockRows, numbers, blobs,
    st.lists(st.builds(TransactionRow, blobs, blobs, st.none() | blobs), max_size=3).map(tuple),
    st.lists(st.builds(LogRow, numbers, blobs, st.lists(blobs, max_size=4).map(tuple)), max_size=3).map(tuple),
)  # fmt: skip


@given(st.lists(blocks, max_size=3), numbers)
def test_messages_come_back(rows: list[BlockRows], lsn: int) -> None:
    assert decode_request(encode(Write(rows, lsn))) == Write(rows, lsn)


@given(st.binary(max_size=60))
@settings(max_examples=200)
def test_what_is_no_message_is_refused_and_nothing_else_happens(data: bytes) -> None:
    with suppress(msgspec.MsgspecError):
        request = decode_request(data)
        assert decode_request(encode(request)) == request


def test_a_request_that_is_none_is_answered_and_the_process_goes_on(tmp_path: Path) -> None:
    asked = Worker(MODULE, str(tmp_path / "i.sqlite"), str(MIGRATIONS), "30")
    try:
        refused = decode_answer(asked.ask(b"\xc1", 60))
        assert isinstance(refused, IndexingFailed)
        assert refused.code == ""
        pid = asked.pid
        assert isinstance(decode_answer(asked.ask(encode(Write([], 1)), 60)), IndexingFailed)
        assert asked.pid == pid
    finally:
        asked.stop()


def test_a_length_that_is_too_much_ends_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = Worker(MODULE, str(tmp_path / "i.sqlite"), str(MIGRATIONS), "30")
    monkeypatch.setattr(worker, "_LENGTH", type("Odd", (), {"size": 4, "pack": lambda _, n: b"\xff\xff\xff\xff"})())
    with pytest.raises(WorkerLost):
        asked.ask(b"x", 60)
