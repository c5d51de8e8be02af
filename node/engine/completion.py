"""The transaction meant by a user who left its type and fees to the node."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from chain.transactions import Transaction
from chain.types import Address
from node.api.types import PRIORITY_FEE_WEI, CallFields
from node.engine.pool import PooledTransaction


@dataclass(frozen=True, slots=True)
class Draft:
    """A transaction that the node signs itself, complete but for its nonce, which the writer chooses."""

    sender: Address
    sign: Callable[[int], PooledTransaction]
    """The signed transaction with this nonce. Raises static `InvalidTransaction` subclasses."""


Offered = PooledTransaction | Draft
"""What the writer is given."""


def completed(fields: CallFields, chain_id: int, nonce: int, gas: int, base_fee: int) -> Transaction:
    """An unsigned transaction: of fees not given, a tip of 1 gwei and room for a doubled base fee, in wei per gas."""
    legacy = fields.gas_price is not None or fields.type in (0, 1)
    tip = fields.max_priority_fee_per_gas
    if tip is None:
        tip = min(PRIORITY_FEE_WEI, fields.max_fee_per_gas or PRIORITY_FEE_WEI)
    cap = fields.max_fee_per_gas if fields.max_fee_per_gas is not None else 2 * base_fee + tip
    price = fields.gas_price if fields.gas_price is not None else base_fee + tip
    kind = fields.type
    if kind is None:
        kind = (1 if fields.access_list is not None else 0) if legacy else 2
        kind = 4 if fields.authorization_list else kind
        kind = 3 if fields.blob_versioned_hashes else kind
    return Transaction(
        type=kind,
        chain_id=chain_id,
        nonce=nonce,
        gas_price=price if legacy else 0,
        max_fee_per_gas=price if legacy else cap,
        max_priority_fee_per_gas=price if legacy else tip,
        gas_limit=gas,
        to=fields.to,
        value=fields.value,
        data=fields.data,
        access_list=fields.access_list or (),
        max_fee_per_blob_gas=fields.max_fee_per_blob_gas or 0,
        blob_versioned_hashes=fields.blob_versioned_hashes or (),
        authorization_list=fields.authorization_list or (),
    )
