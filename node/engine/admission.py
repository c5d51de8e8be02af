"""Decides which transactions the node accepts, by the newest state and the pool."""

from __future__ import annotations

from typing import NamedTuple

from chain.blocks import Header
from chain.errors import BlobsMissing, MalformedTransaction
from chain.fees import GAS_PER_BLOB
from chain.forks import ChainConfig, Fork
from chain.production import ChainSettings, next_base_fee, next_timestamp
from chain.sidecars import decode_network_transaction
from chain.state import EMPTY_CODE_HASH, Account, StateReader
from chain.transactions import BLOB, Transaction, encode_transaction, recover_sender
from chain.types import Address
from chain.validity import check_static
from node.engine.pool import PooledTransaction
from vm.eligibility import (
    check_blob_room,
    check_fee_cap,
    check_funds,
    check_gas_room,
    check_nonce_unused,
    check_sender_code,
)

SUBMISSION_BYTES_MAX = 2 * 2**20
"""Largest accepted submission: a blob transaction with the blobs of a whole block."""
TRANSACTION_BYTES_MAX = 128 * 1024
"""Largest transaction without blobs, as in geth's pool."""


def decode(raw: bytes, config: ChainConfig, fork: Fork) -> PooledTransaction:
    """Decode a signed transaction as clients send it, recover its sender, and check what needs no state. Any thread.

    Blobs beside a transaction are checked and left out. Raises `MalformedTransaction`, `BlobsMissing`,
    `InvalidSignature` and the other static subclasses of `InvalidTransaction`.
    """
    if len(raw) > SUBMISSION_BYTES_MAX:
        raise MalformedTransaction(f"{len(raw)} bytes; the limit is {SUBMISSION_BYTES_MAX}")
    transaction, sidecar = decode_network_transaction(raw)
    if transaction.type == BLOB and not sidecar:
        raise BlobsMissing("as it is in a block, with hashes only")
    encoded = _encoded(transaction, config, fork)
    return PooledTransaction(transaction, recover_sender(transaction), encoded, checked=fork)


def own(transaction: Transaction, sender: Address, config: ChainConfig, fork: Fork) -> PooledTransaction:
    """Check a transaction that the node signed, or whose sender it impersonates, as `decode` does.

    Raises the same errors; `BlobsMissing` for every blob transaction.
    """
    encoded = _encoded(transaction, config, fork)
    if transaction.type == BLOB:
        raise BlobsMissing("a transaction that the node signs itself cannot carry blobs")
    return PooledTransaction(transaction, sender, encoded, checked=fork)


def _encoded(transaction: Transaction, config: ChainConfig, fork: Fork) -> bytes:
    encoded = encode_transaction(transaction)
    if len(encoded) > TRANSACTION_BYTES_MAX:
        raise MalformedTransaction(f"{len(encoded)} bytes without blobs; the limit is {TRANSACTION_BYTES_MAX}")
    check_static(
        transaction,
        fork,
        config.chain_id,
        gas_capped=config.gas_capped,
        code_bytes_max=config.code_bytes_max,
    )
    return encoded


class NextBlock(NamedTuple):
    """The values of the next block that admission needs."""

    fork: Fork
    gas_limit: int
    blob_gas_limit: int
    base_fee: int
    """Wei per gas."""


def next_block(parent: Header, settings: ChainSettings, config: ChainConfig, now: int) -> NextBlock:
    """Those of the block after ``parent``; ``now`` is the wall clock, Unix seconds."""
    timestamp = next_timestamp(parent, settings, now)
    fork = config.fork_at(parent.number + 1, timestamp)
    blob_gas = config.blobs_at(timestamp).max * GAS_PER_BLOB
    return NextBlock(fork, settings.gas_limit, blob_gas, next_base_fee(parent, fork, settings))


def check_against_state(
    transaction: Transaction,
    sender: Address,
    account: Account,
    state: StateReader,
    block: NextBlock,
    committed: int = 0,
) -> None:
    """Refuse what the newest state already rules out; execution checks again. Raises `InvalidTransaction`.

    ``account``: the sender's in this state. ``committed``: wei that the sender's other waiting transactions may cost.
    As in geth's pool, the balance has to pay for all of them.
    """
    check_nonce_unused(transaction, account)
    check_gas_room(transaction, block.gas_limit)
    if transaction.type == BLOB:
        check_blob_room(transaction, block.blob_gas_limit)
    check_fee_cap(transaction, block.base_fee)
    check_funds(transaction, sender, account.balance, committed)
    if account.code_hash != EMPTY_CODE_HASH:
        check_sender_code(transaction, sender, account, lambda: state.code(account.code_hash), block.fork)
