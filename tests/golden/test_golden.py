"""Data directories of every format that ever landed open in this version, to the same chain, and go on."""

from __future__ import annotations

import json
import random
import shutil
import signal
import tarfile
from pathlib import Path

import pytest

from storage.directory import layout
from storage.directory.stamp import CURRENT, Stamp, Version, decode_stamp, encode_stamp
from storage.errors import StoreTooNew, WalCorrupt
from storage.export import exports, founding_export
from storage.io.files import RealFs
from storage.wal.format import VERSION
from storage.wal.segments import sequence_of
from tests.crash.forked import failpoints
from tests.durability.nodes import LocalNode
from tests.golden.first_start import ended
from tests.golden.make import HERE, facts_of

ARCHIVES = sorted(HERE.glob("*.tar.xz"))
AT_THE_START = ("open.", "wal.", "recovery", "index.", "file.", "export.", "kv.")
MOSTLY_REACHED = ("open.", "wal.recovery", "recovery", "kv.", "export.restore", "index.migrate")


def unpack(archive: Path, place: Path) -> tuple[Path, dict[str, object]]:
    with tarfile.open(archive) as packed:
        packed.extractall(place, filter="data")
    return place, json.loads((place / "facts.json").read_text())


def known(found: dict[str, object], facts: dict[str, object]) -> dict[str, object]:
    """Of what is found, what the archive's makers asked about."""
    return {name: found[name] for name in facts}


@pytest.mark.parametrize("archive", ARCHIVES, ids=lambda path: path.name.removesuffix(".tar.xz"))
@pytest.mark.parametrize("lost", ["nothing", "the state store", "all but the log"])
def test_a_golden_directory_opens_to_the_same_chain_and_goes_on(tmp_path: Path, archive: Path, lost: str) -> None:
    place, facts = unpack(archive, tmp_path / "d")
    if lost != "nothing":
        shutil.rmtree(place / layout.STATE)
    if lost == "all but the log":
        founding = founding_export(RealFs(place))  # of a pruned log: it is a part of it
        for path in exports(RealFs(place)):
            if path != founding:
                (place / path).unlink()
        (place / layout.INDEX).unlink()
    node = LocalNode(place, segment_size_bytes=65_536)
    assert known(facts_of(node), facts) == facts
    while node.store.wal.pack_one():
        pass
    assert decode_stamp((place / layout.FORMAT).read_bytes()).stores == CURRENT
    node.store.index_new_blocks()
    node.grow(2)
    node.checkpoint()
    after = node.digest()
    node.close()
    again = LocalNode(place, segment_size_bytes=65_536)
    assert again.digest() == after
    again.close()


def segment_versions(place: Path) -> list[int]:
    """Format version of each plain segment, oldest first; the minimum reader is the same."""
    paths = sorted(path for path in (place / layout.WAL).iterdir() if sequence_of(path.name) is not None)
    found = [path.read_bytes()[8:12] for path in paths]
    assert all(version[:2] == version[2:] for version in found)
    return [int.from_bytes(version[:2], "little") for version in found]


@pytest.mark.parametrize("archive", ARCHIVES, ids=lambda path: path.name.removesuffix(".tar.xz"))
def test_an_older_log_goes_on_in_a_segment_that_older_programs_refuse(tmp_path: Path, archive: Path) -> None:
    place, _ = unpack(archive, tmp_path / "d")
    older = decode_stamp((place / layout.FORMAT).read_bytes()).stores["wal"].major < 3
    before = segment_versions(place)
    assert set(before) == {1 if older else VERSION}
    for _ in range(2):
        LocalNode(place, segment_size_bytes=65_536).close()
        assert segment_versions(place) == before + [VERSION] * older, "one more, once"


@pytest.mark.parametrize("archive", ARCHIVES, ids=lambda path: path.name.removesuffix(".tar.xz"))
def test_a_start_that_is_refused_leaves_it_to_the_older_program(tmp_path: Path, archive: Path) -> None:
    place, facts = unpack(archive, tmp_path / "d")
    path = max(path for path in (place / layout.WAL).iterdir() if sequence_of(path.name) is not None)
    whole = path.read_bytes()
    damaged = bytearray(whole)
    damaged[len(whole.rstrip(b"\0")) - 1] ^= 1  # in the last record, which the watermark knows
    path.write_bytes(damaged)
    kept = {path: path.read_bytes() for path in (place / layout.FORMAT, *(place / layout.WAL).iterdir())}
    with pytest.raises(WalCorrupt):
        LocalNode(place, segment_size_bytes=65_536)
    assert {path: path.read_bytes() for path in kept} == kept
    assert sorted((place / layout.WAL).iterdir()) == sorted(kept.keys() - {place / layout.FORMAT})
    path.write_bytes(whole)
    node = LocalNode(place, segment_size_bytes=65_536)
    assert known(facts_of(node), facts) == facts
    node.close()


PLACES = sorted(name for name in failpoints() if name.startswith(AT_THE_START))


@pytest.mark.parametrize("archive", ARCHIVES, ids=lambda path: path.name.removesuffix(".tar.xz"))
def test_its_first_start_is_killed_anywhere(tmp_path: Path, archive: Path) -> None:
    likely = [place for place in PLACES if place.startswith(MOSTLY_REACHED)]
    chosen = random.Random(archive.name).sample(likely, 5)
    assert sum(killed_at_the_start(tmp_path / place, archive, place) for place in chosen) >= 1


@pytest.mark.full
@pytest.mark.timeout(1200)
@pytest.mark.parametrize("archive", ARCHIVES, ids=lambda path: path.name.removesuffix(".tar.xz"))
def test_its_first_start_is_killed_everywhere(tmp_path: Path, archive: Path) -> None:
    assert sum(killed_at_the_start(tmp_path / place, archive, place) for place in PLACES) >= 8


def killed_at_the_start(place: Path, archive: Path, failpoint: str) -> bool:
    """Start over a directory of another format without its state store and index, so that all is built again; killed at
    a named place, if the start comes by it, which is returned. The next start finds the chain.
    """
    place.mkdir()
    directory, facts = unpack(archive, place / "d")
    (directory / layout.INDEX).unlink()
    (directory / layout.SUSPECT).write_text("a test said so")
    status = ended(directory, failpoint)
    assert status in (0, -signal.SIGKILL)
    node = LocalNode(directory, segment_size_bytes=65_536)
    assert known(facts_of(node), facts) == facts
    node.grow(1)
    node.close()
    return status != 0


def test_there_is_one() -> None:
    assert ARCHIVES


@pytest.mark.parametrize("store", sorted(CURRENT))
def test_a_directory_of_a_later_format_is_refused_and_not_changed(tmp_path: Path, store: str) -> None:
    place, _ = unpack(ARCHIVES[-1], tmp_path / "d")
    later = {**CURRENT, store: Version(CURRENT[store].major + 1, 0)}
    (place / layout.FORMAT).write_bytes(encode_stamp(Stamp(later, "9.0.0", "9.0.0")))
    before = {path: path.read_bytes() for path in place.rglob("*") if path.is_file()}
    with pytest.raises(StoreTooNew, match=r"readable from 9\.0\.0"):
        LocalNode(place)
    after = {path: path.read_bytes() for path in place.rglob("*") if path.is_file() and path.name != layout.LOCK}
    assert after == before
