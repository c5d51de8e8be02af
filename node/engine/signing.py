"""Completes and signs transactions of the node's own accounts."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field, replace
from weakref import WeakValueDictionary

from chain.errors import WrongChainId
from chain.forks import ChainConfig, Fork
from chain.production import ChainSettings
from chain.transactions import Transaction, impersonate, sign_transaction
from chain.types import Address
from node.api.types import CallFields, CallResult
from node.engine import admission
from node.engine.accounts import DevAccounts
from node.engine.drafts import Draft, Offered
from node.engine.pool import PooledTransaction
from node.engine.unsigned import to_send


@dataclass(slots=True)
class OwnTransactions:
    """Completes and signs ``eth_sendTransaction``. Everything but `turn_of` is safe on any thread."""

    config: ChainConfig
    accounts: DevAccounts
    settings: Callable[[], ChainSettings]
    estimate: Callable[[CallFields], int | CallResult]
    next_block: Callable[[], tuple[int, Fork]]
    """Returns base fee, wei per gas, and fork of the next block."""
    _turns: WeakValueDictionary[Address, asyncio.Lock] = field(default_factory=WeakValueDictionary)

    def turn_of(self, sender: Address) -> AbstractAsyncContextManager[None]:
        """Lock held from completing a sender's transaction until its answer, in order of arrival. Event loop only."""
        return self._turns.setdefault(sender, asyncio.Lock())

    def complete(self, fields: CallFields, sender: Address) -> Offered:
        """The signed transaction, or a draft if no nonce is given.

        Raises `UnknownAccount`, static `InvalidTransaction` subclasses, and what `filled` raises.
        """
        impersonated = self.impersonates(sender)
        secret = b"" if impersonated else self.accounts.secret(sender)
        filled = self.filled(fields, sender)
        _, fork = self.next_block()

        def sign(nonce: int) -> PooledTransaction:
            transaction = filled(nonce)
            signed = impersonate(transaction, sender) if impersonated else sign_transaction(transaction, secret)
            return admission.own(signed, sender, self.config, fork)

        if fields.nonce is not None:
            return sign(fields.nonce)
        sign(0)  # errors that do not depend on the nonce are raised before the writer sees it
        return Draft(sender, sign)

    def filled(self, fields: CallFields, sender: Address) -> Callable[[int], Transaction]:
        """Makes the unsigned transaction for a nonce. Raises `WrongChainId`, and errors of the gas estimate."""
        chain_id = self.config.chain_id
        if fields.chain_id not in (None, chain_id):
            raise WrongChainId(f"chainId does not match node's (have={fields.chain_id}, want={chain_id})")
        gas = self._gas_of(fields, sender)
        base_fee, _ = self.next_block()
        return lambda nonce: to_send(fields, chain_id, nonce, gas, base_fee)

    def _gas_of(self, fields: CallFields, sender: Address) -> int:
        """The given gas limit, or an estimate. Raises errors of the estimate, as geth does."""
        if fields.gas is not None:
            return fields.gas
        estimate = self.estimate(replace(fields, sender=sender))
        if isinstance(estimate, CallResult):
            raise estimate.failure()
        return estimate

    def impersonates(self, sender: Address) -> bool:
        """Whether the node sends for an account without its key."""
        settings = self.settings()
        return sender in settings.impersonated or (
            settings.impersonate_all and sender not in self.accounts.addresses
        )
