"""The stack inside one compiled function: words in SSA values, the frame's memory only where it must be."""

from __future__ import annotations

from typing import NamedTuple

from vm.evm.emitter import Value
from vm.evm.layout import WORD_BYTES
from vm.ir.builder import Builder


class Saved(NamedTuple):
    """The word that lay at this stack position when the function began; it still does, in memory."""

    position: int


Item = int | str | Saved
Changes = tuple[tuple[int, Item], ...]
"""(position, word) to be written."""


class VirtualStack:
    """Positions count from the height at which the function began, so those below it are negative.

    Memory is written only when the function is left, so a `Saved` word may be loaded at any time.
    """

    def __init__(self, b: Builder) -> None:
        self._b = b
        self.height = 0
        self._items: dict[int, Item] = {}
        self._loaded: dict[int, str] = {}

    def _item(self, position: int) -> Item:
        return self._items.get(position, Saved(position))

    def pop(self) -> Value:
        """Take the top word. It is not forgotten until something is pushed over it."""
        self.height -= 1
        item = self._item(self.height)
        if not isinstance(item, Saved):
            return item
        if item.position not in self._loaded:
            self._loaded[item.position] = self._load(item.position)
        return self._loaded[item.position]

    def push(self, item: Item) -> None:
        self._items[self.height] = item
        self.height += 1

    def drop(self) -> None:
        self.height -= 1

    def dup(self, n: int) -> None:
        self.push(self._item(self.height - n))

    def swap(self, n: int) -> None:
        top, low = self.height - 1, self.height - 1 - n
        self._items[top], self._items[low] = self._item(low), self._item(top)

    def changes(self, height: int) -> Changes:
        """What memory lacks of the words below ``height``."""
        changed = []
        for position, item in self._items.items():
            if position < height and item != Saved(position):
                if isinstance(item, Saved) and item.position in self._loaded:
                    item = self._loaded[item.position]
                changed.append((position, item))
        return tuple(changed)

    def write(self, changes: Changes) -> None:
        """Write the words; the function must be left afterwards."""
        # All loads come first: a swap reads what it overwrites.
        values = [self._load(item.position) if isinstance(item, Saved) else item for _, item in changes]
        for (position, _), value in zip(changes, values, strict=True):
            self._b.do(f"store i256 {value}, ptr {self._slot(position)}, align 32")

    def fork(self) -> tuple[int, dict[int, Item], dict[int, str]]:
        """What `join` needs to undo everything after it."""
        return self.height, dict(self._items), dict(self._loaded)

    def join(self, state: tuple[int, dict[int, Item], dict[int, str]]) -> None:
        """Return to the state of a `fork`, in a block that does not come after what was written since."""
        self.height, self._items, self._loaded = state

    def _slot(self, position: int) -> str:
        return self._b.let(f"getelementptr i8, ptr %base, i64 {WORD_BYTES * position}")

    def _load(self, position: int) -> str:
        return self._b.let(f"load i256, ptr {self._slot(position)}, align 32")
