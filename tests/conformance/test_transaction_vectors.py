"""TransactionTests, and the signed transactions inside the state tests of execution-spec-tests."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from chain import errors
from chain.fees import floor_gas, intrinsic_gas
from chain.forks import Fork
from chain.transactions import decode_transaction, encode_transaction, recover_sender
from chain.types import Address
from chain.validity import check_static
from tests.conformance.archives import FORK_OF_NETWORK, cases, unhex

TRANSACTION_TESTS = [
    (name, case)
    for archive, match in (("ethtests-v14.1-small", "TransactionTests/"), ("eest-transaction", ""))
    for _, name, case in cases(archive, match)
]

ERROR_OF_EXCEPTION: dict[str, type[errors.InvalidTransaction]] = {
    "GAS_LIMIT_EXCEEDS_MAXIMUM": errors.GasLimitTooHigh,
    "INITCODE_SIZE_EXCEEDED": errors.InitcodeTooLarge,
    "INTRINSIC_GAS_BELOW_FLOOR_GAS_COST": errors.IntrinsicGasTooLow,
    "INTRINSIC_GAS_TOO_LOW": errors.IntrinsicGasTooLow,
    "NONCE_IS_MAX": errors.NonceOverflow,
    "PRIORITY_GREATER_THAN_MAX_FEE_PER_GAS": errors.PriorityFeeAboveMaxFee,
    "TYPE_1_TX_PRE_FORK": errors.UnsupportedTransactionType,
    "TYPE_2_TX_PRE_FORK": errors.UnsupportedTransactionType,
    "TYPE_3_TX_PRE_FORK": errors.UnsupportedTransactionType,
    "TYPE_3_TX_BLOB_COUNT_EXCEEDED": errors.InvalidBlobs,
    "TYPE_3_TX_CONTRACT_CREATION": errors.InvalidBlobs,
    "TYPE_3_TX_INVALID_BLOB_VERSIONED_HASH": errors.InvalidBlobs,
    "TYPE_3_TX_ZERO_BLOBS": errors.InvalidBlobs,
    "TYPE_4_EMPTY_AUTHORIZATION_LIST": errors.InvalidAuthorizationList,
    "TYPE_4_INVALID_AUTHORIZATION_FORMAT": errors.InvalidAuthorizationList,
    "TYPE_4_INVALID_AUTHORITY_SIGNATURE": errors.InvalidAuthorizationList,
    "TYPE_4_TX_CONTRACT_CREATION": errors.InvalidAuthorizationList,
    "TYPE_4_TX_PRE_FORK": errors.UnsupportedTransactionType,
}
"""Exceptions that can be told without a state. Those of malformed bytes are not told apart by class."""

NEEDS_STATE_OR_BLOCK = {
    "GAS_ALLOWANCE_EXCEEDED",
    "INSUFFICIENT_ACCOUNT_FUNDS",
    "INSUFFICIENT_MAX_FEE_PER_BLOB_GAS",
    "INSUFFICIENT_MAX_FEE_PER_GAS",
    "NONCE_MISMATCH_TOO_HIGH",
    "NONCE_MISMATCH_TOO_LOW",
    "SENDER_NOT_EOA",
    "TYPE_3_TX_MAX_BLOB_GAS_ALLOWANCE_EXCEEDED",
}


def expected_errors(exception: str) -> tuple[type[errors.InvalidTransaction], ...]:
    names = [name.removeprefix("TransactionException.") for name in exception.split("|")]
    return tuple(ERROR_OF_EXCEPTION.get(name, errors.InvalidTransaction) for name in names)


def admit(raw: bytes, fork: Fork, chain_id: int) -> tuple[Any, Address]:
    tx = decode_transaction(raw)
    check_static(tx, fork, chain_id)
    return tx, recover_sender(tx, allow_high_s=fork < Fork.HOMESTEAD)


@pytest.mark.parametrize(
    "case", [case for _, case in TRANSACTION_TESTS], ids=[name for name, _ in TRANSACTION_TESTS]
)
def test_transaction(case: dict[str, Any]) -> None:
    raw = unhex(case["txbytes"])
    for network, result in case["result"].items():
        fork = FORK_OF_NETWORK[network]
        if "exception" in result:
            with pytest.raises(expected_errors(result["exception"])):
                admit(raw, fork, 1)
            continue
        tx, sender = admit(raw, fork, 1)
        assert tx.hash == unhex(result["hash"]), network
        assert sender == unhex(result["sender"]), network
        needed = max(intrinsic_gas(tx, fork), floor_gas(tx, fork))
        assert needed == int(result["intrinsicGas"], 16), network
        assert encode_transaction(replace(tx)) == raw


@pytest.mark.parametrize(
    "network", ["Osaka", "Prague", "Cancun", "Shanghai", "Paris", "London", "Berlin", "Istanbul", "Frontier"]
)
def test_transactions_of_state_tests(network: str) -> None:
    count = 0
    for _, name, case in cases(f"eest-v5.4.0-state-{network}"):
        fork = FORK_OF_NETWORK[network]
        chain_id = int(case["config"]["chainid"], 16)
        for post in case["post"][network]:
            raw = unhex(post["txbytes"])
            exception = post.get("expectException")
            count += 1
            if exception and not any(part in exception for part in NEEDS_STATE_OR_BLOCK):
                with pytest.raises(expected_errors(exception)):
                    admit(raw, fork, chain_id)
                continue
            tx = decode_transaction(raw)
            assert encode_transaction(replace(tx)) == raw, name
            sender = recover_sender(tx, allow_high_s=fork < Fork.HOMESTEAD)
            assert sender == unhex(case["transaction"]["sender"]), name
            if not exception:
                check_static(tx, fork, chain_id)
    assert count > 20


def test_there_are_vectors() -> None:
    assert len(TRANSACTION_TESTS) > 70
