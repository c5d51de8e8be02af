"""The key-value store on each engine: damaged blocks, snapshots, what is no damage."""

from __future__ import annotations

import os
import random
import resource
import shutil
import subprocess
import sys
import threading
from pathlib import Path

import pytest
import rocksdict

from storage.errors import EngineMissing, StateStoreCorrupt, StateStoreRefused, StoragePanic
from storage.io.kv import LAST_KEY
from storage.io.kv.engines import PACKAGES, default_engine, open_store_at, require_engine
from tests.engines import each_engine, opener, tables


@each_engine
@pytest.mark.parametrize("block", ["first", "middle", "last"])
def test_iterators_do_not_pass_over_a_damaged_block(tmp_path: Path, engine: str, block: str) -> None:
    rng = random.Random(1)
    good = {n.to_bytes(4, "big"): rng.randbytes(100) for n in range(2000)}
    open_store, original = opener(engine), tmp_path / "original"
    kv = open_store(original)
    kv.write(good, ())
    kv.close()
    kv = open_store(original)  # opening moves LevelDB's log into a table; closing does RocksDB's
    kv.close()
    table = tables(original)[-1]
    data = bytearray(table.read_bytes())
    place = {"first": 1_000, "middle": len(data) // 2, "last": data.index(good[(1990).to_bytes(4, "big")][20:60])}
    data[place[block]] ^= 4
    table.write_bytes(data)
    keys = sorted(good)
    try:
        damaged = open_store(original)
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


def _foreign(engine: str, path: Path) -> None:
    """A database of somebody else, with one pair."""
    if engine == "leveldb":
        level = pytest.importorskip("plyvel").DB(str(path), create_if_missing=True)
        level.put(b"key", b"value")
    else:
        level = rocksdict.Rdict(str(path), rocksdict.Options(raw_mode=True))
        level.put(b"key", b"value")
    level.close()


@each_engine
def test_a_store_without_its_last_key_is_refused(tmp_path: Path, engine: str) -> None:
    open_store = opener(engine)
    kv = open_store(tmp_path / "new")
    assert kv.get(LAST_KEY) == b""
    assert list(kv.snapshot().iterate(b"", LAST_KEY)) == []
    kv.close()
    _foreign(engine, tmp_path / "other")
    with pytest.raises(StateStoreRefused):
        open_store(tmp_path / "other")
    shutil.rmtree(tmp_path / "other")
    open_store(tmp_path / "other").close()


@each_engine
def test_a_directory_of_the_other_engine_is_refused_and_not_changed(tmp_path: Path, engine: str) -> None:
    other = next(name for name in PACKAGES if name != engine)
    kv = open_store_at(tmp_path / "kv", other)
    kv.write({b"key": b"value"}, ())
    kv.close()
    with pytest.raises(StateStoreRefused):
        open_store_at(tmp_path / "kv", engine)
    kv = open_store_at(tmp_path / "kv", other)
    assert kv.get(b"key") == b"value"
    kv.close()


@each_engine
def test_what_is_no_damage_is_not_taken_for_it(tmp_path: Path, engine: str) -> None:
    open_store = opener(engine)
    open_store(tmp_path / "kv").close()
    lowest = os.dup(0)
    os.close(lowest)
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (lowest + 1, hard))
    try:
        with pytest.raises(StoragePanic, match="Too many open files"):
            open_store(tmp_path / "kv")
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    open_store(tmp_path / "kv").close()


@each_engine
def test_a_snapshot_is_not_moved_by_later_writes(tmp_path: Path, engine: str) -> None:
    """rocksdict's own snapshots are for single keys, but not for iterators."""
    kv = opener(engine)(tmp_path / "kv")
    old = {b"%03d" % n: b"old" for n in range(600)}
    kv.write(old, ())
    snapshot = kv.snapshot()
    half_way = snapshot.iterate(b"", LAST_KEY)
    begun = [next(half_way) for _ in range(300)]
    kv.write({b"%03d" % n: b"new" for n in range(0, 1200, 2)}, [b"%03d" % n for n in range(1, 600, 2)])
    assert begun + list(half_way) == list(old.items())
    assert list(snapshot.iterate(b"", LAST_KEY)) == list(old.items())
    assert [snapshot.get(key) for key in (b"000", b"001", b"700")] == [b"old", b"old", None]
    assert [kv.get(key) for key in (b"000", b"001", b"700")] == [b"new", None, b"new"]
    snapshot.close()
    kv.close()


@each_engine
def test_a_batch_deletes_first(tmp_path: Path, engine: str) -> None:
    kv = opener(engine)(tmp_path / "kv")
    kv.write({b"kept": b"1"}, [b"kept", b"never there"])
    assert kv.get(b"kept") == b"1"
    kv.close()


@each_engine
def test_iterations_of_one_snapshot_do_not_disturb_each_other(tmp_path: Path, engine: str) -> None:
    kv = opener(engine)(tmp_path / "kv")
    pairs = {b"%04d" % n: bytes([n % 256]) * (n % 700) for n in range(2000)}
    kv.write(pairs, ())
    snapshot, found = kv.snapshot(), dict[int, object]()

    def read(number: int) -> None:
        start = b"%04d" % (100 * number)
        found[number] = list(snapshot.iterate(start, LAST_KEY)) == [pair for pair in pairs.items() if pair[0] >= start]

    threads = [threading.Thread(target=read, args=(number,)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == dict.fromkeys(range(6), True)
    kv.close()


@each_engine
def test_a_store_is_closed_whatever_still_reads_it(tmp_path: Path, engine: str) -> None:
    kv = opener(engine)(tmp_path / "kv")
    kv.write({b"%d" % n: b"" for n in range(9)}, ())
    snapshot = kv.snapshot()
    reading = snapshot.iterate(b"", LAST_KEY)
    next(reading)
    kv.close()
    kv.close()
    again = opener(engine)(tmp_path / "kv")
    again.close()


@pytest.mark.parametrize("engine", PACKAGES)
def test_only_the_engine_in_use_is_loaded(tmp_path: Path, engine: str) -> None:
    code = (
        "import sys; from pathlib import Path; from storage.io.kv.engines import PACKAGES, open_store_at;"
        f"open_store_at(Path({str(tmp_path / 'kv')!r}), {engine!r}).close();"
        "print(*(name for name, package in PACKAGES.items() if package in sys.modules))"
    )
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert loaded.split() == [engine]


@each_engine
def test_a_missing_package_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, engine: str) -> None:
    for module in (f"storage.io.kv.{engine}", PACKAGES[engine]):
        monkeypatch.delitem(sys.modules, module, raising=False)
    monkeypatch.setitem(sys.modules, PACKAGES[engine], None)
    with pytest.raises(EngineMissing, match=PACKAGES[engine]):
        open_store_at(tmp_path / "kv", engine)
    assert not (tmp_path / "kv").exists()
    with monkeypatch.context() as patch:
        patch.setattr("storage.io.kv.engines.find_spec", lambda name: None if name == PACKAGES[engine] else name)
        with pytest.raises(EngineMissing, match=PACKAGES[engine]):
            require_engine(engine)
        assert default_engine() == ("rocksdb" if engine == "leveldb" else "leveldb")
