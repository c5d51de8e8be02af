"""Refusals say what libraries look for: ethers, viem and web3.py recognise them by words, not by codes."""

from __future__ import annotations

import re

import pytest
from eth_account import Account

from chain import errors
from tests.clients.test_bad_input import SECRET, transaction
from tests.conftest import Node
from tests.contracts import dev_account
from tests.rpc import RpcFailed

LIBRARIES = {
    errors.InsufficientFunds: r"insufficient funds",
    errors.NonceTooLow: r"nonce.*too low|nonce too low",
    errors.NonceTooHigh: r"nonce too high",
    errors.NonceOverflow: r"nonce has max value",
    errors.UnderpricedReplacement: r"replacement transaction.*underpriced",
    errors.IntrinsicGasTooLow: r"intrinsic gas too low",
    errors.GasLimitTooHigh: r"intrinsic gas too high|gas limit reached",
    errors.FeeTooLow: r"max fee per gas less than block base fee|fee cap less than block base fee",
    errors.PriorityFeeAboveMaxFee: r"max priority fee per gas higher than max fee per gas|tip higher than fee cap",
}
"""The expressions of ethers 6 (provider-jsonrpc.ts) and viem 2 (errors/node.ts)."""


@pytest.mark.parametrize("kind", LIBRARIES)
def test_a_refusal_begins_with_the_words_of_geth(kind: type[errors.InvalidTransaction]) -> None:
    assert re.match(LIBRARIES[kind], str(kind("details follow")))
    assert str(kind("details follow")).endswith(": details follow")


def test_the_words_arrive(node: Node) -> None:
    rpc = node.rpc()
    rpc.call("eth_sendTransaction", {"from": dev_account(9).address, "to": dev_account(8).address, "value": "0x1"})
    with pytest.raises(RpcFailed, match="nonce too low"):
        rpc.call("eth_sendTransaction", {"from": dev_account(9).address, "to": dev_account(8).address, "nonce": "0x0"})
    poor = Account.from_key(bytes(31) + b"\x99")
    with pytest.raises(RpcFailed, match="insufficient funds"):
        rpc.call("eth_estimateGas", {"from": poor.address, "to": poor.address, "gasPrice": "0x3b9aca00"})
    with pytest.raises(RpcFailed, match="intrinsic gas too low"):
        rpc.call("eth_sendRawTransaction", "0x" + transaction(gas_limit=20_999).hex())
    assert len(SECRET) == 32


def test_an_estimate_asks_no_more_than_the_sender_can_pay(node: Node) -> None:
    """A sender who can pay for a transfer but not for 30 million gas got "insufficient funds"."""
    fields = {"from": "0x" + "5a" * 20, "to": "0x" + "5b" * 20, "value": "0x1"}
    balance = {fields["from"]: {"balance": hex(21_000 * 10**12 + 1)}}
    rpc = node.rpc()
    for price in ({"gasPrice": hex(10**12)}, {"maxFeePerGas": hex(10**12)}):
        assert rpc.call("eth_estimateGas", {**fields, **price}, "latest", balance) == "0x5208"
        with pytest.raises(RpcFailed, match="insufficient funds"):
            rpc.call("eth_estimateGas", {**fields, **price, "value": "0x2"}, "latest", balance)
