"""The rewinds of the chain, for its followers: a bounded record of any number of them."""

from __future__ import annotations

from typing import NamedTuple

REMEMBERED = 1_024
"""Entries kept. A follower that missed more gets the lowest block of all it missed, or a lower one."""


class _Entry(NamedTuple):
    last: int
    """The entry covers this rewind and those before it, back to the previous entry."""
    block: int


class Rewinds:
    """Counts rewinds, and knows the lowest block since any of them. One thread adds, any thread reads.

    Only what can still be an answer is kept: a time after which the chain was brought back further is forgotten, so the
    blocks ascend, and reverting to the same snapshot again and again takes one entry.

    >>> rewinds = Rewinds()
    >>> for block in (7, 3, 5):
    ...     rewinds.add(block)
    >>> rewinds.since(0), rewinds.since(2), rewinds.since(3)
    ((3, 3), (3, 5), (3, None))
    """

    def __init__(self) -> None:
        self._entries: tuple[_Entry, ...] = ()

    def __len__(self) -> int:
        return len(self._entries)

    @property
    def count(self) -> int:
        """Number of rewinds."""
        entries = self._entries
        return entries[-1].last if entries else 0

    def add(self, block: int) -> None:
        """Note that the chain was rewound to a block."""
        kept = [entry for entry in self._entries if entry.block < block]
        if len(kept) >= REMEMBERED:
            kept[:2] = [_Entry(kept[1].last, kept[0].block)]
        self._entries = (*kept, _Entry(self.count + 1, block))  # in one step: others read meanwhile

    def since(self, seen: int) -> tuple[int, int | None]:
        """The number of rewinds, and the lowest block of those after the first ``seen``; None if there were none."""
        entries = self._entries
        lowest = next((entry.block for entry in entries if entry.last > seen), None)
        return (entries[-1].last if entries else 0), lowest
