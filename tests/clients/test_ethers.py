"""Unmodified ethers (JavaScript) deploys OpenZeppelin's ERC-20 and uses it."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

from tests.conftest import Node
from tests.contracts import dev_account, published

SCRIPT = Path(__file__).with_name("erc20.mjs")


def test_ethers_deploys_and_uses_an_erc20(node: Node, node_modules: Path) -> None:
    used_by_ethers(node.http_url, node_modules)


def used_by_ethers(url: str, node_modules: Path) -> None:
    """Deploy and use the token, over HTTP or on a unix socket."""
    contract = published("ERC20PresetFixedSupply")
    secret = "0x" + dev_account(3).key.hex().removeprefix("0x")
    result = subprocess.run(
        ["node", str(SCRIPT), str(node_modules), url, secret],
        input=json.dumps({"abi": contract.abi, "bytecode": contract.bytecode}),
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert result.returncode == 0, result.stderr
    assert json.loads(result.stdout) == {
        "chainId": 31_337,
        "symbol": "ETH6",
        "friendHas": 40,
        "status": 1,
        "gasUsed": 51_384,
        "eventValue": 40,
        "refusal": "ERC20: transfer amount exceeds balance",
        "maxFeePerGasIsSet": True,
        "blockHashAgrees": True,
    }
