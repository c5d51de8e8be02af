"""The rules for a transaction's sender account and block, each defined once, for the pool and for execution.

`chain.validity` has the rules that need neither state nor block.
"""

from __future__ import annotations

from collections.abc import Callable

from chain.errors import (
    BlobFeeTooLow,
    FeeTooLow,
    GasLimitTooHigh,
    InsufficientFunds,
    InvalidBlobs,
    NonceTooHigh,
    NonceTooLow,
    SenderNotEoa,
)
from chain.fees import blob_gas_of, cost_of
from chain.forks import PRAGUE, Fork
from chain.state import EMPTY_CODE_HASH, Account
from chain.transactions import Transaction, is_impersonated
from chain.types import Address
from vm.delegation import delegation_target


def check_nonce_unused(tx: Transaction, account: Account) -> None:
    """Raise `NonceTooLow` if the sender has used the transaction's nonce."""
    if tx.nonce < account.nonce:
        raise NonceTooLow(f"nonce {tx.nonce}; the account's next is {account.nonce}")


def check_nonce_is_next(tx: Transaction, account: Account) -> None:
    """Raise `NonceTooLow` or `NonceTooHigh` unless the transaction is the sender's next one."""
    check_nonce_unused(tx, account)
    if tx.nonce > account.nonce:
        raise NonceTooHigh(f"nonce {tx.nonce}; the account's next is {account.nonce}")


def check_sender_code(
    tx: Transaction, sender: Address, account: Account, code: Callable[[], bytes], fork: Fork
) -> None:
    """Raise `SenderNotEoa` for a sender with code; from Prague on a delegation is allowed.

    EIP-3607 applies to every block, also of the forks before it; EIP-7702 exempts delegated accounts from the fork on
    that introduces them. What a development node sends for an impersonated account is exempt.
    """
    if account.code_hash == EMPTY_CODE_HASH or is_impersonated(tx):
        return
    if fork < PRAGUE or delegation_target(code()) is None:
        raise SenderNotEoa(f"0x{sender.hex()} has code")


def check_gas_room(tx: Transaction, gas_left: int) -> None:
    """Raise `GasLimitTooHigh` for a gas limit above what the block has left."""
    if tx.gas_limit > gas_left:
        raise GasLimitTooHigh(f"gas limit {tx.gas_limit}; the block has {gas_left}")


def check_blob_room(tx: Transaction, blob_gas_left: int) -> None:
    """Raise `InvalidBlobs` for more blob gas than the block has left (EIP-4844)."""
    if (blob_gas := blob_gas_of(tx)) > blob_gas_left:
        raise InvalidBlobs(f"{blob_gas} blob gas; the block has {blob_gas_left}")


def check_fee_cap(tx: Transaction, base_fee: int) -> None:
    """Raise `FeeTooLow` for a fee cap below the base fee, both in wei per gas (EIP-1559)."""
    if tx.max_fee_per_gas < base_fee:
        raise FeeTooLow(f"fee cap {tx.max_fee_per_gas} wei; the base fee is {base_fee} wei")


def check_blob_fee_cap(tx: Transaction, blob_base_fee: int) -> None:
    """Raise `BlobFeeTooLow` for a blob fee cap below the blob base fee, both in wei per blob gas (EIP-4844)."""
    if tx.max_fee_per_blob_gas < blob_base_fee:
        raise BlobFeeTooLow(f"blob fee cap {tx.max_fee_per_blob_gas} wei; the blob base fee is {blob_base_fee} wei")


def check_funds(tx: Transaction, sender: Address, balance: int, committed: int = 0) -> None:
    """Raise `InsufficientFunds` unless the balance, wei, pays value, gas and blobs at the fee caps.

    ``committed``: wei of the balance that other transactions of the sender may take first.
    """
    needed = cost_of(tx)
    if needed + committed > balance:
        others = f", of which waiting transactions may take {committed}" if committed else ""
        raise InsufficientFunds(f"needs {needed} wei; 0x{sender.hex()} has {balance} wei{others}")
