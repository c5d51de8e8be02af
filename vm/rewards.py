"""Mining rewards before the merge (Yellow Paper 11.3, EIP-649, EIP-1234)."""

from __future__ import annotations

from collections.abc import Sequence

from chain.blocks import Header
from chain.forks import Fork
from chain.types import Address

ETHER = 10**18
"""Wei."""

NEPHEW_DIVISOR = 32
"""Divisor of the block reward that gives the extra reward for each uncle."""
UNCLE_DISTANCE = 8
"""An uncle gets an eighth of the reward less for each block it is late."""


def block_reward(fork: Fork) -> int:
    """Wei for a block without uncles; 0 since the merge."""
    if fork >= Fork.PARIS:
        return 0
    if fork >= Fork.CONSTANTINOPLE:
        return 2 * ETHER
    return (3 if fork >= Fork.BYZANTIUM else 5) * ETHER


def rewards_of(header: Header, uncles: Sequence[Header], fork: Fork) -> list[tuple[Address, int]]:
    """Recipients of a block's rewards with their wei. Before the merge the list is never empty."""
    reward = block_reward(fork)
    if not reward:
        return []
    nephew = (header.coinbase, reward + reward // NEPHEW_DIVISOR * len(uncles))
    late = [(uncle.coinbase, header.number - uncle.number) for uncle in uncles]
    return [
        nephew,
        *((coinbase, reward * (UNCLE_DISTANCE - blocks) // UNCLE_DISTANCE) for coinbase, blocks in late),
    ]
