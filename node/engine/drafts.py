"""Transactions submitted to the writer: signed ones, and drafts whose nonce the writer chooses."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from chain.types import Address
from node.engine.pool import PooledTransaction


@dataclass(frozen=True, slots=True)
class Draft:
    """A transaction that the node signs itself, complete except for its nonce, which the writer chooses."""

    sender: Address
    sign: Callable[[int], PooledTransaction]
    """Signs the transaction with this nonce. Raises static `InvalidTransaction` subclasses."""


Offered = PooledTransaction | Draft
"""What a request submits to the writer."""
