"""What gas costs: base fee, blob base fee, and the gas a transaction pays before it runs (`chain.gas_schedule`)."""

from __future__ import annotations

from chain.forks import OSAKA, BlobSchedule, Fork
from chain.gas_schedule import SCHEDULES, words_in
from chain.transactions import Transaction
from chain.types import UINT256_MAX

INITIAL_BASE_FEE = 10**9
"""Wei per gas of the first London block (EIP-1559)."""
ELASTICITY_MULTIPLIER = 2
BASE_FEE_MAX_CHANGE_DENOMINATOR = 8

GAS_PER_BLOB = 131_072
MIN_BLOB_BASE_FEE = 1
"""Wei per blob gas (EIP-4844)."""
BLOB_BASE_COST = 2**13
"""Execution gas whose price is the least price of a blob (EIP-7918: BLOB_BASE_COST)."""

_E_POWER_ABOVE_UINT256 = 178
"""e**178 > 2**256."""


def intrinsic_gas(tx: Transaction, fork: Fork) -> int:
    """Gas used before the first opcode (Yellow Paper 6.2)."""
    prices = SCHEDULES[fork]
    gas = intrinsic_call_gas(tx.data, fork)
    if tx.to is None:
        gas += prices.creation + prices.initcode_word * words_in(len(tx.data))
    if tx.access_list:
        gas += len(tx.access_list) * prices.access_list_address
        gas += sum(len(slots) for _, slots in tx.access_list) * prices.access_list_slot
    if tx.authorization_list:
        gas += len(tx.authorization_list) * prices.authorization
    return gas


def intrinsic_call_gas(data: bytes, fork: Fork) -> int:
    """`intrinsic_gas` of a transaction with nothing but a recipient and this data."""
    prices = SCHEDULES[fork]
    zeros = data.count(0)
    return prices.transaction + zeros * prices.zero_byte + (len(data) - zeros) * prices.nonzero_byte


def floor_gas(tx: Transaction, fork: Fork) -> int:
    """The least gas a transaction with this data uses in the end (EIP-7623); 0 before Prague."""
    return floor_data_gas(tx.data, fork)


def floor_data_gas(data: bytes, fork: Fork) -> int:
    """`floor_gas` of any transaction with this data."""
    prices = SCHEDULES[fork]
    if not prices.floor_token:
        return 0
    zeros = data.count(0)
    tokens = zeros + (len(data) - zeros) * prices.nonzero_byte_tokens
    return prices.transaction + tokens * prices.floor_token


def next_base_fee(parent_gas_limit: int, parent_gas_used: int, parent_base_fee: int) -> int:
    """Base fee (wei per gas) of the block after a London block (EIP-1559).

    >>> next_base_fee(30_000_000, 30_000_000, 10**9)
    1125000000
    """
    target = parent_gas_limit // ELASTICITY_MULTIPLIER
    if parent_gas_used == target:
        return parent_base_fee
    if parent_gas_used > target:
        rise = parent_base_fee * (parent_gas_used - target) // target // BASE_FEE_MAX_CHANGE_DENOMINATOR
        return parent_base_fee + max(rise, 1)
    fall = parent_base_fee * (target - parent_gas_used) // target // BASE_FEE_MAX_CHANGE_DENOMINATOR
    return parent_base_fee - fall


def fake_exponential(factor: int, numerator: int, denominator: int) -> int:
    """``factor * e**(numerator / denominator)`` in integers (EIP-4844), at most `UINT256_MAX`.

    >>> fake_exponential(1, 10_000_000, 3_338_477)
    19
    """
    if numerator > denominator * _E_POWER_ABOVE_UINT256:
        return UINT256_MAX
    index = 1
    total = 0
    term = factor * denominator
    while term > 0:
        total += term
        term = term * numerator // (denominator * index)
        index += 1
    return min(total // denominator, UINT256_MAX)


def blob_base_fee(excess_blob_gas: int, base_fee_update_fraction: int) -> int:
    """Wei per blob gas (EIP-4844)."""
    return fake_exponential(MIN_BLOB_BASE_FEE, excess_blob_gas, base_fee_update_fraction)


def blob_gas_of(tx: Transaction) -> int:
    """Blob gas a transaction uses."""
    return GAS_PER_BLOB * len(tx.blob_versioned_hashes)


def cost_of(tx: Transaction) -> int:
    """The most a transaction may take from its sender, wei: value, gas and blobs at the fee caps."""
    return tx.gas_limit * tx.max_fee_per_gas + tx.value + blob_gas_of(tx) * tx.max_fee_per_blob_gas


def next_excess_blob_gas(
    parent_excess_blob_gas: int,
    parent_blob_gas_used: int,
    parent_base_fee: int,
    schedule: BlobSchedule,
    fork: Fork,
) -> int:
    """Excess blob gas of the next block, whose schedule and fork are given (EIP-4844, EIP-7691, EIP-7918)."""
    total = parent_excess_blob_gas + parent_blob_gas_used
    target = schedule.target * GAS_PER_BLOB
    if total < target:
        return 0
    if fork >= OSAKA:
        blob_price = blob_base_fee(parent_excess_blob_gas, schedule.base_fee_update_fraction)
        if BLOB_BASE_COST * parent_base_fee > GAS_PER_BLOB * blob_price:
            return (
                parent_excess_blob_gas
                + parent_blob_gas_used * (schedule.max - schedule.target) // schedule.max
            )
    return total - target
