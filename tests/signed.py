"""Signed transactions as the writer takes them: transfers that differ in sender, nonce, price and amount."""

from __future__ import annotations

from chain.crypto import address_of_secret
from chain.transactions import Transaction, encode_transaction, sign_transaction
from chain.types import Address
from node.engine.pool import PooledTransaction
from tests.daemon import CHAIN_ID

GWEI = 10**9


def unsigned_transfer(to: Address, nonce: int, *, gwei: int = 1, wei: int = 1, gas: int = 21_000) -> Transaction:
    """An EIP-1559 transfer of ``wei`` with a tip of ``gwei`` and a hundred times that as its maximum fee per gas."""
    return Transaction(
        type=2,
        chain_id=CHAIN_ID,
        nonce=nonce,
        gas_price=0,
        max_fee_per_gas=100 * gwei * GWEI,
        max_priority_fee_per_gas=gwei * GWEI,
        gas_limit=gas,
        to=to,
        value=wei,
        data=b"",
    )


def signed_transfer(secret: bytes, to: Address, nonce: int, *, gwei: int = 1, wei: int = 1) -> PooledTransaction:
    """`unsigned_transfer`, signed with the key of its sender."""
    signed = sign_transaction(unsigned_transfer(to, nonce, gwei=gwei, wei=wei), secret)
    return PooledTransaction(signed, address_of_secret(secret), encode_transaction(signed))
