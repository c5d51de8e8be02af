"""A map that forgets its least recently used values, bounded by their number and by their weight together."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable
from typing import Generic, TypeVar

K = TypeVar("K")
V = TypeVar("V")


class Lru(Generic[K, V]):
    """Thread safe. The value put last is always kept, however heavy it is.

    A value's weight must not change while it is in the map.
    """

    def __init__(
        self, weight_max: int, weigh: Callable[[V], int] = lambda _: 1, entries_max: int | None = None
    ) -> None:
        """``weigh`` gives a value's weight in the unit of ``weight_max``: bytes, for example, or 1 to count values."""
        self._weight_max = weight_max
        self._weigh = weigh
        self._entries_max = entries_max
        self._items: OrderedDict[K, V] = OrderedDict()
        self._lock = threading.Lock()
        self.weight = 0
        """Total weight of the values."""

    def __len__(self) -> int:
        return len(self._items)

    def get(self, key: K) -> V | None:
        """The value, which is now the most recently used one; None if it is not here. Takes no lock."""
        item = self._items.get(key)
        if item is not None:
            try:
                self._items.move_to_end(key)
            except KeyError:  # another thread has just dropped it
                pass
        return item

    def put(self, key: K, value: V) -> list[V]:
        """Keep a value, in place of the one with this key. Returns the values that had to go for it."""
        with self._lock:
            self._drop(key)
            self._items[key] = value
            self.weight += self._weigh(value)
            gone = []
            while len(self._items) > 1 and self._is_full():
                _, oldest = self._items.popitem(last=False)
                self.weight -= self._weigh(oldest)
                gone.append(oldest)
            return gone

    def drop(self, wanted: Callable[[K, V], bool]) -> None:
        """Forget every value that ``wanted`` accepts, by key and value."""
        with self._lock:
            for key, value in list(self._items.items()):  # a copy: `get` reorders in other threads
                if wanted(key, value):
                    self._drop(key)

    def pop(self, key: K) -> V | None:
        """Forget a value and return it; None if it is not here."""
        with self._lock:
            return self._drop(key)

    def values(self) -> list[V]:
        """All values, the least recently used first."""
        with self._lock:
            return list(self._items.values())

    def _drop(self, key: K) -> V | None:
        value = self._items.pop(key, None)
        if value is not None:
            self.weight -= self._weigh(value)
        return value

    def _is_full(self) -> bool:
        return self.weight > self._weight_max or (
            self._entries_max is not None and len(self._items) > self._entries_max
        )
