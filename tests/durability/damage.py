"""Damage to the files of the derived stores, and a node over them that must never answer wrong."""

from __future__ import annotations

import random
import shutil
from pathlib import Path
from typing import Any

from storage.directory import layout
from storage.directory.notes import suspect
from storage.errors import StateStoreCorrupt
from storage.io.files import RealFs
from tests.durability.nodes import LocalNode

BLOCKS = 24


def make(place: Path) -> tuple[Path, dict[str, Any]]:
    """A data directory with several checkpoints and an index, and what its node says."""
    node = LocalNode(place / "sound")
    for _ in range(4):
        node.grow(BLOCKS // 4)
        node.checkpoint()
        node.store.index_new_blocks()
    node.grow(2)
    node.store.follower._index.make_durable()
    facts = node.digest()
    node.close()
    again = LocalNode(place / "sound")  # so that the state store has a table as well as a log
    again.close()
    return place / "sound", facts


def copy_of(sound: Path, target: Path) -> Path:
    """Another directory with the same chain; compiled code is shared by nobody, it is cheap here."""
    shutil.rmtree(target, ignore_errors=True)
    shutil.copytree(sound, target, ignore=shutil.ignore_patterns("cache"))
    return target


def hurt(path: Path, chance: random.Random) -> str:
    """Damage one file in a random way; says how."""
    content = bytearray(path.read_bytes())
    kind = chance.choice(("flip", "zero tail", "garbage tail", "cut", "delete"))
    at = chance.randrange(len(content)) if content else 0
    if kind == "flip" and content:
        content[at] ^= 1 << chance.randrange(8)
    elif kind == "zero tail":
        content[at:] = bytes(len(content) - at)
    elif kind == "garbage tail":
        content[at:] = chance.randbytes(len(content) - at)
    elif kind == "cut":
        del content[at:]
    if kind == "delete":
        path.unlink()
    else:
        path.write_bytes(content)
    return f"{kind} of {path.name} at {at}"


def survives(directory: Path, facts: dict[str, Any], what: str) -> str:
    """Start over the damage: the same chain, the same lookups, and it goes on, also after the next start.

    Damage that the checks of the start did not meet may be met by a reader, who is told nothing but the error; the
    daemon marks the store, and its next start builds it again. Returns when the damage was met.
    """
    try:
        met = "at the start, or harmless"
        try:
            after = _live(directory, facts)
        except StateStoreCorrupt as damage:
            met = "by a reader"
            suspect(RealFs(directory), str(damage))
            after = _live(directory, facts)
        again = LocalNode(directory)
        assert again.digest() == after
        again.close()
    except Exception as error:
        error.add_note(what)
        raise
    return met


def _live(directory: Path, facts: dict[str, Any]) -> dict[str, Any]:
    node = LocalNode(directory)
    try:
        assert node.digest() == facts, "another chain"
        _look_up(node)
        node.store.index_new_blocks()
        _look_up(node)
        node.grow(1)
        node.checkpoint()
        return node.digest()
    finally:
        node.close()


def _look_up(node: LocalNode) -> None:
    """Each transaction is where it is."""
    for number in range(1, node.store.head.number + 1):
        block = node.store.chain.block(number)
        assert block is not None
        for index, transaction in enumerate(block.transactions):
            assert node.store.transaction_place(transaction.hash) == (number, index), f"block {number}"


def damage_state(sound: Path, facts: dict[str, Any], place: Path, chance: random.Random) -> str:
    """Damage one file of the state store. Returns when the damage was met."""
    directory = copy_of(sound, place)
    files = sorted(path for path in (directory / layout.STATE).iterdir() if path.is_file() and path.name != "LOCK")
    return survives(directory, facts, hurt(chance.choice(files), chance))


def damage_index(sound: Path, facts: dict[str, Any], place: Path, chance: random.Random) -> str:
    """Damage one file of SQLite. Returns when the damage was met."""
    directory = copy_of(sound, place)
    files = sorted(directory.glob("index.sqlite*"))
    return survives(directory, facts, hurt(chance.choice(files), chance))
