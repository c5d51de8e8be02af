"""The checkpoint chain over simulated and real stores, and what damage to LevelDB's files may do."""

from __future__ import annotations

import random
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from chain.state import Account, StateDelta
from chain.types import Address, Hash32
from storage.blocks.chaindata import ChainData
from storage.checkpoint import Checkpoint, last_checkpoint, verify_checkpoints, write_checkpoint
from storage.errors import (
    CheckpointBroken,
    DataDirectoryLocked,
    StateStoreCorrupt,
    StateStoreRefused,
    StateStoreWriteFailed,
    StoreTooNew,
)
from storage.io.kv import KeyValueStore
from storage.state.keys import CHECKPOINT, META_HEAD, META_OLDEST, META_STATE
from storage.state.store import StateStore
from storage.state.verify import check_all, recompute_root
from tests.engines import compact, each_engine, opener
from tests.simulation.simkv import SimKv
from tests.unit.storage.chains import make_block

REFUSALS = (CheckpointBroken, StateStoreCorrupt, StateStoreRefused)
Contents = dict[bytes, bytes]


def contents(kv: KeyValueStore) -> Contents:
    return dict(kv.snapshot().iterate(b"", b"\xff\xff"))


def grow(kv: KeyValueStore, checkpoints: int, seed: int = 1, accounts: int = 6) -> list[Contents]:
    """Write checkpoints of two blocks each; returns what the store held after each."""
    rng = random.Random(seed)
    state, chain_data = StateStore(kv), ChainData(kv)
    seen = []
    for _ in range(checkpoints):
        for _ in range(2):
            number = state.head + 1
            chosen = [Address(rng.randbytes(1) * 20) for _ in range(accounts)]
            root = state.apply(
                number,
                StateDelta(
                    {a: Account(number, rng.randint(0, 10**20)) for a in chosen},
                    {a: {rng.randint(0, 9): rng.randint(0, 2**200)} for a in chosen[:3]},
                ),
            )
            parent = chain_data.hash_of(number - 1) or Hash32(bytes(32))
            chain_data.add(*make_block(rng, number, parent, root, transactions=2 if number else 0))
        write_checkpoint(kv, state, chain_data, lsn=10 * state.head)
        seen.append(contents(kv))
    return seen


def test_a_good_store_verifies_and_goes_on() -> None:
    kv = SimKv()
    assert verify_checkpoints(kv, random.Random(0)) is None
    grow(kv, 5)
    head = verify_checkpoints(kv, random.Random(0))
    assert head is not None
    assert (head.number, head.block, head.lsn) == (5, 9, 90)
    grow(kv, 3, seed=2)
    head = verify_checkpoints(kv, random.Random(0), links=4)
    assert head is not None
    assert (head.number, head.block) == (8, 15)
    accounts, slots = check_all(kv.snapshot(), head.state_root)
    assert accounts > 20
    assert slots > 20
    assert recompute_root(kv.snapshot()) == (head.state_root, accounts, slots)


def test_every_missing_or_altered_key_that_is_checked_is_refused() -> None:
    kv = SimKv()
    grow(kv, 6)
    for number in range(1, 7):
        key = CHECKPOINT + number.to_bytes(8, "big")
        record = Checkpoint.decode(kv.items()[key])
        for change in (None, replace(record, lsn=record.lsn + 1), replace(record, number=record.number + 1)):
            copy = kv.copy()
            copy.write({} if change is None else {key: change.encode()}, [key])
            with pytest.raises(CheckpointBroken):
                verify_checkpoints(copy, random.Random(0))
    for key in (META_HEAD, META_STATE, b"meta/block", b"n", b"H" + (11).to_bytes(8, "big")):
        copy = kv.copy()
        copy.write({}, [key])
        with pytest.raises(REFUSALS):
            verify_checkpoints(copy, random.Random(0))


def test_a_dropped_batch_in_the_middle_is_found() -> None:
    """Finding 1: LevelDB can lose batches 3 to 4 of 6 and keep 5 and 6."""
    kv = SimKv()
    seen = grow(kv, 6)
    holed = dict(seen[5])
    for key, value in seen[5].items():
        if seen[3].get(key) == value and seen[1].get(key) != value:  # last written by 3 or 4
            if key in seen[1]:
                holed[key] = seen[1][key]
            else:
                del holed[key]
    assert holed != seen[5]
    with pytest.raises(CheckpointBroken):
        verify_checkpoints(SimKv(holed), random.Random(0))


def test_flat_values_that_differ_from_the_trie_are_found() -> None:
    kv = SimKv()
    grow(kv, 4)
    head = last_checkpoint(kv)
    assert head is not None
    for key, value in kv.items().items():
        if key[:1] not in b"asno" or key == b"n":
            continue
        copy = kv.copy()
        copy.write({key: value[:-1] + bytes([value[-1] ^ 1])}, ())
        with pytest.raises(StateStoreCorrupt):
            check_all(copy.snapshot(), head.state_root)


def test_a_root_computed_anew_tells_a_missing_value_too() -> None:
    """`check_all` asks the tries about every value that is there; one that is not, nobody asks about."""
    kv = SimKv()
    grow(kv, 4)
    head = last_checkpoint(kv)
    assert head is not None
    found = 0
    for key, value in kv.items().items():
        if key[:1] in b"as":
            for left in ({}, {key: value[:-1] + bytes([value[-1] ^ 1])}):
                copy = kv.copy()
                copy.write(left, () if left else [key])
                try:
                    assert recompute_root(copy.snapshot())[0] != head.state_root
                except StateStoreCorrupt:
                    found += 1
    assert found > 20


def test_a_later_schema_is_not_touched() -> None:
    kv = SimKv()
    grow(kv, 2)
    key = CHECKPOINT + (2).to_bytes(8, "big")
    kv.write({key: replace(Checkpoint.decode(kv.items()[key]), schema_version=2).encode()}, ())
    with pytest.raises(StoreTooNew):
        verify_checkpoints(kv, random.Random(0))


@pytest.mark.parametrize("applies", [False, True])
def test_a_failed_write_leaves_either_checkpoint(applies: bool) -> None:
    kv = SimKv()
    grow(kv, 2)
    kv.fail_writes_from, kv.applies_failed_write = kv.writes, applies
    with pytest.raises(StateStoreWriteFailed):
        grow(kv, 1, seed=3)
    after = kv.copy()
    head = verify_checkpoints(after, random.Random(0))
    assert head is not None
    assert head.number == (3 if applies else 2)
    grow(after, 2, seed=4)  # recover, then write again
    assert verify_checkpoints(after, random.Random(0)) is not None


@each_engine
def test_an_engine_holds_the_same_as_the_simulation(tmp_path: Path, engine: str) -> None:
    open_store = opener(engine)
    real = open_store(tmp_path / "state")
    simulated = SimKv()
    assert grow(real, 4) == grow(simulated, 4)
    with pytest.raises(DataDirectoryLocked):
        open_store(tmp_path / "state")
    real.close()
    again = open_store(tmp_path / "state")
    assert contents(again) == simulated.items()
    backwards = list(again.snapshot().iterate(b"a", b"b", reverse=True))
    assert backwards == list(simulated.snapshot().iterate(b"a", b"b", reverse=True))
    assert backwards == sorted(backwards, reverse=True)
    again.close()


def damage(rng: random.Random, directory: Path) -> str:
    """Do one bad thing to one file of a store."""
    files = sorted(path for path in directory.iterdir() if path.name != "LOCK" and not path.name.startswith("LOG"))
    path = rng.choice([file for file in files if file.stat().st_size])
    data = bytearray(path.read_bytes())
    kind = rng.choice(["flip", "flip", "flip", "zero tail", "grow zeros", "cut", "delete"])
    at = rng.randrange(len(data))
    if kind == "flip":
        data[at] ^= 1 << rng.randrange(8)
    elif kind == "zero tail":
        data[at:] = bytes(len(data) - at)
    elif kind == "grow zeros":
        data += bytes(rng.choice([512, 4096]))
    elif kind == "cut":
        del data[at:]
    if kind == "delete":
        path.unlink()
    else:
        path.write_bytes(data)
    return f"{kind} {path.name} at {at}"


@pytest.mark.parametrize("seeds", [range(80), pytest.param(range(80, 500), marks=pytest.mark.full)])
@pytest.mark.parametrize("compacted", [False, True])
@each_engine
def test_damaged_files_never_give_a_wrong_value(tmp_path: Path, engine: str, compacted: bool, seeds: range) -> None:
    open_store, original = opener(engine), tmp_path / "original"
    kv = open_store(tmp_path / "grown")
    allowed = [{}, *grow(kv, 12, accounts=10)]
    if compacted:
        compact(kv)
    shutil.copytree(tmp_path / "grown", original)  # as a kill leaves it: RocksDB's close empties its log
    kv.close()
    refused = 0
    for seed in seeds:
        rng = random.Random(seed)
        copy = tmp_path / "copy"
        shutil.rmtree(copy, ignore_errors=True)
        shutil.copytree(original, copy)
        what = damage(rng, copy)
        try:
            opened = open_store(copy)
        except StateStoreRefused:
            refused += 1
            continue
        try:
            head = verify_checkpoints(opened, rng, paths=50)
            held = contents(opened)
            assert held in allowed, f"seed {seed}: {what}"
            assert (head is None) == (not held)
            assert all(opened.get(key) == value for key, value in held.items()), f"seed {seed}: {what}"
        except REFUSALS:
            refused += 1
        finally:
            opened.close()
    assert refused > (0.4 if engine == "leveldb" else 0.2) * len(seeds)  # RocksDB can do without some of its files


def test_retention_keeps_the_last_blocks() -> None:
    kv = SimKv()
    state, chain_data = StateStore(kv, retention=3), ChainData(kv)
    rng = random.Random(1)
    for number in range(12):
        root = state.apply(number, StateDelta({Address(b"\x01" * 20): Account(number, 1)}))
        chain_data.add(*make_block(rng, number, chain_data.hash_of(number - 1) or Hash32(bytes(32)), root, 0))
        if number % 4 == 3:
            write_checkpoint(kv, state, chain_data, number)
    assert state.oldest == int.from_bytes(kv.items()[META_OLDEST], "big") == 8
    assert [state.view(n).account(Address(b"\x01" * 20)) for n in (8, 11)] == [Account(8, 1), Account(11, 1)]
