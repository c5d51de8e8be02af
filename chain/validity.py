"""Whether a fork's rules allow a transaction: the checks that need neither a state nor a block."""

from __future__ import annotations

from chain.crypto import CURVE_ORDER, HALF_CURVE_ORDER
from chain.errors import (
    GasLimitTooHigh,
    InitcodeTooLarge,
    InsufficientFunds,
    IntrinsicGasTooLow,
    InvalidAuthorizationList,
    InvalidBlobs,
    InvalidSignature,
    NonceOverflow,
    PriorityFeeAboveMaxFee,
    UnsupportedTransactionType,
    WrongChainId,
)
from chain.fees import floor_gas, intrinsic_gas
from chain.forks import CODE_BYTES_MAX, HOMESTEAD, OSAKA, SHANGHAI, SPURIOUS_DRAGON, Fork
from chain.transactions import BLOB, LEGACY, SET_CODE, Transaction, is_impersonated
from chain.types import UINT64_MAX, UINT256_MAX

FORK_OF_TYPE = (Fork.FRONTIER, Fork.BERLIN, Fork.LONDON, Fork.CANCUN, Fork.PRAGUE)
"""The fork that introduced a transaction type."""

MAX_INITCODE_BYTES = 2 * CODE_BYTES_MAX
"""EIP-3860, from Shanghai; on a chain with another limit of code, twice that."""

TRANSACTION_GAS_CAP = 2**24
"""EIP-7825, from Osaka."""

MAX_BLOBS_PER_TRANSACTION = 6
"""EIP-7594, from Osaka."""

VERSIONED_HASH_VERSION_KZG = 1


def check_static(
    tx: Transaction, fork: Fork, chain_id: int, *, gas_capped: bool = True, code_bytes_max: int = CODE_BYTES_MAX
) -> None:
    """Raise the `InvalidTransaction` subclass that says why no block of this fork may contain ``tx``.

    ``gas_capped`` and ``code_bytes_max`` are the chain's (`chain.forks.ChainConfig`).
    Does not recover the sender: `chain.transactions.recover_sender` does.
    """
    check_type(tx, fork)
    _check_signature(tx, fork, chain_id)
    if tx.nonce >= UINT64_MAX:
        raise NonceOverflow("a nonce is at most 2**64 - 2 (EIP-2681)")
    if tx.max_priority_fee_per_gas > tx.max_fee_per_gas:
        raise PriorityFeeAboveMaxFee(
            f"max priority fee {tx.max_priority_fee_per_gas} is above max fee {tx.max_fee_per_gas}"
        )
    if tx.type == BLOB:
        _check_blobs(tx, fork)
    elif tx.type == SET_CODE:
        _check_authorizations(tx)
    check_initcode(tx, fork, code_bytes_max)
    check_gas_covers(tx, fork)
    _check_gas_cap(tx, gas_cap(fork, gas_capped=gas_capped))


def check_type(tx: Transaction, fork: Fork) -> None:
    """Raise `UnsupportedTransactionType` before the fork that introduces the transaction's type (EIP-2718)."""
    if tx.type >= len(FORK_OF_TYPE):
        raise UnsupportedTransactionType(f"type {tx.type} is not known")
    if fork < FORK_OF_TYPE[tx.type]:
        raise UnsupportedTransactionType(f"type {tx.type} begins with {FORK_OF_TYPE[tx.type].name.title()}")


def check_initcode(tx: Transaction, fork: Fork, code_bytes_max: int = CODE_BYTES_MAX) -> None:
    """Raise `InitcodeTooLarge` for a creation with more code than EIP-3860 allows: twice the limit of code."""
    most = 2 * code_bytes_max
    if fork >= SHANGHAI and tx.to is None and len(tx.data) > most:
        raise InitcodeTooLarge(f"{len(tx.data)} bytes of creation code, the limit is {most}")


def check_gas_covers(tx: Transaction, fork: Fork) -> None:
    """Raise `IntrinsicGasTooLow` for a gas limit below the intrinsic gas or the floor of EIP-7623."""
    needed = max(intrinsic_gas(tx, fork), floor_gas(tx, fork))
    if tx.gas_limit < needed:
        raise IntrinsicGasTooLow(f"gas limit {tx.gas_limit} is below the {needed} this transaction needs")


def _check_signature(tx: Transaction, fork: Fork, chain_id: int) -> None:
    impersonated = is_impersonated(tx)  # only a development node's own: `recover_sender` refuses it
    if not impersonated and not (0 < tx.r < CURVE_ORDER and 0 < tx.s < CURVE_ORDER):
        raise InvalidSignature("r or s is out of range")
    if not impersonated and tx.s > HALF_CURVE_ORDER and fork >= HOMESTEAD:
        raise InvalidSignature("s is in the upper half of the curve order (EIP-2)")
    if tx.chain_id is None:
        return
    if tx.type == LEGACY and fork < SPURIOUS_DRAGON:
        raise InvalidSignature(f"v is {tx.v}, but EIP-155 begins with Spurious Dragon")
    if tx.chain_id != chain_id:
        raise WrongChainId(f"signed for chain {tx.chain_id}, this is chain {chain_id}")


def gas_cap(fork: Fork, *, gas_capped: bool) -> int | None:
    """The most gas a transaction may have under this fork, besides the block's limit; None: any."""
    return TRANSACTION_GAS_CAP if gas_capped and fork >= OSAKA else None


def _check_gas_cap(tx: Transaction, cap: int | None) -> None:
    if cap is not None and tx.gas_limit > cap:
        raise GasLimitTooHigh(f"gas limit {tx.gas_limit} is above the cap of {cap} (EIP-7825)")
    if tx.gas_limit * tx.max_fee_per_gas > UINT256_MAX:
        raise InsufficientFunds("gas limit times fee is above 2**256: no account can pay it")


def _check_blobs(tx: Transaction, fork: Fork) -> None:
    hashes = tx.blob_versioned_hashes
    if tx.to is None:
        raise InvalidBlobs("a blob transaction cannot create a contract")
    if not hashes:
        raise InvalidBlobs("a blob transaction without blobs")
    if fork >= OSAKA and len(hashes) > MAX_BLOBS_PER_TRANSACTION:
        raise InvalidBlobs(f"{len(hashes)} blobs, the limit is {MAX_BLOBS_PER_TRANSACTION} (EIP-7594)")
    for versioned_hash in hashes:
        if versioned_hash[0] != VERSIONED_HASH_VERSION_KZG:
            raise InvalidBlobs(f"a blob hash of version {versioned_hash[0]} instead of 1")


def _check_authorizations(tx: Transaction) -> None:
    if tx.to is None:
        raise InvalidAuthorizationList("a set-code transaction cannot create a contract")
    if not tx.authorization_list:
        raise InvalidAuthorizationList("a set-code transaction without authorizations")
