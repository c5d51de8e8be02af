"""Difficulty of blocks before the merge: each fork's formula and the bomb (Yellow Paper 4.3.4, EIP-2, EIP-100)."""

from __future__ import annotations

from chain.blocks import EMPTY_UNCLES_HASH, Header
from chain.forks import ChainConfig, Fork

MINIMUM_DIFFICULTY = 131_072
BOUND_DIVISOR = 2_048
"""The difficulty changes by multiples of 1/2048 of the parent's."""
LARGEST_FALL = 99
FRONTIER_BLOCK_SECONDS = 13
BOMB_PERIOD = 100_000
"""Blocks after which the bomb doubles."""


def next_difficulty(config: ChainConfig, number: int, timestamp: int, parent: Header) -> int:
    """Difficulty of the block with this number and timestamp (seconds) on the parent."""
    fork = config.fork_at(number, timestamp)
    steps = _steps(fork, timestamp - parent.timestamp, parent.uncles_hash != EMPTY_UNCLES_HASH)
    difficulty = parent.difficulty + parent.difficulty // BOUND_DIVISOR * steps
    periods = max(0, number - config.bomb_delay_at(number)) // BOMB_PERIOD
    if periods >= 2:
        difficulty += 1 << (periods - 2)
    return max(difficulty, MINIMUM_DIFFICULTY)


def _steps(fork: Fork, seconds: int, parent_has_uncles: bool) -> int:
    """The parent's difficulty / `BOUND_DIVISOR` changes by this factor; ``elapsed`` is the seconds since the parent."""
    if fork < Fork.HOMESTEAD:
        return 1 if seconds < FRONTIER_BLOCK_SECONDS else -1
    if fork < Fork.BYZANTIUM:
        return max(1 - seconds // 10, -LARGEST_FALL)
    return max((2 if parent_has_uncles else 1) - seconds // 9, -LARGEST_FALL)
