"""Damaged state stores and indexes never answer wrong, and are built again to the same chain."""

from __future__ import annotations

import random
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from storage.directory import layout
from storage.errors import StateStoreCorrupt
from tests.daemon import Daemon
from tests.durability.damage import copy_of, damage_index, damage_state, make
from tests.durability.nodes import LocalNode
from tests.engines import ENVIRONMENT, each_engine, tables
from tests.rpc import RpcFailed

SEED = 10


def repeat(tmp_path: Path, kind: str, times: int) -> None:
    sound, facts = make(tmp_path)
    damage = damage_state if kind == "state" else damage_index
    for number in range(times):
        damage(sound, facts, tmp_path / "hurt", random.Random(SEED * 1000 + number))


WAYS = pytest.mark.parametrize(("kind", "engine"), [("state", "leveldb"), ("state", "rocksdb"), ("index", "leveldb")])


@WAYS
def test_damage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str, engine: str) -> None:
    monkeypatch.setenv(ENVIRONMENT, engine)
    repeat(tmp_path, kind, 8)


@pytest.mark.full
@pytest.mark.timeout(7200)
@WAYS
def test_much_damage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str, engine: str) -> None:
    monkeypatch.setenv(ENVIRONMENT, engine)
    repeat(tmp_path, kind, 5000)


def test_damage_met_by_the_replay_is_repaired_by_the_same_start(tmp_path: Path) -> None:
    """Found by the test below: the start ended with 65, and so did every start after it."""
    sound, facts = make(tmp_path)
    chance = random.Random(SEED)
    for _ in range(200):
        directory = copy_of(sound, tmp_path / "hurt")
        flip_in_a_table(directory, chance)
        with capture_logs() as logs:
            node = LocalNode(directory)
        in_replay = any("the replay met damage" in str(line.get("error")) for line in logs)
        found = node.digest()
        node.close()
        assert found == facts
        if in_replay:
            return
    raise AssertionError("no such place found")


def flip_in_a_table(directory: Path, chance: random.Random) -> None:
    table = chance.choice(tables(directory / layout.STATE))
    content = bytearray(table.read_bytes())
    content[chance.randrange(len(content))] ^= 1
    table.write_bytes(content)


def damaged_where_only_readers_look(tmp_path: Path) -> tuple[Path, dict[str, object], int]:
    """A directory that opens, and a block of it that cannot be read."""
    sound, facts = make(tmp_path)
    chance = random.Random(SEED)
    for _ in range(200):
        directory = copy_of(sound, tmp_path / "hurt")
        flip_in_a_table(directory, chance)
        node = LocalNode(directory)
        try:
            for number in range(node.store.head.number):
                try:
                    node.store.chain.block(number)
                except StateStoreCorrupt:
                    return directory, facts, number
        finally:
            node.close()
    raise AssertionError("no such place found")


@each_engine
def test_a_reader_who_meets_damage_is_told_and_the_next_start_repairs_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, engine: str
) -> None:
    monkeypatch.setenv(ENVIRONMENT, engine)
    directory, facts, number = damaged_where_only_readers_look(tmp_path)
    blocks = facts["blocks"]
    assert isinstance(blocks, list)
    daemon = Daemon(directory)
    try:
        daemon.start()
        with pytest.raises(RpcFailed) as told:
            daemon.rpc().call("eth_getBlockByNumber", hex(number), True)
        assert told.value.data["code"] == StateStoreCorrupt.code
        daemon.kill()
        daemon.start()
        rpc = daemon.rpc()
        assert [rpc.call("eth_getBlockByNumber", hex(n), False)["hash"][2:] for n in range(len(blocks))] == blocks
        assert daemon.stop() == 0
    finally:
        daemon.close()
