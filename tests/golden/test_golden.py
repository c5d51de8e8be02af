"""Data directories of every format that ever landed open in this version, to the same chain, and go on (T21)."""

from __future__ import annotations

import json
import shutil
import tarfile
from pathlib import Path

import pytest

from storage import layout
from storage.errors import StoreTooNew
from storage.layout import CURRENT, Stamp, Version, decode_stamp, encode_stamp
from tests.durability.nodes import LocalNode
from tests.golden.make import HERE, facts_of

ARCHIVES = sorted(HERE.glob("*.tar.xz"))


def unpack(archive: Path, place: Path) -> tuple[Path, dict[str, object]]:
    with tarfile.open(archive) as packed:
        packed.extractall(place, filter="data")
    return place, json.loads((place / "facts.json").read_text())


@pytest.mark.parametrize("archive", ARCHIVES, ids=lambda path: path.name.partition(".")[0])
@pytest.mark.parametrize("lost", ["nothing", "the state store", "all but the log"])
def test_a_golden_directory_opens_to_the_same_chain_and_goes_on(tmp_path: Path, archive: Path, lost: str) -> None:
    place, facts = unpack(archive, tmp_path / "d")
    if lost != "nothing":
        shutil.rmtree(place / layout.STATE)
    if lost == "all but the log":
        shutil.rmtree(place / layout.EXPORTS, ignore_errors=True)
        (place / layout.INDEX).unlink()
    node = LocalNode(place, segment_size_bytes=65_536)
    assert facts_of(node) == facts
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
