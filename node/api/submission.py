"""Sending transactions, and what waits in the pool."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from typing import Protocol

from chain.transactions import Transaction
from chain.types import Address, Hash32
from node.api.types import CallFields, PendingTransaction, Submitted, TransactionFate, Wait


class Submitter(Protocol):
    """Accepts transactions, signs for the node's own accounts, and knows the fate of transactions."""

    async def submit(self, raw: bytes, wait: Wait = "durable", *, batch: object = None) -> Submitted:
        """Admit a signed transaction (network form) and return when it is durable, or mined.

        With instant sealing, neighbours of the same ``batch`` (compared by identity) share a block.
        """

    async def send_from(self, fields: CallFields, wait: Wait = "durable", *, batch: object = None) -> Submitted:
        """Complete (nonce, gas, fees, type), sign with the key of ``fields.sender`` and submit."""

    def accounts(self) -> Sequence[Address]:
        """Accounts the node holds keys of, and those it impersonates; no keys unless started with ``--dev``."""

    def fill(self, fields: CallFields) -> Transaction:
        """The unsigned transaction that `send_from` would sign: nonce, gas, fees and type are filled in."""

    def sign_filled(self, fields: CallFields) -> Transaction:
        """`fill`, signed with the key of ``fields.sender``. Raises `UnknownAccount`."""

    def sign(self, address: Address, digest: Hash32) -> tuple[int, int, int]:
        """(y parity, r, s) with a dev account's key. Raises `UnknownAccount`."""

    def pending_nonce(self, address: Address) -> int:
        """Next nonce counting pooled transactions."""

    def fate(self, transaction_hash: Hash32) -> TransactionFate:
        """The fate of a transaction: mined, waiting and why, or why it is in no block."""

    def pending_transaction(self, transaction_hash: Hash32) -> PendingTransaction | None: ...

    def pending_transactions(self) -> Sequence[PendingTransaction]: ...

    def arrivals(self) -> AsyncIterator[list[PendingTransaction]]:
        """Transactions that enter the pool from now on, each before its block is published. Event loop only."""
