"""A disk that is really full: reads are answered, changes refused, and it goes on when there is room."""

from __future__ import annotations

from pathlib import Path

import pytest

from storage.directory import layout
from storage.errors import StorageFull
from tests.durability.full_disk import Filler, fill_and_free, small_disk
from tests.durability.nodes import LocalNode
from tests.engines import ENVIRONMENT, each_engine


def run(place: Path, cycles: int) -> None:
    try:
        full, done = fill_and_free(place, 14, cycles)
    except PermissionError as error:
        pytest.skip(str(error))
    assert done == cycles
    assert full.reads > cycles


@pytest.mark.timeout(300)
@pytest.mark.parametrize(("engine", "times"), [("leveldb", 2), ("rocksdb", 1)])
def test_a_disk_is_filled_and_freed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, engine: str, times: int) -> None:
    monkeypatch.setenv(ENVIRONMENT, engine)
    run(tmp_path, times)


@pytest.mark.full
@pytest.mark.timeout(3600)
@each_engine
def test_a_disk_is_filled_and_freed_often(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, engine: str) -> None:
    monkeypatch.setenv(ENVIRONMENT, engine)
    run(tmp_path, 200)


def kept(directory: Path) -> Path:
    node = LocalNode(directory)
    node.grow(2)
    node.checkpoint()
    node.close()
    return directory


def comes_back_with_its_state(directory: Path) -> None:
    node = LocalNode(directory)
    assert (node.store.head.number, node.opened.recovery.blocks) == (2, 0)
    assert not (directory / layout.QUARANTINE).exists()
    node.close()


@each_engine
def test_a_start_on_a_full_disk_leaves_the_state_where_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, engine: str
) -> None:
    """It was taken for damaged, put aside, and could not be made again either: 65."""
    monkeypatch.setenv(ENVIRONMENT, engine)
    try:
        with small_disk(tmp_path) as disk:
            directory = kept(disk / "d")
            filler = Filler(disk)
            filler.fill()
            with pytest.raises(StorageFull):
                LocalNode(directory)
            filler.free()
            comes_back_with_its_state(directory)
    except PermissionError as error:
        pytest.skip(str(error))
