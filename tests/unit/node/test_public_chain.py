"""Which chains are of the public test mnemonic: only those may be open to other machines."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from node.daemon.opening import PUBLIC_ACCOUNT, is_public, new_genesis, read_wanted_genesis
from node.engine.accounts import DevAccounts
from node.settings import DEV_MNEMONIC, NodeSettings, Settings

OTHER = "legal winner thank year wave sausage worth useful legal winner thank yellow"
FUNDED, STRANGE = "0x" + PUBLIC_ACCOUNT.hex(), "0x" + "11" * 20


def settings(**node: object) -> Settings:
    return Settings(node=NodeSettings(**node))


def public(begun: Settings, run: Settings | None = None) -> bool:
    """Whether a chain that was begun with some settings is public when it is run with others."""
    accounts = DevAccounts([])
    if begun.node.dev:
        accounts = DevAccounts.of_mnemonic(begun.node.mnemonic, begun.node.accounts)
    return is_public(run or begun, read_wanted_genesis(begun) or new_genesis(begun, accounts, 0))


def test_the_first_account_is_that_of_the_mnemonic() -> None:
    assert DevAccounts.of_mnemonic(DEV_MNEMONIC, 1).addresses == [PUBLIC_ACCOUNT]


@pytest.mark.parametrize(
    ("node", "is_it"),
    [
        ({"dev": True}, True),
        ({"dev": True, "cheats": True, "chain_id": 7, "accounts": 1}, True),
        ({"dev": True, "mnemonic": f"  {DEV_MNEMONIC.replace(' ', '  ')} "}, True),
        ({}, False),
        ({"cheats": True}, False),
        ({"dev": True, "mnemonic": OTHER}, False),
        ({"dev": True, "accounts": 0}, False),
    ],
)
def test_settings(node: dict[str, object], is_it: bool) -> None:
    assert public(settings(**node)) is is_it


@pytest.mark.parametrize(("alloc", "is_it"), [(FUNDED, True), (STRANGE, False)])
def test_a_genesis_of_the_users(tmp_path: Path, alloc: str, is_it: bool) -> None:
    file = tmp_path / "genesis.json"
    file.write_text(json.dumps({"config": {"chainId": 5}, "alloc": {alloc: {"balance": "0x1"}}}))
    assert public(settings(dev=True, genesis=str(file))) is is_it
    assert not public(settings(dev=True, genesis=str(file), mnemonic=OTHER))
    assert not public(settings(genesis=str(file)))


def test_a_directory_of_other_accounts_stays_closed() -> None:
    assert not public(settings(dev=True, mnemonic=OTHER), run=settings(dev=True))
    assert not public(settings(dev=True), run=settings(dev=True, mnemonic=OTHER))
    assert not public(settings(dev=True), run=settings())
