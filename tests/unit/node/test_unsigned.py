"""Which transaction the fields of a user mean, to send and to call: type and fees, field by field."""

from __future__ import annotations

import pytest

from chain.transactions import ACCESS_LIST, BLOB, DYNAMIC_FEE, LEGACY, SET_CODE, Authorization, Transaction
from chain.types import Address, Hash32
from node.api.types import PRIORITY_FEE_WEI, CallFields
from node.engine.unsigned import to_call, to_send

ADDRESS = Address(b"\xaa" * 20)
LIST = ((ADDRESS, (1,)),)
BLOBS = (Hash32(b"\x01" * 32),)
AUTHORIZATIONS = (Authorization(1, ADDRESS, 0, 0, 0, 0),)
BASE_FEE, TIP = 10, PRIORITY_FEE_WEI


def sent(**fields) -> Transaction:
    return to_send(CallFields(**fields), chain_id=7, nonce=3, gas=21_000, base_fee=BASE_FEE)


def called(**fields) -> Transaction:
    return to_call(CallFields(**fields), nonce=3, gas=21_000)


@pytest.mark.parametrize(
    ("fields", "to_send_it", "to_call_it"),
    [
        ({}, DYNAMIC_FEE, LEGACY),
        ({"access_list": LIST}, DYNAMIC_FEE, ACCESS_LIST),
        ({"access_list": ()}, DYNAMIC_FEE, LEGACY),
        ({"gas_price": 5}, LEGACY, LEGACY),
        ({"gas_price": 5, "access_list": LIST}, ACCESS_LIST, ACCESS_LIST),
        ({"gas_price": 5, "access_list": ()}, ACCESS_LIST, LEGACY),
        ({"max_fee_per_gas": 5}, DYNAMIC_FEE, DYNAMIC_FEE),
        ({"max_priority_fee_per_gas": 5}, DYNAMIC_FEE, LEGACY),
        ({"blob_versioned_hashes": BLOBS}, BLOB, BLOB),
        ({"blob_versioned_hashes": BLOBS, "gas_price": 5}, BLOB, BLOB),
        ({"authorization_list": AUTHORIZATIONS}, SET_CODE, SET_CODE),
        ({"authorization_list": (), "blob_versioned_hashes": ()}, DYNAMIC_FEE, LEGACY),
    ],
)
def test_the_type_that_fields_imply(fields, to_send_it: int, to_call_it: int) -> None:
    assert (sent(**fields).type, called(**fields).type) == (to_send_it, to_call_it)


@pytest.mark.parametrize("kind", [LEGACY, ACCESS_LIST, DYNAMIC_FEE])
def test_a_type_that_is_named_is_sent(kind: int) -> None:
    assert sent(type=kind, access_list=LIST).type == kind


def fees(transaction: Transaction) -> tuple[int, int, int]:
    return transaction.gas_price, transaction.max_fee_per_gas, transaction.max_priority_fee_per_gas


@pytest.mark.parametrize(
    ("fields", "wanted"),
    [
        ({}, (0, 2 * BASE_FEE + TIP, TIP)),
        ({"max_priority_fee_per_gas": 4}, (0, 2 * BASE_FEE + 4, 4)),
        ({"max_fee_per_gas": 6}, (0, 6, 6)),
        ({"max_fee_per_gas": 6, "max_priority_fee_per_gas": 4}, (0, 6, 4)),
        ({"gas_price": 9}, (9, 9, 9)),
        ({"gas_price": 0}, (0, 0, 0)),
        ({"type": LEGACY}, (BASE_FEE + TIP, BASE_FEE + TIP, BASE_FEE + TIP)),
    ],
)
def test_fees_left_out_are_those_of_the_next_block(fields, wanted: tuple[int, int, int]) -> None:
    assert fees(sent(**fields)) == wanted


@pytest.mark.parametrize(
    ("fields", "wanted"),
    [
        ({}, (0, 0, 0)),
        ({"max_priority_fee_per_gas": 4}, (0, 0, 0)),
        ({"max_fee_per_gas": 6}, (0, 6, 0)),
        ({"max_fee_per_gas": 6, "max_priority_fee_per_gas": 9}, (0, 6, 6)),
        ({"gas_price": 9}, (9, 9, 9)),
    ],
)
def test_a_call_costs_nothing_unless_a_fee_is_given(fields, wanted: tuple[int, int, int]) -> None:
    assert fees(called(**fields)) == wanted


def test_every_other_field_is_copied() -> None:
    fields = CallFields(None, ADDRESS, b"\x01", 5, 6, max_fee_per_blob_gas=8, access_list=LIST)
    fields.blob_versioned_hashes, fields.authorization_list = BLOBS, AUTHORIZATIONS
    for transaction, chain_id in ((to_send(fields, 7, 3, 21_000, BASE_FEE), 7), (to_call(fields, 3, 21_000), None)):
        assert (transaction.chain_id, transaction.nonce, transaction.gas_limit) == (chain_id, 3, 21_000)
        assert (transaction.to, transaction.value, transaction.data) == (ADDRESS, 5, b"\x01")
        assert (transaction.access_list, transaction.max_fee_per_blob_gas) == (LIST, 8)
        assert (transaction.blob_versioned_hashes, transaction.authorization_list) == (BLOBS, AUTHORIZATIONS)
