"""What the writer is offered: a signed transaction, or one that it gives the nonce."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from chain.types import Address
from node.engine.executor import Candidate


@dataclass(frozen=True, slots=True)
class Draft:
    """A transaction that the node signs itself, complete but for its nonce, which the writer chooses."""

    sender: Address
    sign: Callable[[int], Candidate]
    """The signed transaction with this nonce. Raises static `InvalidTransaction` subclasses."""


Offered = Candidate | Draft
"""What the writer is given."""
