"""What is kept of debug sessions: records, the shelf over checkpoints, snapshot files, and finding them again."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from hashlib import blake2b
from pathlib import Path

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from storage.blocks.chaindata import ChainData
from storage.directory import layout
from storage.errors import InvalidRecord, SnapshotLost
from storage.index.follower import IndexFollower
from storage.index.index import Index
from storage.index.sessions import SessionFilter, SessionRow
from storage.index.sql import SqlWriter
from storage.io.files import RealFs
from storage.sessions.files import KEPT_SECONDS, SessionFiles, path_of, session_files
from storage.sessions.records import (
    Kept,
    Label,
    SessionPosition,
    SnapshotFile,
    decode_session,
    decode_template,
    encode_template,
    session_record,
)
from storage.sessions.search import SessionSearch, row_of
from storage.sessions.shelf import Entry, SessionShelf
from storage.sessions.templates import TemplateShelf
from storage.wal.records import RecordType
from tests.paths import REPO
from tests.simulation.simkv import SimKv

ids = st.integers(1, 2**64 - 1)
numbers = st.integers(0, 2**63 - 1)
words = st.text(max_size=12)
labels = st.builds(
    Label, words, st.lists(words, max_size=3).map(tuple), words, st.binary(max_size=32), st.binary(max_size=20),
    st.binary(max_size=32), numbers, st.booleans(),
)  # fmt: skip
places = st.builds(SessionPosition, numbers, numbers, st.binary(max_size=32), words, numbers, st.binary(max_size=9))
snapshots = st.builds(SnapshotFile, st.binary(min_size=32, max_size=32), numbers)
changes = st.none() | places | st.builds(Kept, labels, places, st.binary(max_size=99) | snapshots)


@given(ids, changes)
def test_records_come_back(session: int, change: Kept | SessionPosition | None) -> None:
    kind, payload = session_record(session, change)
    assert decode_session(kind, payload) == (session, change)
    if isinstance(change, SessionPosition):
        assert kind is RecordType.SESSION_MOVE


@given(ids, changes, st.data())
def test_only_the_canonical_encoding_is_taken(
    session: int, change: Kept | SessionPosition | None, data: st.DataObject
) -> None:
    kind, payload = session_record(session, change)
    at = data.draw(st.integers(0, len(payload) - 1))
    damaged = payload[:at] + bytes([payload[at] ^ data.draw(st.integers(1, 255))]) + payload[at + 1 :]
    for other in (damaged, payload + b"\0", payload[:-1]):
        with suppress(InvalidRecord):
            assert session_record(*decode_session(kind, other)) == (kind, other)
    wrong = RecordType.SESSION_MOVE if kind is not RecordType.SESSION_MOVE else RecordType.SESSION
    with pytest.raises(InvalidRecord):
        decode_session(wrong, payload)


@given(st.text(min_size=1, max_size=9), st.none() | st.binary(max_size=9))
def test_templates_come_back(name: str, content: bytes | None) -> None:
    with suppress(InvalidRecord):
        assert decode_template(encode_template(name, content)) == (name, content)


def kept(name: str = "", step: int = 0, content: bytes | SnapshotFile = b"content", **label: object) -> Kept:
    fields = {"tags": (), "fork": "osaka", "code_hash": b"", "contract": b"", "transaction": b"", "created": 1}
    return Kept(Label(name=name, **{**fields, **label}), SessionPosition(step, 0, bytes(32), "", 2), content)  # type: ignore[arg-type]


def test_the_shelf_over_checkpoints() -> None:
    kv, shelf = SimKv(), SessionShelf()
    shelf.put(1, kept("one"), 10, 100)
    shelf.put(2, kept("two"), 11)
    kv.write(*shelf.take_changes())
    assert (shelf.has_changes, shelf.unwritten_bytes) == (False, 0)
    place = SessionPosition(7, 1, b"d" * 32, "stop", 9)
    shelf.put(1, place, 12, 60)
    assert (shelf.has_changes, shelf.unwritten_bytes) == (True, 60)
    puts, deletes = shelf.take_changes()
    assert sum(map(len, puts.values())) < 100, "a move writes the place only"
    kv.write(puts, deletes)
    shelf.put(2, None, 13)
    shelf.put(3, kept("three"), 14)
    shelf.put(3, None, 15)
    kv.write(*shelf.take_changes())
    again = SessionShelf()
    again.load(kv, 15)
    assert list(again) == [1]
    assert again.get(1) == msgspec.structs.replace(kept("one"), place=place)
    assert (again.highest, again.last_lsn) == (3, 15)
    with pytest.raises(InvalidRecord):
        again.put(2, place, 16)


def test_templates_over_checkpoints() -> None:
    kv, shelf = SimKv(), TemplateShelf()
    shelf.put("é", b"1")
    shelf.put("b", b"2")
    kv.write(*shelf.take_changes())
    shelf.put("b", None)
    assert shelf.has_changes
    kv.write(*shelf.take_changes())
    again = TemplateShelf()
    again.load(kv)
    assert {name: again.get(name) for name in again} == {"é": b"1"}


# Finding


@pytest.fixture
def index(tmp_path: Path) -> Iterator[Index]:
    path, migrations = tmp_path / "index.sqlite", REPO / "migrations"
    opened = Index.open(path, migrations, SqlWriter(path, migrations))
    opened.prepare()
    yield opened
    opened.close()


def test_an_empty_one_has_no_rows(index: Index) -> None:
    assert (index.session_lsn(), index.sessions(SessionFilter(), 10)) == (0, [])


NAMES = ("", "Straße", "STRASSE", "50%", "5_0", "back\\slash", "ünï", "x" * 200)
HASHES = (b"", b"\1" * 32, b"\2" * 32)
rows = st.builds(
    SessionRow, st.just(0), st.sampled_from(NAMES), st.sets(st.sampled_from("abc")).map(lambda t: tuple(sorted(t))),
    st.sampled_from(("osaka", "cancun")), st.sampled_from(HASHES), st.sampled_from((b"", b"\1" * 20)),
    st.sampled_from(HASHES), st.sampled_from(("", "stop", "revert")), st.integers(0, 3), st.integers(0, 3),
    st.integers(0, 3), st.integers(0, 3), st.booleans(),
)  # fmt: skip
ends = st.tuples(st.none() | st.integers(0, 3), st.none() | st.integers(0, 3))
filters = st.builds(
    SessionFilter,
    name=st.none() | st.sampled_from(("strasse", "ß", "%", "_", "\\", "Ü", "", "X")),
    tag=st.none() | st.sampled_from("abd"),
    fork=st.none() | st.sampled_from(("osaka", "london")),
    code_hash=st.none() | st.sampled_from(HASHES),
    contract=st.none() | st.sampled_from((b"", b"\1" * 20)),
    transaction=st.none() | st.sampled_from(HASHES),
    halt=st.none() | st.sampled_from(("", "stop")),
    pinned=st.none() | st.booleans(),
    created=ends, used=ends, steps=ends, bytes=ends,
)  # fmt: skip


def test_the_database_and_memory_agree(index: Index) -> None:
    @settings(max_examples=30)
    @given(st.lists(rows, max_size=12), st.lists(filters, min_size=1, max_size=8), st.integers(1, 12))
    def agree(found: list[SessionRow], wanted: list[SessionFilter], limit: int) -> None:
        numbered = [replace(row, id=number) for number, row in enumerate(found, 1)]
        index.write_sessions(numbered, [], 5, all_=True)
        assert index.session_lsn() == 5
        for one in wanted:
            expected = [row.id for row in reversed(numbered) if one.matches(row)]
            assert index.sessions(one, 100) == expected
            assert index.sessions(one, limit) == expected[:limit]
            assert index.sessions(one, limit, before=6) == [number for number in expected if number < 6][:limit]

    agree()


def search_over(index: Index, shelf: SessionShelf) -> SessionSearch:
    return SessionSearch(IndexFollower(index, ChainData(SimKv())), shelf)


def test_what_the_index_has_not_reached_is_found_too(index: Index) -> None:
    shelf = SessionShelf()
    for number in range(1, 9):
        shelf.put(number, kept(f"n{number}"), number)
    search = search_over(index, shelf)
    everything = list(range(8, 0, -1))

    def found(**wanted: object) -> list[int]:
        return [row.id for row in search.find(SessionFilter(**wanted), 100).rows]  # type: ignore[arg-type]

    assert found() == everything
    assert search.catch_up(durable_lsn=5) == 8, "all were looked at; three may still be lost"
    assert index.sessions(SessionFilter(), 10) == [5, 4, 3, 2, 1]
    assert found() == everything
    assert search.catch_up(8) == 3
    assert search.catch_up(8) == 0
    assert index.sessions(SessionFilter(), 10) == everything
    shelf.put(3, kept("changed"), 9)
    shelf.put(4, None, 10)
    shelf.put(5, SessionPosition(77, 0, bytes(32), "stop", 3), 11)
    assert found(name="n3") == []
    assert found(name="changed") == [3]
    assert found(halt="stop") == [5]
    assert found(halt="") == [8, 7, 6, 3, 2, 1]
    assert search.catch_up(11) == 3
    assert index.sessions(SessionFilter(steps=(77, None)), 10) == [5]
    page = search.find(SessionFilter(), 3)
    assert ([row.id for row in page.rows], page.more) == ([8, 7, 6], True)
    page = search.find(SessionFilter(), 30, before=6)
    assert ([row.id for row in page.rows], page.more) == ([5, 3, 2, 1], False)


def test_a_new_process_writes_all_rows_anew(index: Index) -> None:
    shelf = SessionShelf()
    shelf.put(1, kept("one"), 4)
    search_over(index, shelf).catch_up(4)
    later = SessionShelf()
    later.put(2, kept("two"), 6)
    search_over(index, later).catch_up(6)
    assert index.sessions(SessionFilter(), 10) == [2]
    assert index.session_lsn() == 6


def test_rows_say_what_records_say() -> None:
    snapshot = SnapshotFile(bytes(32), 12_345)
    made = kept("N", 7, snapshot, tags=("t",), contract=b"\1" * 20, pinned=True)
    row = row_of(3, Entry(made, 1))
    assert (row.id, row.name, row.tags, row.steps, row.bytes, row.pinned) == (3, "N", ("t",), 7, 12_345, True)


# Files


def test_files(tmp_path: Path) -> None:
    fs = RealFs(tmp_path)
    files = SessionFiles(fs)
    content = b"session" * 1000
    snapshot = files.write(7, content)
    path = tmp_path / path_of(7, snapshot)
    assert path.name == blake2b(content, digest_size=32).hexdigest() + ".sess"
    assert files.read(7, snapshot) == content
    assert files.write(7, content) == snapshot
    later = path.stat().st_mtime + KEPT_SECONDS + 1
    assert files.sweep(set, later) == (0, 1), "its record is under way"
    files.settled(7, snapshot)
    assert files.sweep(lambda: {(7, snapshot.blake2b)}, later) == (0, 1)
    assert files.sweep(set, later - 2) == (0, 1), "not a day old"
    assert files.sweep(lambda: {(8, snapshot.blake2b)}, later) == (1, 0)
    with pytest.raises(SnapshotLost, match="missing"):
        files.read(7, snapshot)
    assert not path.parent.exists()
    assert files.read(7, files.write(7, content)) == content


def test_an_empty_folder_stays_while_a_file_is_made_for_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    files = SessionFiles(RealFs(tmp_path))
    swept: list[tuple[int, int]] = []

    def reach(place: str) -> None:
        if place == "session.file.before":
            swept.append(files.sweep(set, 0))

    monkeypatch.setattr("storage.sessions.files.reach", reach)
    snapshot = files.write(3, b"large")
    assert swept == [(0, 0)]
    assert files.read(3, snapshot) == b"large"


def test_a_file_being_written_is_not_swept_whatever_the_clock_says(tmp_path: Path) -> None:
    fs = RealFs(tmp_path)
    files = SessionFiles(fs)
    path = tmp_path / path_of(7, files.write(7, b"session"))
    unfinished = path.with_name(path.name + ".tmp")
    unfinished.write_bytes(b"half")
    assert files.sweep(set, path.stat().st_mtime + 10 * KEPT_SECONDS) == (0, 1)
    assert unfinished.exists()


def test_a_damaged_or_unfinished_file(tmp_path: Path) -> None:
    fs = RealFs(tmp_path)
    files = SessionFiles(fs)
    snapshot = files.write(1, b"one")
    path = tmp_path / path_of(1, snapshot)
    path.write_bytes(b"two")
    with pytest.raises(SnapshotLost, match="another content"):
        files.read(1, snapshot)
    assert files.write(1, b"one") == snapshot
    assert files.read(1, snapshot) == b"one"
    (tmp_path / layout.SESSIONS / "1" / "aa.sess.tmp").write_bytes(b"o")
    SessionFiles(fs).remove_unfinished([1])
    assert [entry.name for entry in path.parent.iterdir()] == [path.name]


def test_what_others_leave_in_the_folder_is_not_looked_at(tmp_path: Path) -> None:
    """A file there kept the node from starting (65), a folder ended the start as a failed disk would (70)."""
    fs = RealFs(tmp_path)
    files = SessionFiles(fs)
    kept = files.write(3, b"content")
    (tmp_path / "sessions" / ".DS_Store").write_text("x")
    (tmp_path / "sessions" / "4").write_text("x")
    (tmp_path / "sessions" / "3" / "notes.txt").write_text("x")
    (tmp_path / "sessions" / "3" / "folder").mkdir()
    SessionFiles(fs).remove_unfinished([3])
    assert session_files(fs) == [path_of(3, kept)]
    assert files.sweep(lambda: {(3, kept.blake2b)}, 2**40) == (0, 1)
    assert (tmp_path / "sessions" / "3" / "notes.txt").exists()
