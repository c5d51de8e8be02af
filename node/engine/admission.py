"""Which transactions the node takes, judged against the newest state plus the pool."""

from __future__ import annotations

from chain.errors import (
    BlobsMissing,
    FeeTooLow,
    GasLimitTooHigh,
    InsufficientFunds,
    MalformedTransaction,
    NonceTooLow,
    SenderNotEoa,
)
from chain.fees import blob_gas_of
from chain.forks import ChainConfig, Fork
from chain.sidecars import decode_network_transaction
from chain.state import EMPTY_ACCOUNT, EMPTY_CODE_HASH, StateReader
from chain.transactions import BLOB, Transaction, encode_transaction, is_impersonated, recover_sender
from chain.types import Address
from chain.validity import check_static
from node.engine.executor import Candidate
from vm.delegation import delegation_target

SUBMISSION_BYTES_MAX = 2 * 2**20
"""Largest submission taken: a blob transaction with the blobs of a block."""
TRANSACTION_BYTES_MAX = 128 * 1024
"""Largest transaction without blobs, as in geth's pool."""


def decode(raw: bytes, config: ChainConfig, fork: Fork) -> Candidate:
    """Decode a signed transaction as clients send it, recover its sender, check what needs no state. Any thread.

    Blobs beside a transaction are checked and left out. Raises `MalformedTransaction`, `BlobsMissing`,
    `InvalidSignature` and the other static subclasses of `InvalidTransaction`.
    """
    if len(raw) > SUBMISSION_BYTES_MAX:
        raise MalformedTransaction(f"{len(raw)} bytes; the limit is {SUBMISSION_BYTES_MAX}")
    transaction, sidecar = decode_network_transaction(raw)
    if transaction.type == BLOB and not sidecar:
        raise BlobsMissing("as it is in a block, with hashes only")
    encoded = encode_transaction(transaction)
    if len(encoded) > TRANSACTION_BYTES_MAX:
        raise MalformedTransaction(f"{len(encoded)} bytes without blobs; the limit is {TRANSACTION_BYTES_MAX}")
    check_static(transaction, fork, config.chain_id)
    return Candidate(transaction, recover_sender(transaction), encoded)


def check_against_state(
    transaction: Transaction, sender: Address, state: StateReader, base_fee: int, block_gas_limit: int
) -> None:
    """Refuse what the newest state already rules out; execution checks again. Raises `InvalidTransaction`."""
    account = state.account(sender) or EMPTY_ACCOUNT
    if transaction.nonce < account.nonce:
        raise NonceTooLow(f"nonce {transaction.nonce}; the account's next is {account.nonce}")
    if transaction.gas_limit > block_gas_limit:
        raise GasLimitTooHigh(f"gas limit {transaction.gas_limit}; the block's is {block_gas_limit}")
    if transaction.max_fee_per_gas < base_fee:
        raise FeeTooLow(f"fee cap {transaction.max_fee_per_gas} wei; the base fee is {base_fee} wei")
    blob_cost = blob_gas_of(transaction) * transaction.max_fee_per_blob_gas
    cost = transaction.gas_limit * transaction.max_fee_per_gas + transaction.value + blob_cost
    if cost > account.balance:
        raise InsufficientFunds(f"needs {cost} wei; 0x{sender.hex()} has {account.balance} wei")
    if is_impersonated(transaction):
        return
    if account.code_hash != EMPTY_CODE_HASH and delegation_target(state.code(account.code_hash)) is None:
        raise SenderNotEoa(f"0x{sender.hex()} has code")
