"""Unmodified web3.py deploys OpenZeppelin's ERC-20 and uses it."""

from __future__ import annotations

from typing import Any

import pytest
from eth_account.signers.local import LocalAccount
from web3 import Web3
from web3.exceptions import ContractLogicError, TransactionNotFound, Web3RPCError
from web3.middleware import SignAndSendRawMiddlewareBuilder

from tests.conftest import Node
from tests.contracts import dev_account, published

SUPPLY = 10**24
FRIEND = Web3.to_checksum_address("0x" + "f1" * 20)


@pytest.fixture
def owner() -> LocalAccount:
    return dev_account(0)


@pytest.fixture
def web3(node: Node, owner: LocalAccount) -> Any:
    """web3.py as its documentation sets it up to sign locally."""
    made: Any = Web3(Web3.HTTPProvider(node.http_url))
    made.middleware_onion.inject(SignAndSendRawMiddlewareBuilder.build(owner), layer=0)
    made.eth.default_account = owner.address
    return made


def deploy(web3: Any, name: str, *arguments: object, gas: int | None = None) -> Any:
    """Deploy a published contract and return web3.py's contract object."""
    contract = published(name)
    factory: Any = web3.eth.contract(abi=contract.abi, bytecode=contract.bytecode)
    options: dict[str, object] = {} if gas is None else {"gas": gas}
    receipt = web3.eth.wait_for_transaction_receipt(factory.constructor(*arguments).transact(options))
    assert receipt["status"] == 1
    assert receipt["contractAddress"] is not None
    return web3.eth.contract(address=receipt["contractAddress"], abi=contract.abi)


def test_the_node_introduces_itself(web3: Any) -> None:
    assert web3.is_connected()
    assert web3.eth.chain_id == 31_337
    assert web3.net.version == "31337"
    assert web3.client_version
    assert web3.eth.get_block("latest")["baseFeePerGas"] > 0


def test_deploy_and_use_an_erc20(web3: Any, owner: LocalAccount) -> None:
    token = deploy(web3, "ERC20PresetFixedSupply", "Token", "TKN", SUPPLY, owner.address)
    assert token.functions.name().call() == "Token"
    assert token.functions.totalSupply().call() == SUPPLY

    receipt = web3.eth.wait_for_transaction_receipt(token.functions.transfer(FRIEND, 1_000).transact())
    assert receipt["gasUsed"] == 51_396
    (event,) = token.events.Transfer().process_receipt(receipt)
    assert event["args"] == {"from": owner.address, "to": FRIEND, "value": 1_000}

    assert token.functions.balanceOf(FRIEND).call() == 1_000
    assert token.functions.balanceOf(owner.address).call() == SUPPLY - 1_000
    before = receipt["blockNumber"] - 1
    assert token.functions.balanceOf(FRIEND).call(block_identifier=before) == 0
    (logged,) = token.events.Transfer().get_logs(
        from_block=receipt["blockNumber"], argument_filters={"to": FRIEND}
    )
    assert logged["transactionHash"] == receipt["transactionHash"]


def test_transactions_receipts_and_blocks_agree(web3: Any, owner: LocalAccount) -> None:
    hash_ = web3.eth.send_transaction({"to": FRIEND, "value": 7})
    receipt = web3.eth.wait_for_transaction_receipt(hash_)
    assert receipt["gasUsed"] == 21_000
    transaction = web3.eth.get_transaction(hash_)
    assert transaction["from"] == owner.address
    assert transaction["value"] == 7
    block = web3.eth.get_block(receipt["blockNumber"], full_transactions=True)
    assert block["hash"] == receipt["blockHash"]
    assert block["transactions"][receipt["transactionIndex"]]["hash"] == hash_
    assert web3.eth.get_block(block["hash"])["number"] == block["number"]


def test_a_call_that_reverts_tells_why(web3: Any, owner: LocalAccount) -> None:
    token = deploy(web3, "ERC20PresetFixedSupply", "Token", "TKN", 5, owner.address)
    with pytest.raises(ContractLogicError, match="transfer amount exceeds balance"):
        token.functions.transfer(FRIEND, 6).call()
    with pytest.raises(ContractLogicError, match="transfer amount exceeds balance"):
        token.functions.transfer(FRIEND, 6).estimate_gas()
    receipt = web3.eth.wait_for_transaction_receipt(
        token.functions.transfer(FRIEND, 6).transact({"gas": 100_000})
    )
    assert receipt["status"] == 0
    assert receipt["logs"] == []


def test_what_does_not_exist_is_said_to_be_missing(web3: Any) -> None:
    with pytest.raises(TransactionNotFound):
        web3.eth.get_transaction_receipt(b"\x01" * 32)
    assert web3.eth.get_code(Web3.to_checksum_address("0x" + "f4" * 20)) == b""


def test_a_used_nonce_is_refused(web3: Any, owner: LocalAccount) -> None:
    nonce = web3.eth.get_transaction_count(owner.address)
    transaction: dict[str, Any] = {
        "to": FRIEND, "value": 1, "nonce": nonce, "gas": 21_000, "chainId": 31_337,
        "maxFeePerGas": 10**11, "maxPriorityFeePerGas": 10**9,
    }  # fmt: skip
    raw = owner.sign_transaction(transaction).raw_transaction
    web3.eth.wait_for_transaction_receipt(web3.eth.send_raw_transaction(raw))
    other = owner.sign_transaction({**transaction, "value": 2}).raw_transaction
    with pytest.raises(Web3RPCError, match="nonce"):
        web3.eth.send_raw_transaction(other)
    assert web3.eth.get_transaction_count(owner.address) == nonce + 1
