"""Static checks: each rule, at the fork that brings it and the one before."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from chain import errors
from chain.crypto import CURVE_ORDER
from chain.forks import Fork
from chain.types import Hash32
from chain.validity import FORK_OF_TYPE, check_static
from tests.unit.chain.test_transactions import BLOB, DYNAMIC_FEE, LEGACY, SET_CODE, example

GOOD_HASH = Hash32(b"\1" * 32)


@pytest.mark.parametrize("kind", range(5))
def test_types_begin_with_their_fork(kind: int) -> None:
    first = FORK_OF_TYPE[kind]
    # The example is signed for chain 1: as a legacy transaction it needs EIP-155.
    check_static(example(kind), max(first, Fork.SPURIOUS_DRAGON), 1)
    if kind:
        with pytest.raises(errors.UnsupportedTransactionType):
            check_static(example(kind), Fork(first - 1), 1)


@pytest.mark.parametrize(
    ("kind", "changes", "fork", "error"),
    [
        (LEGACY, {"chain_id": 2}, Fork.SPURIOUS_DRAGON, errors.WrongChainId),
        (LEGACY, {}, Fork.TANGERINE_WHISTLE, errors.InvalidSignature),
        (DYNAMIC_FEE, {"chain_id": 2}, Fork.OSAKA, errors.WrongChainId),
        (LEGACY, {"r": 0}, Fork.OSAKA, errors.InvalidSignature),
        (LEGACY, {"s": CURVE_ORDER}, Fork.OSAKA, errors.InvalidSignature),
        (LEGACY, {"s": CURVE_ORDER - 1}, Fork.OSAKA, errors.InvalidSignature),
        (LEGACY, {"nonce": 2**64 - 1}, Fork.OSAKA, errors.NonceOverflow),
        (LEGACY, {"gas_limit": 20_999}, Fork.OSAKA, errors.IntrinsicGasTooLow),
        (LEGACY, {"gas_limit": 2**24 + 1}, Fork.OSAKA, errors.GasLimitTooHigh),
        (LEGACY, {"max_fee_per_gas": 2**255}, Fork.OSAKA, errors.InsufficientFunds),
        (LEGACY, {"to": None, "data": bytes(49_153)}, Fork.SHANGHAI, errors.InitcodeTooLarge),
        (DYNAMIC_FEE, {"max_priority_fee_per_gas": 10**18}, Fork.LONDON, errors.PriorityFeeAboveMaxFee),
        (BLOB, {"to": None}, Fork.CANCUN, errors.InvalidBlobs),
        (BLOB, {"blob_versioned_hashes": ()}, Fork.CANCUN, errors.InvalidBlobs),
        (BLOB, {"blob_versioned_hashes": (Hash32(bytes(32)),)}, Fork.CANCUN, errors.InvalidBlobs),
        (BLOB, {"blob_versioned_hashes": (GOOD_HASH,) * 7}, Fork.OSAKA, errors.InvalidBlobs),
        (SET_CODE, {"to": None}, Fork.PRAGUE, errors.InvalidAuthorizationList),
        (SET_CODE, {"authorization_list": ()}, Fork.PRAGUE, errors.InvalidAuthorizationList),
    ],
)
def test_refusals(kind: int, changes: dict[str, Any], fork: Fork, error: type[Exception]) -> None:
    with pytest.raises(error):
        check_static(replace(example(kind), **changes), fork, 1)


@pytest.mark.parametrize(
    ("kind", "changes", "fork"),
    [
        (LEGACY, {"chain_id": None}, Fork.FRONTIER),
        (LEGACY, {"chain_id": None, "s": CURVE_ORDER - 1}, Fork.FRONTIER),
        (LEGACY, {"nonce": 2**64 - 2}, Fork.OSAKA),
        (LEGACY, {"gas_limit": 2**24}, Fork.OSAKA),
        (LEGACY, {"gas_limit": 2**24 + 1}, Fork.PRAGUE),
        (LEGACY, {"to": None, "data": bytes(49_152), "gas_limit": 10**6}, Fork.SHANGHAI),
        (LEGACY, {"to": None, "data": bytes(49_153), "gas_limit": 10**6}, Fork.PARIS),
        (BLOB, {"blob_versioned_hashes": (GOOD_HASH,) * 7}, Fork.PRAGUE),
    ],
)
def test_allowed(kind: int, changes: dict[str, Any], fork: Fork) -> None:
    check_static(replace(example(kind), **changes), fork, 1)
