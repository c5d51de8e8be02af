"""Makes the unsigned transaction from a user's fields: chooses its type, and the fees that are not given.

``eth_sendTransaction`` and ``eth_call`` differ in two things: the type of fields that name no fee (EIP-1559 to send,
legacy to call), and the fees themselves (what the next block needs to send, nothing to call).
"""

from __future__ import annotations

from typing import NamedTuple

from chain.transactions import ACCESS_LIST, BLOB, DYNAMIC_FEE, LEGACY, SET_CODE, Transaction
from node.api.types import PRIORITY_FEE_WEI, CallFields


class Fees(NamedTuple):
    """Wei per gas, as `chain.transactions.Transaction` has them."""

    gas_price: int
    max_fee_per_gas: int
    max_priority_fee_per_gas: int


def to_send(fields: CallFields, chain_id: int, nonce: int, gas: int, base_fee: int) -> Transaction:
    """A transaction to be signed. Fees not given: a tip of 1 gwei, and room for twice ``base_fee`` (wei per gas)."""
    legacy = fields.gas_price is not None or fields.type in (LEGACY, ACCESS_LIST)
    kind = fields.type if fields.type is not None else _implied_type(fields, DYNAMIC_FEE)
    return _transaction(fields, kind, _sending_fees(fields, base_fee, legacy=legacy), chain_id, nonce, gas)


def to_call(fields: CallFields, nonce: int, gas: int) -> Transaction:
    """A transaction to be simulated, by geth's rules for ``eth_call``: it costs nothing unless a fee is given."""
    kind = _implied_type(fields, LEGACY)
    if kind == ACCESS_LIST and not fields.access_list:
        kind = LEGACY  # an empty list asks for nothing, and forks before Berlin know no type 1
    return _transaction(fields, kind, _calling_fees(fields), None, nonce, gas)


def _implied_type(fields: CallFields, without_fees: int) -> int:
    """The type implied by the fields; ``without_fees`` if they name no fee."""
    if fields.authorization_list:
        return SET_CODE
    if fields.blob_versioned_hashes:
        return BLOB
    if fields.gas_price is None and (without_fees == DYNAMIC_FEE or fields.max_fee_per_gas is not None):
        return DYNAMIC_FEE
    return LEGACY if fields.access_list is None else ACCESS_LIST


def _sending_fees(fields: CallFields, base_fee: int, *, legacy: bool) -> Fees:
    tip = fields.max_priority_fee_per_gas
    if tip is None:
        tip = min(PRIORITY_FEE_WEI, fields.max_fee_per_gas or PRIORITY_FEE_WEI)
    if legacy:
        price = fields.gas_price if fields.gas_price is not None else base_fee + tip
        return Fees(price, price, price)
    return Fees(0, fields.max_fee_per_gas if fields.max_fee_per_gas is not None else 2 * base_fee + tip, tip)


def _calling_fees(fields: CallFields) -> Fees:
    price = fields.gas_price or 0
    if fields.max_fee_per_gas is None:
        tip = price if fields.max_priority_fee_per_gas is None else fields.max_priority_fee_per_gas
        return Fees(price, price, min(tip, price))
    return Fees(price, fields.max_fee_per_gas, min(fields.max_priority_fee_per_gas or 0, fields.max_fee_per_gas))


def _transaction(
    fields: CallFields, kind: int, fees: Fees, chain_id: int | None, nonce: int, gas: int
) -> Transaction:
    return Transaction(
        type=kind,
        chain_id=chain_id,
        nonce=nonce,
        gas_price=fees.gas_price,
        max_fee_per_gas=fees.max_fee_per_gas,
        max_priority_fee_per_gas=fees.max_priority_fee_per_gas,
        gas_limit=gas,
        to=fields.to,
        value=fields.value,
        data=fields.data,
        access_list=fields.access_list or (),
        max_fee_per_blob_gas=fields.max_fee_per_blob_gas or 0,
        blob_versioned_hashes=fields.blob_versioned_hashes or (),
        authorization_list=fields.authorization_list or (),
    )
