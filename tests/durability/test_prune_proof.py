"""What a prune believes: nothing of the log goes for an export that is damaged, of another history, or not checked."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from node.engine.requests import Control
from node.pruning import prune_data_directory
from storage.directory import layout
from storage.errors import PruneRefused
from storage.export import exports
from storage.io.files import RealFs
from storage.wal.bounds import read_beginning
from tests.durability.test_prune import STRANGER, live, opened, segments


def test_what_is_not_proven_is_not_pruned(tmp_path: Path) -> None:
    live(tmp_path).close()
    fs = RealFs(tmp_path)
    (export,) = exports(fs)
    content = (tmp_path / export).read_bytes()
    before = segments(tmp_path)
    damaged = bytearray(content)
    damaged[len(content) // 2] ^= 4
    (tmp_path / export).write_bytes(damaged)
    with pytest.raises(PruneRefused, match=r"no state export .*: .* wrong digest"):
        prune_data_directory(tmp_path)
    (tmp_path / export).write_bytes(content)
    for marker in (layout.SUSPECT, layout.PANIC):
        (tmp_path / marker).write_text("x")
        with pytest.raises(PruneRefused, match="recover first"):
            prune_data_directory(tmp_path)
        (tmp_path / marker).unlink()
    last = tmp_path / layout.WAL / before[-2]
    sound = last.read_bytes()
    last.write_bytes(sound[:4200] + bytes((sound[4200] ^ 1,)) + sound[4201:])
    with pytest.raises(PruneRefused, match="is damaged"):
        prune_data_directory(tmp_path)
    last.write_bytes(sound)
    assert segments(tmp_path) == before
    assert read_beginning(fs, layout.WAL) is None
    assert prune_data_directory(tmp_path).paths


def test_an_export_of_another_history_is_not_believed(tmp_path: Path) -> None:
    node = opened(tmp_path / "d")
    node.grow(6)
    node.close()
    shutil.copytree(tmp_path / "d", tmp_path / "other")
    other = opened(tmp_path / "other")
    other.ask(lambda done: Control(done, "coinbase", STRANGER))
    other.grow(19)
    other.checkpoint()
    other.opened.export(1)
    other.close()
    live(tmp_path / "d").close()
    shutil.rmtree(tmp_path / "d" / layout.EXPORTS)
    shutil.copytree(tmp_path / "other" / layout.EXPORTS, tmp_path / "d" / layout.EXPORTS)
    with pytest.raises(PruneRefused, match="the log around its LSN"):
        prune_data_directory(tmp_path / "d")
