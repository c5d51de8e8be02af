"""Positions of states: block N's is N plus the amendments before it, each of which is a state without a block.

A development call (set a balance, a slot ...) changes the state between two blocks. The state after it has a position
as the state after a block has one, so that change sets, views, checkpoints and rewinds treat both alike.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable
from dataclasses import dataclass

from storage.errors import StateStoreCorrupt
from storage.io.kv import KeyValueSnapshot
from storage.state.keys import AMENDED, after_prefix, block_key


@dataclass(frozen=True, slots=True)
class Positions:
    """Which blocks were amended before the next one, ascending, and how often all of them up to each."""

    blocks: tuple[int, ...] = ()
    totals: tuple[int, ...] = ()

    def of(self, block: int) -> int:
        """Position of a block's last state: the one that the next block starts from.

        >>> Positions((3,), (2,)).of(2), Positions((3,), (2,)).of(3), Positions((3,), (2,)).of(4)
        (2, 5, 6)
        """
        at = bisect_right(self.blocks, block)
        return block + (self.totals[at - 1] if at else 0)

    def sealed(self, block: int) -> int:
        """Position of the state that the block itself left, whose root its header has."""
        return self.of(block - 1) + 1

    def block_of(self, position: int) -> int:
        """The block that a position belongs to.

        >>> [Positions((3,), (2,)).block_of(position) for position in range(2, 7)]
        [2, 3, 3, 3, 4]
        """
        low, high = 0, len(self.blocks)
        while low < high:
            middle = (low + high) // 2
            if self.sealed(self.blocks[middle]) <= position:
                low = middle + 1
            else:
                high = middle
        if not low:
            return position
        return max(self.blocks[low - 1], position - self.totals[low - 1])

    def amended(self, block: int) -> Positions:
        """With one more amendment after the newest block."""
        total = (self.totals[-1] if self.totals else 0) + 1
        if self.blocks and self.blocks[-1] == block:
            return Positions(self.blocks, (*self.totals[:-1], total))
        return Positions((*self.blocks, block), (*self.totals, total))

    def cut(self, position: int) -> Positions:
        """Without what comes after a position."""
        block = self.block_of(position)
        kept = bisect_right(self.blocks, block - 1)
        before = Positions(self.blocks[:kept], self.totals[:kept])
        amendments = position - block
        if amendments == (before.totals[-1] if kept else 0):
            return before
        return Positions((*before.blocks, block), (*before.totals, amendments))

    def changes(self, stored: Positions) -> tuple[dict[bytes, bytes], list[bytes]]:
        """Puts and deletes that make of what is stored what these are."""
        now = list(zip(self.blocks, self.totals, strict=True))
        before = list(zip(stored.blocks, stored.totals, strict=True))
        same = 0
        while same < min(len(now), len(before)) and now[same] == before[same]:
            same += 1
        deletes = [block_key(AMENDED, block) for block, _ in before[same:]]
        return {block_key(AMENDED, block): total.to_bytes(8, "big") for block, total in now[same:]}, deletes


def stored_positions(snapshot: KeyValueSnapshot) -> Positions:
    """What the last checkpoint holds. Raises `StateStoreCorrupt`."""
    pairs: Iterable[tuple[bytes, bytes]] = snapshot.iterate(AMENDED, after_prefix(AMENDED))
    found = [(int.from_bytes(key[1:], "big"), int.from_bytes(total, "big")) for key, total in pairs]
    last = 0
    for block, total in found:
        if total <= last:
            raise StateStoreCorrupt(f"{total} amendments up to block {block}, {last} before it")
        last = total
    return Positions(tuple(block for block, _ in found), tuple(total for _, total in found))
