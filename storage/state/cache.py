"""A bounded map for values read from disk: cheap to hit, safe from any thread, roughly LRU."""

from __future__ import annotations

from typing import Generic, TypeVar

K = TypeVar("K")
V = TypeVar("V")


class ReadCache(Generic[K, V]):
    """Two generations: a full young one becomes the old one, and what is hit in the old one moves back.

    Holds at most twice ``generation_size`` entries. There is no lock: a race loses an entry, never an answer.
    """

    __slots__ = ("_generation_size", "_old", "_young")

    def __init__(self, generation_size: int) -> None:
        self._generation_size = generation_size
        self._young: dict[K, V] = {}
        self._old: dict[K, V] = {}

    def __len__(self) -> int:
        return len(self._young) + len(self._old)

    def get(self, key: K) -> V | None:
        """The value, None if not cached."""
        value = self._young.get(key)
        if value is None:
            value = self._old.get(key)
            if value is not None:
                self.put(key, value)
        return value

    def put(self, key: K, value: V) -> None:
        """Remember a value."""
        young = self._young
        if len(young) >= self._generation_size:
            self._old = young
            self._young = young = {}
        young[key] = value

    def copy(self) -> ReadCache[K, V]:
        """Another cache with the same entries now."""
        twin: ReadCache[K, V] = ReadCache(self._generation_size)
        twin._old, twin._young = self._old.copy(), self._young.copy()
        return twin
