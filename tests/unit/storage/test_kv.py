"""LevelDB with a damaged block: every way to read it fails or is right."""

from __future__ import annotations

import os
import random
import resource
import shutil
from pathlib import Path

import plyvel
import pytest

from storage.errors import StateStoreCorrupt, StateStoreRefused, StoragePanic
from storage.io.kv import LAST_KEY, open_leveldb


@pytest.mark.parametrize("block", ["first", "middle", "last"])
def test_iterators_do_not_pass_over_a_damaged_block(tmp_path: Path, block: str) -> None:
    rng = random.Random(1)
    good = {n.to_bytes(4, "big"): rng.randbytes(100) for n in range(2000)}
    original = tmp_path / "original"
    kv = open_leveldb(original)
    kv.write(good, ())
    kv.close()
    kv = open_leveldb(original)  # opening moves the log into a table
    kv.close()
    table = next(path for path in original.iterdir() if path.suffix == ".ldb")
    data = bytearray(table.read_bytes())
    place = {"first": 1_000, "middle": len(data) // 2, "last": data.index(good[(1990).to_bytes(4, "big")][20:60])}
    data[place[block]] ^= 4
    table.write_bytes(data)
    keys = sorted(good)
    try:
        damaged = open_leveldb(original)
    except StateStoreRefused:
        assert block == "last"  # where the last key lies
        return
    snapshot = damaged.snapshot()
    refused = 0
    with pytest.raises(StateStoreCorrupt):
        list(snapshot.iterate(b"", b"\xff"))
    for at in range(0, len(keys) - 5, 3):
        expected = [(key, good[key]) for key in keys[at : at + 5]]
        for reverse in (False, True):
            try:
                found = list(snapshot.iterate(keys[at], keys[at + 5], reverse=reverse))
                assert found == (expected[::-1] if reverse else expected)
            except StateStoreCorrupt:
                refused += 1
        try:
            assert next(snapshot.iterate(keys[at], b"\xff")) == expected[0]
            assert snapshot.get(keys[at]) == good[keys[at]]
        except StateStoreCorrupt:
            refused += 1
    assert 0 < refused < 500
    damaged.close()


def test_a_store_without_its_last_key_is_refused(tmp_path: Path) -> None:
    kv = open_leveldb(tmp_path / "new")
    assert kv.get(LAST_KEY) == b""
    assert list(kv.snapshot().iterate(b"", LAST_KEY)) == []
    kv.close()
    other = plyvel.DB(str(tmp_path / "other"), create_if_missing=True)
    other.put(b"key", b"value")
    other.close()
    with pytest.raises(StateStoreRefused):
        open_leveldb(tmp_path / "other")
    shutil.rmtree(tmp_path / "other")
    open_leveldb(tmp_path / "other").close()


def test_what_is_no_damage_is_not_taken_for_it(tmp_path: Path) -> None:
    open_leveldb(tmp_path / "kv").close()
    lowest = os.dup(0)
    os.close(lowest)
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (lowest + 1, hard))
    try:
        with pytest.raises(StoragePanic, match="Too many open files"):
            open_leveldb(tmp_path / "kv")
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    open_leveldb(tmp_path / "kv").close()
