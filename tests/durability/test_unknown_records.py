"""Records of later versions in the log of a node: what a start, backup, restore, prune and the other commands do."""

from __future__ import annotations

import json
from collections.abc import Callable
from hashlib import blake2b
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from node.cli.main import cli
from node.ops.audit import AUDIT_FILE
from node.pruning import prune_data_directory
from node.verification import verify_data_directory
from storage.backup import MANIFEST, restore_backup, write_backup
from storage.directory import layout
from storage.directory.stamp import CURRENT, Stamp, decode_stamp, encode_stamp
from storage.errors import ExportDamaged, StorageError, StoreTooNew
from storage.export import exports, read_header
from storage.io.files import RealFs
from storage.io.kv import LAST_KEY
from storage.io.kv.engines import open_store_at
from storage.wal import Record, RecordType, Wal, WalIdentity, inspect
from storage.wal.format import OPTIONAL, SEGMENT_HEADER_SIZE, decode_segment_header
from storage.wal.records import SCHEMAS
from storage.wal.segments import sequence_of
from tests.durability.nodes import PROGRAM, LocalNode

SEGMENT = 16_384
UNHEARD_OF = Record(0, 200, b"of a later version", OPTIONAL, 1)
LATER_FATE = Record(0, RecordType.FATE, b"encoded anew", OPTIONAL, SCHEMAS[RecordType.FATE] + 1)
LATER_DELTA = Record(0, RecordType.BLOCK_DELTA, b"encoded anew", OPTIONAL, SCHEMAS[RecordType.BLOCK_DELTA] + 1)
NAME = Record(0, 23, b"reserved", OPTIONAL, 1)
ADDED = (UNHEARD_OF, LATER_FATE, LATER_DELTA, NAME)
CRITICAL = Record(0, 18, b"reserved", 0, 1)

Insert = Callable[[Record], list[Record]]
"""The records to write before this one."""


def around_all(record: Record) -> list[Record]:
    """Unknown records before blocks, in them, and between others."""
    match record.type:
        case RecordType.BLOCK_ENV:
            return [UNHEARD_OF, NAME]
        case RecordType.TRANSACTION:
            return [LATER_FATE]
        case RecordType.BLOCK_SEAL:
            return [LATER_DELTA, UNHEARD_OF]
    return []


def rewrite(place: Path, insert: Insert, last: tuple[Record, ...] = ()) -> None:
    """Write the log of a stopped node anew with more records in it."""
    fs = RealFs(place)
    with (path_of_first(place)).open("rb") as file:
        header = decode_segment_header(file.read(SEGMENT_HEADER_SIZE))
    assert header is not None
    identity: WalIdentity = header.identity
    old = Wal.open(fs, layout.WAL, identity, segment_size=SEGMENT)
    new = Wal.open(fs, "wal.new", identity, segment_size=SEGMENT)
    records = [more for record in old.records(unknown=True) for more in (*insert(record), record)]
    for record in (*records, *last):
        new.append(record.type, record.payload, optional=bool(record.flags & OPTIONAL), schema=record.schema)
        if record.type == RecordType.BLOCK_SEAL:
            new.flush()
    new.close()
    old.close()
    (place / layout.WAL).rename(place / "wal.old")
    (place / "wal.new").rename(place / layout.WAL)
    for path in (place / "wal.old").iterdir():
        path.unlink()
    (place / "wal.old").rmdir()


def path_of_first(place: Path) -> Path:
    return min(path for path in (place / layout.WAL).iterdir() if sequence_of(path.name) is not None)


def opened(place: Path) -> LocalNode:
    return LocalNode(place, segment_size_bytes=SEGMENT, block_deltas="on")


def lived(place: Path, blocks: int = 12) -> dict[str, object]:
    """A node that made blocks and ended before its first checkpoint; its digest."""
    node = opened(place)
    node.grow(blocks)
    digest = node.digest()
    node.close()
    return digest


def log_of(place: Path) -> list[tuple[int, bytes, int, int]]:
    """Type, payload, schema and LSN of every record."""
    found = []
    for finding in inspect(RealFs(place), layout.WAL):
        assert finding.sound, finding
        if finding.record is not None:
            found.append((finding.record.type, finding.record.payload, finding.record.schema, finding.record.lsn))
    return found


def without_derived(place: Path) -> dict[str, bytes]:
    """Every file but LevelDB's own, the lock and the audit log.

    LevelDB writes its journal anew whenever it is opened, and the audit log has the acts that were refused.
    """
    derived = {layout.STATE, layout.LOCK, layout.CACHE, AUDIT_FILE}
    paths = (path for path in sorted(place.rglob("*")) if path.is_file())
    named = {str(path.relative_to(place)): path for path in paths}
    return {
        name: path.read_bytes()
        for name, path in named.items()
        if name.split("/")[0] not in derived and not name.startswith(layout.INDEX)
    }


def state_of(place: Path) -> list[tuple[bytes, bytes]]:
    kv = open_store_at(place / layout.STATE, "leveldb")
    try:
        return list(kv.snapshot().iterate(b"", LAST_KEY))
    finally:
        kv.close()


def command(*words: str) -> Result:
    return CliRunner().invoke(cli, list(words))


def test_a_chain_with_unknown_optional_records_everywhere(tmp_path: Path) -> None:
    place = tmp_path / "d"
    digest = lived(place)
    node = opened(place)
    node.close()
    rewrite(place, around_all, last=(UNHEARD_OF,))
    before = log_of(place)
    for path in [*(place / layout.STATE).iterdir(), *place.glob(f"{layout.INDEX}*")]:
        path.unlink()
    (place / layout.STATE).rmdir()
    node = opened(place)
    assert node.digest() == digest, "they change nothing"
    assert log_of(place)[: len(before)] == before
    node.grow(2)
    node.checkpoint()
    after = node.digest()
    node.close()
    node = opened(place)
    assert node.digest() == after
    while node.store.wal.pack_one():
        pass
    node.close()
    whole = log_of(place)
    assert whole[: len(before)] == before
    assert command("wal", "verify", "--data-dir", str(place)).exit_code == 0
    shown = command("wal", "inspect", "--data-dir", str(place)).output
    assert "type 200" in shown
    assert "skipped: a NAME record (type 23, schema 1) of a later version" in shown
    lines = command("wal", "export", "--data-dir", str(place)).output.splitlines()
    assert [json.loads(line)["lsn"] for line in lines] == [lsn for *_, lsn in whole]
    assert {(line["type"], line["schema"], line["optional"]) for line in map(json.loads, lines)} >= {
        ("type 200", 1, True), ("NAME", 1, True), ("FATE", 2, True), ("BLOCK_DELTA", 2, True)
    }  # fmt: skip
    assert not verify_data_directory(place).problems


def test_backup_and_restore_keep_them(tmp_path: Path) -> None:
    place = tmp_path / "d"
    digest = lived(place)
    rewrite(place, around_all, last=(NAME,))
    (tmp_path / "none").mkdir()
    for path in (place / layout.STATE).iterdir():
        path.rename(tmp_path / "none" / path.name)
    for path in place.glob(f"{layout.INDEX}*"):
        path.unlink()
    before = log_of(place)
    write_backup(place, tmp_path / "b")
    last = before[-1][-1]
    assert restore_backup(tmp_path / "b", tmp_path / "whole", PROGRAM) == last
    assert log_of(tmp_path / "whole") == before
    for until in (last, last - 1, last - 5, 7):
        target = tmp_path / f"until {until}"
        assert restore_backup(tmp_path / "b", target, PROGRAM, until) == until
        assert log_of(target) == before[:until]
    node = opened(tmp_path / "whole")
    assert node.digest() == digest
    node.close()
    node = opened(tmp_path / f"until {last - 1}")
    assert node.digest() == digest
    node.close()


def pruneable(place: Path, insert_from: int) -> list[int]:
    """A node with a checkpoint, an export of it and several segments; NAME records before it from an LSN on."""
    node = opened(place)
    node.grow(40)
    node.close()
    rewrite(place, lambda record: [NAME] if record.lsn == insert_from else [])
    for path in (place / layout.STATE).iterdir():
        path.unlink()
    for path in place.glob(f"{layout.INDEX}*"):
        path.unlink()
    node = opened(place)
    node.grow(3)
    node.checkpoint()
    node.opened.export(1)
    node.grow(20)
    node.close()
    (path,) = exports(RealFs(place))
    return [lsn for *_, lsn in log_of(place) if lsn <= read_header(RealFs(place), path).lsn]


def test_prune_keeps_segments_with_records_that_it_does_not_know(tmp_path: Path) -> None:
    pruneable(tmp_path / "early", 5)
    assert not prune_data_directory(tmp_path / "early").paths
    assert not prune_data_directory(tmp_path / "early", dry_run=True).paths
    covered = pruneable(tmp_path / "late", 100)
    assert prune_data_directory(tmp_path / "late").paths
    assert covered[-1] > 100
    assert (23, b"reserved", 1) in [record[:3] for record in log_of(tmp_path / "late")]
    node = opened(tmp_path / "late")
    node.grow(1)
    node.close()


def refused_everywhere(place: Path, tmp_path: Path) -> None:
    """Every command that reads the log ends with 67, and nothing of the directory is changed by any of them."""
    before, state = without_derived(place), state_of(place)

    def unchanged() -> None:
        assert without_derived(place) == before
        assert state_of(place) == state

    for _ in range(2):
        with pytest.raises(StoreTooNew, match="FORK_BASE") as refused:
            opened(place)
        assert refused.value.exit_code == 67
        unchanged()
    for words in (("wal", "verify"), ("wal", "export"), ("wal", "prune"), ("wal", "prune", "--dry-run"), ("verify",)):
        result = command(*words, "--data-dir", str(place))
        code = result.exception.exit_code if isinstance(result.exception, StorageError) else result.exit_code
        assert code == 67, (words, result.output, result.exception)
        unchanged()
    assert "FORK_BASE" in command("wal", "inspect", "--data-dir", str(place)).output
    with pytest.raises(StoreTooNew, match="FORK_BASE"):
        write_backup(place, tmp_path / "b")
    assert not list((tmp_path / "b").iterdir()), "no half of a backup is left"
    unchanged()


@pytest.mark.parametrize("where", ["in a sealed segment", "in a block", "last"])
def test_a_critical_record_refuses_the_directory(tmp_path: Path, where: str) -> None:
    place = tmp_path / "d"
    node = opened(place)
    node.grow(60)
    node.checkpoint()
    node.opened.export(1)
    first = node.store.wal.next_lsn
    node.grow(60)
    node.close()
    count = log_of(place)[-1][-1]
    at = {"in a sealed segment": first, "in a block": count, "last": 0}[where]
    rewrite(place, lambda record: [CRITICAL] if record.lsn == at else [], (CRITICAL,) if where == "last" else ())
    segments = [path for path in (place / layout.WAL).iterdir() if sequence_of(path.name) is not None]
    assert len(segments) > 4
    refused_everywhere(place, tmp_path)


def test_a_backup_that_holds_one_is_not_restored(tmp_path: Path) -> None:
    place = tmp_path / "d"
    lived(place, 40)
    write_backup(place, tmp_path / "b")
    rewrite(place, lambda record: [CRITICAL] if record.lsn == 3 else [])
    for path in (tmp_path / "b" / layout.WAL).iterdir():
        path.unlink()
    manifest = json.loads((tmp_path / "b" / MANIFEST).read_text())
    kept = {path: digest for path, digest in manifest["digests"].items() if not path.startswith(layout.WAL)}
    for path in (place / layout.WAL).iterdir():
        if sequence_of(path.name) is not None:
            content = path.read_bytes()
            (tmp_path / "b" / layout.WAL / path.name).write_bytes(content)
            kept[f"{layout.WAL}/{path.name}"] = blake2b(content, digest_size=32).hexdigest()
    (tmp_path / "b" / MANIFEST).write_text(json.dumps({**manifest, "digests": kept}))
    for until in (None, 10):
        with pytest.raises(StoreTooNew, match="FORK_BASE"):
            restore_backup(tmp_path / "b", tmp_path / "r", PROGRAM, until)
        assert not (tmp_path / "r").exists()


def test_a_backup_of_a_later_version_is_not_taken_for_a_damaged_one(tmp_path: Path) -> None:
    lived(tmp_path / "d", 2)
    write_backup(tmp_path / "d", tmp_path / "b")
    manifest = json.loads((tmp_path / "b" / MANIFEST).read_text())
    for changed in ({**manifest, "version": 2}, {**manifest, "version": 2, "parts": []}):
        (tmp_path / "b" / MANIFEST).write_text(json.dumps(changed))
        with pytest.raises(StoreTooNew, match="version 2"):
            restore_backup(tmp_path / "b", tmp_path / "r", PROGRAM)
    for changed in ({**manifest, "version": 0}, {**manifest, "version": "x"}, {"lsn": 1}, [], 7):
        (tmp_path / "b" / MANIFEST).write_text(json.dumps(changed))
        with pytest.raises(ExportDamaged):
            restore_backup(tmp_path / "b", tmp_path / "r", PROGRAM)
    assert not (tmp_path / "r").exists()


def test_a_stamp_that_names_one_refuses_the_directory(tmp_path: Path) -> None:
    """Also when the record lies before the checkpoint, where a start does not read."""
    place = tmp_path / "d"
    lived(place)
    stamp = Stamp(CURRENT, "9.1.0", "9.0.0", ("FORK_BASE",))
    (place / layout.FORMAT).write_bytes(encode_stamp(stamp))
    before = without_derived(place)
    with pytest.raises(StoreTooNew, match=r"FORK_BASE; written by zvmd 9\.1\.0, readable from 9\.0\.0 on"):
        opened(place)
    with pytest.raises(StoreTooNew, match="FORK_BASE"):
        write_backup(place, tmp_path / "b")
    with pytest.raises(StoreTooNew, match="FORK_BASE"):
        prune_data_directory(place)
    with pytest.raises(StoreTooNew, match="FORK_BASE"):
        verify_data_directory(place)
    assert without_derived(place) == before
    assert decode_stamp((place / layout.FORMAT).read_bytes()) == stamp
