"""What the writer is offered: a signed transaction, or one that it gives the nonce."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from chain.types import Address
from node.engine.pool import PooledTransaction


@dataclass(frozen=True, slots=True)
class Draft:
    """A transaction that the node signs itself, complete but for its nonce, which the writer chooses."""

    sender: Address
    sign: Callable[[int], PooledTransaction]
    """The signed transaction with this nonce. Raises static `InvalidTransaction` subclasses."""


Offered = PooledTransaction | Draft
"""What the writer is given."""
