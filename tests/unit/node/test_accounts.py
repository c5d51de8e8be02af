"""Development accounts are those every other tool derives from the same mnemonic."""

from __future__ import annotations

import pytest
from eth_account import Account

from chain.hashing import keccak256
from node.engine.accounts import DevAccounts
from node.errors import UnknownAccount
from node.settings import DEV_MNEMONIC

OTHER = "legal winner thank year wave sausage worth useful legal winner thank yellow"


@pytest.mark.parametrize("mnemonic", [DEV_MNEMONIC, OTHER])
def test_keys_equal_those_of_eth_account(mnemonic: str) -> None:
    Account.enable_unaudited_hdwallet_features()
    accounts = DevAccounts.of_mnemonic(mnemonic, 12)
    for index, address in enumerate(accounts.addresses):
        theirs = Account.from_mnemonic(mnemonic, account_path=f"m/44'/60'/0'/0/{index}")
        assert accounts.secret(address) == bytes(theirs.key)
        assert "0x" + address.hex() == theirs.address.lower()


def test_an_unknown_account_has_no_key() -> None:
    with pytest.raises(UnknownAccount):
        DevAccounts.of_mnemonic(DEV_MNEMONIC, 1).sign(b"\x01" * 20, keccak256(b""))
