"""Development accounts are those every other tool derives from the same mnemonic."""

from __future__ import annotations

import pytest
from eth_account import Account
from eth_account.types import Language

from chain.hashing import keccak256
from node.api.errors import UnknownAccount
from node.engine.accounts import DevAccounts
from node.engine.mnemonic import fault_of
from node.settings import DEV_MNEMONIC

Account.enable_unaudited_hdwallet_features()

OTHER = "legal winner thank year wave sausage worth useful legal winner thank yellow"


@pytest.mark.parametrize("mnemonic", [DEV_MNEMONIC, OTHER, f" {OTHER}\n".replace("year", " year")])
def test_keys_equal_those_of_eth_account(mnemonic: str) -> None:
    accounts = DevAccounts.of_mnemonic(mnemonic, 12)
    for index, address in enumerate(accounts.addresses):
        theirs = Account.from_mnemonic(" ".join(mnemonic.split()), account_path=f"m/44'/60'/0'/0/{index}")
        assert accounts.secret(address) == bytes(theirs.key)
        assert "0x" + address.hex() == theirs.address.lower()


def test_an_unknown_account_has_no_key() -> None:
    with pytest.raises(UnknownAccount):
        DevAccounts.of_mnemonic(DEV_MNEMONIC, 1).sign(b"\x01" * 20, keccak256(b""))


@pytest.mark.parametrize("language", ["english", "french", "japanese", "korean"])
@pytest.mark.parametrize("words", [12, 24])
def test_a_mnemonic_of_any_language_is_one(language: str, words: int) -> None:
    _, mnemonic = Account.create_with_mnemonic(num_words=words, language=Language(language))
    assert fault_of(mnemonic) == ""


@pytest.mark.parametrize(
    ("mnemonic", "fault"),
    [
        ("", "0 words"),
        ("test test test", "3 words"),
        (DEV_MNEMONIC.replace("junk", "jnuk"), "word 12 is in no list of BIP-39; did you mean 'junk'?"),
        (DEV_MNEMONIC.replace("junk", "test"), "checksum"),
    ],
)
def test_what_is_wrong_with_a_mnemonic_is_said(mnemonic: str, fault: str) -> None:
    assert fault in fault_of(mnemonic)
