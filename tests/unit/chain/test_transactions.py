"""Transactions: wire form, signatures, the sender, against eth-account."""

from __future__ import annotations

from dataclasses import replace

import pytest
from eth_account import Account as EthAccount
from hypothesis import given, settings
from hypothesis import strategies as st

from chain import rlp
from chain.crypto import CURVE_ORDER, address_of_secret, sign
from chain.errors import (
    InvalidAuthorizationList,
    InvalidSignature,
    InvalidTransaction,
    MalformedTransaction,
)
from chain.hashing import keccak256
from chain.transactions import (
    ACCESS_LIST,
    BLOB,
    DYNAMIC_FEE,
    LEGACY,
    SET_CODE,
    Authorization,
    Transaction,
    decode_transaction,
    effective_gas_price,
    encode_transaction,
    recover_sender,
    sign_transaction,
    signing_hash,
)
from chain.types import Address, Hash32
from tests.unit.chain.strategies import secrets, transactions

SECRET = bytes(31) + b"\x07"
TO = Address(b"\xaa" * 20)


def example(kind: int) -> Transaction:
    priced = kind <= ACCESS_LIST
    tx = Transaction(
        kind,
        1,
        3,
        7 * 10**9 if priced else 0,
        7 * 10**9,
        7 * 10**9 if priced else 9 * 10**9,
        100_000,
        TO,
        5,
        b"\0\1\2",
        ((TO, (1, 2**255)),) if kind != LEGACY else (),
        11 if kind == BLOB else 0,
        (Hash32(b"\1" * 32),) if kind == BLOB else (),
        (authorization(),) if kind == SET_CODE else (),
    )
    return sign_transaction(tx, SECRET)


def authorization(secret: bytes = SECRET) -> Authorization:
    unsigned = Authorization(1, TO, 0, 0, 0, 0)
    y_parity, r, s = sign(unsigned.signing_hash(), secret)
    return replace(unsigned, y_parity=y_parity, r=r, s=s)


def as_eth_account(tx: Transaction) -> dict[str, object]:
    """The transaction in the words of eth-account."""
    words: dict[str, object] = {
        "nonce": tx.nonce,
        "gas": tx.gas_limit,
        "value": tx.value,
        "data": tx.data,
        "chainId": tx.chain_id,
        "to": "" if tx.to is None else tx.to,
    }
    if tx.type <= ACCESS_LIST:
        words["gasPrice"] = tx.gas_price
    else:
        words |= {"maxFeePerGas": tx.max_fee_per_gas, "maxPriorityFeePerGas": tx.max_priority_fee_per_gas}
    if tx.type != LEGACY:
        words["type"] = tx.type
        words["accessList"] = [
            {"address": "0x" + a.hex(), "storageKeys": [f"0x{slot:064x}" for slot in slots]}
            for a, slots in tx.access_list
        ]
    return words


@settings(deadline=None, max_examples=60)
@given(transactions(), secrets)
def test_round_trip_sign_and_recover(unsigned: Transaction, secret: bytes) -> None:
    tx = sign_transaction(unsigned, secret)
    raw = encode_transaction(tx)
    decoded = decode_transaction(raw)
    assert decoded == tx
    assert encode_transaction(replace(decoded)) == raw
    assert decoded.hash == tx.hash == keccak256(raw)
    assert signing_hash(decoded) == signing_hash(unsigned) == signing_hash(tx)
    assert recover_sender(decoded) == address_of_secret(secret)


@settings(deadline=None, max_examples=40)
@given(transactions().filter(lambda tx: tx.type <= DYNAMIC_FEE and tx.chain_id), secrets)
def test_eth_account_signs_the_same_bytes(unsigned: Transaction, secret: bytes) -> None:
    signed = EthAccount.sign_transaction(as_eth_account(unsigned), secret)
    tx = sign_transaction(unsigned, secret)
    assert bytes(signed.raw_transaction) == encode_transaction(tx)
    assert bytes(signed.hash) == tx.hash
    assert signed.v == tx.v


@settings(deadline=None)
@given(st.sampled_from(range(5)), st.data())
def test_damaged_bytes_are_refused_or_canonical(kind: int, data: st.DataObject) -> None:
    raw = bytearray(encode_transaction(example(kind)))
    position = data.draw(st.integers(0, len(raw) - 1))
    raw[position] = data.draw(st.integers(0, 255))
    try:
        tx = decode_transaction(bytes(raw))
    except InvalidTransaction:
        return
    assert encode_transaction(replace(tx)) == bytes(raw)


@pytest.mark.parametrize("kind", range(5))
def test_every_field_refuses_the_wrong_shape(kind: int) -> None:
    raw = encode_transaction(example(kind))
    prefix = raw[:1] if kind else b""
    fields = rlp.decode_list(raw[len(prefix) :])
    for index in range(len(fields)):
        for bad in ([[b"\1"]], [b"\1"], b"\0", b"\1" * 33, b"\0" * 21):
            if (
                isinstance(fields[index], bytes)
                and bad in (b"\0", b"\1" * 33, b"\0" * 21)
                and index == data_field(kind)
            ):
                continue
            damaged = [*fields[:index], bad, *fields[index + 1 :]]
            with pytest.raises(InvalidTransaction):
                decode_transaction(prefix + rlp.encode(damaged))
    for shape in (fields[:-1], [*fields, b""]):
        with pytest.raises(MalformedTransaction):
            decode_transaction(prefix + rlp.encode(shape))


def data_field(kind: int) -> int:
    return (5, 6, 7, 7, 7)[kind]


@pytest.mark.parametrize("raw", [b"", b"\0", b"\5\xc0", b"\x7f", b"\x80", b"\xbf", b"\xc0", b"\2", b"\2\x80"])
def test_not_transactions(raw: bytes) -> None:
    with pytest.raises(MalformedTransaction):
        decode_transaction(raw)


@pytest.mark.parametrize("v", [0, 1, 26, 29, 34])
def test_legacy_v(v: int) -> None:
    fields = rlp.decode_list(encode_transaction(example(LEGACY)))
    fields[6] = rlp.encode_int(v)
    with pytest.raises(InvalidSignature):
        decode_transaction(rlp.encode(fields))


def test_typed_y_parity() -> None:
    fields = rlp.decode_list(encode_transaction(example(DYNAMIC_FEE))[1:])
    fields[-3] = b"\2"
    with pytest.raises(InvalidSignature):
        decode_transaction(b"\2" + rlp.encode(fields))


def test_high_s_only_when_allowed() -> None:
    tx = example(LEGACY)
    other = replace(tx, y_parity=1 - tx.y_parity, s=CURVE_ORDER - tx.s)
    with pytest.raises(InvalidSignature):
        recover_sender(other)
    assert recover_sender(other, allow_high_s=True) == recover_sender(tx)


def test_authority() -> None:
    good = authorization()
    assert good.authority() == address_of_secret(SECRET)
    high = replace(good, y_parity=1 - good.y_parity, s=CURVE_ORDER - good.s)
    for bad in (replace(good, r=0), replace(good, y_parity=2), replace(good, s=0), high):
        assert bad.authority() is None


def test_malformed_authorizations_have_their_own_error() -> None:
    fields = rlp.decode_list(encode_transaction(example(SET_CODE))[1:])
    tuples = fields[9]
    assert isinstance(tuples, list)
    assert isinstance(tuples[0], list)
    for index, bad in enumerate([b"\1" * 33, TO[:19], b"\1" * 9, b"\1\1", b"\1" * 33, b"\1" * 33]):
        damaged = [*tuples[0][:index], bad, *tuples[0][index + 1 :]]
        with pytest.raises(InvalidAuthorizationList):
            decode_transaction(b"\4" + rlp.encode([*fields[:9], [damaged], *fields[10:]]))
    for shape in (tuples[0][:-1], b"\1"):
        with pytest.raises(InvalidAuthorizationList):
            decode_transaction(b"\4" + rlp.encode([*fields[:9], [shape], *fields[10:]]))


def test_effective_gas_price() -> None:
    assert effective_gas_price(example(LEGACY), 10**9) == 7 * 10**9
    dynamic = example(DYNAMIC_FEE)
    assert effective_gas_price(dynamic, 10**9) == 8 * 10**9
    assert effective_gas_price(dynamic, 5 * 10**9) == 9 * 10**9


def test_hash_is_not_part_of_equality() -> None:
    tx = example(BLOB)
    again = replace(tx)
    assert tx.hash == again.hash
    assert tx == again
    assert hash(tx) == hash(again)
