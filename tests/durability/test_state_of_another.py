"""A state store that belongs to another chain, or to a copy of this one that went on by itself, is made again."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest

from chain.types import Address
from node.daemon.opening import new_genesis
from node.engine.accounts import DevAccounts
from storage.directory import layout
from storage.directory.identity import open_genesis
from storage.directory.stamp import take_directory
from storage.errors import WalShort
from storage.io.files import RealFs
from tests.durability.damage import copy_of
from tests.durability.nodes import START, LocalNode, settings_of


def grown(directory: Path, blocks: int, wei: int) -> dict[str, Any]:
    """What the node in a directory says after so many more blocks and a checkpoint."""
    node = LocalNode(directory)
    for _ in range(blocks):
        node.send(node.transfer(0, Address(b"\x09" * 20), wei))
    node.checkpoint()
    facts = node.digest()
    node.close()
    return facts


def holds_after(ours: Path, state_of: Path, facts: dict[str, Any]) -> None:
    shutil.rmtree(ours / layout.STATE)
    shutil.copytree(state_of / layout.STATE, ours / layout.STATE)
    for _ in range(2):
        node = LocalNode(ours)
        assert node.digest() == facts
        node.close()
    assert len(list((ours / layout.QUARANTINE).glob("state-*"))) == 1


@pytest.mark.parametrize("theirs", [1, 3, 4, 5])
def test_the_state_of_a_copy_that_went_on(tmp_path: Path, theirs: int) -> None:
    """As long as the log, it was served as it was; shorter, the log was called damaged."""
    grown(tmp_path / "ours", 2, 1)
    copy_of(tmp_path / "ours", tmp_path / "copy")
    facts = grown(tmp_path / "ours", 4, 1)
    grown(tmp_path / "copy", theirs, 2)
    if theirs > 4:  # it knows records that our log has not: nobody can tell whose fault that is
        with pytest.raises(WalShort):
            holds_after(tmp_path / "ours", tmp_path / "copy", facts)
    else:
        holds_after(tmp_path / "ours", tmp_path / "copy", facts)


@pytest.mark.parametrize("blocks", [1, 9])
def test_the_state_of_another_chain(tmp_path: Path, blocks: int) -> None:
    """The log was called too short."""
    facts = grown(tmp_path / "ours", 4, 1)
    fs = RealFs(tmp_path / "theirs")
    take_directory(fs, "0.1.0").release()
    wanted = settings_of(fs.root)
    accounts = DevAccounts.of_mnemonic(wanted.node.mnemonic, wanted.node.accounts)
    open_genesis(fs, lambda _: new_genesis(wanted, accounts, START - 99))
    node = LocalNode(fs.root)
    node.grow(blocks)
    node.checkpoint()
    node.close()
    holds_after(tmp_path / "ours", tmp_path / "theirs", facts)
