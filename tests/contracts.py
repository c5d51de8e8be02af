"""Published contracts (creation bytecode and ABI as in their npm packages) and the development accounts."""

from __future__ import annotations

import json
from functools import cache
from typing import Any, NamedTuple

from eth_account import Account
from eth_account.signers.local import LocalAccount

from tests.paths import WORKLOADS

DEV_MNEMONIC = "test test test test test test test test test test test junk"


class Contract(NamedTuple):
    """What one needs to deploy and to talk to a contract."""

    abi: list[dict[str, Any]]
    bytecode: str


@cache
def published(name: str) -> Contract:
    """A contract of ``workloads/contracts/published.json``."""
    entries = json.loads((WORKLOADS / "contracts" / "published.json").read_text())
    return Contract(entries[name]["abi"], "0x" + entries[name]["bytecode"].removeprefix("0x"))


@cache
def dev_account(index: int) -> LocalAccount:
    """Account ``index`` of the development mnemonic, funded at genesis by ``--dev``."""
    Account.enable_unaudited_hdwallet_features()
    return Account.from_mnemonic(DEV_MNEMONIC, account_path=f"m/44'/60'/0'/0/{index}")  # type: ignore[no-any-return]
