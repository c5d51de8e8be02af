"""Foundry's ``cast``, unmodified: create, call, send, logs."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from typing import Any

import pytest
from eth_abi.abi import encode

from tests.conftest import Node
from tests.contracts import dev_account, published

Cast = Callable[..., str]


@pytest.fixture
def run_cast(cast: str, node: Node) -> Cast:
    """Run cast against the node; its standard output."""

    def run(subcommand: str, *arguments: str) -> str:
        command = [cast, subcommand, "--rpc-url", node.http_url, *arguments]
        result = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
        assert result.returncode == 0, result.stderr
        return result.stdout.strip()

    return run


def secret() -> str:
    """The private key cast signs with."""
    return "0x" + dev_account(2).key.hex().removeprefix("0x")


def test_cast_deploys_calls_and_sends(run_cast: Cast) -> None:
    owner = dev_account(2).address
    constructor = encode(["string", "string", "uint256", "address"], ["Cast", "CST", 10**21, owner]).hex()
    bytecode = published("ERC20PresetFixedSupply").bytecode + constructor
    created: dict[str, Any] = json.loads(
        run_cast("send", "--json", "--private-key", secret(), "--create", bytecode)
    )
    assert created["status"] == "0x1"
    token = created["contractAddress"]

    assert run_cast("call", token, "symbol()(string)") == '"CST"'
    friend = "0x" + "ca" * 20
    sent = json.loads(
        run_cast(
            "send", "--json", "--private-key", secret(), token, "transfer(address,uint256)", friend, "12345"
        )
    )
    assert sent["status"] == "0x1"
    assert run_cast("call", token, "balanceOf(address)(uint256)", friend).split()[0] == "12345"
    receipt = json.loads(run_cast("receipt", "--json", sent["transactionHash"]))
    assert receipt["blockHash"] == sent["blockHash"]
    logs = json.loads(
        run_cast(
            "logs",
            "--json",
            "--from-block",
            sent["blockNumber"],
            "--address",
            token,
            "Transfer(address,address,uint256)",
        )
    )
    assert [log["transactionHash"] for log in logs] == [sent["transactionHash"]]


def test_cast_reads_the_chain(run_cast: Cast) -> None:
    owner = dev_account(2).address
    assert run_cast("chain-id") == "31337"
    number = int(run_cast("block-number"))
    block = json.loads(run_cast("block", "--json", str(number)))
    assert int(block["number"], 16) == number
    assert int(run_cast("balance", owner)) > 0
    assert int(run_cast("nonce", owner)) >= 0
    assert int(run_cast("gas-price")) > 0
    assert run_cast("code", "0x" + "cb" * 20) == "0x"
