"""A key-value store in memory with the durability of the real one: a batch is there whole, or not at all."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Iterator, Mapping

from storage.errors import StateStoreWriteFailed
from storage.io.cooperative import Pace, at_once


class SimSnapshot:
    """One moment of a `SimKv`."""

    __slots__ = ("_data", "_order")

    def __init__(self, data: dict[bytes, bytes]) -> None:
        self._data = data  # never changed after this: writes replace the store's dict
        self._order: list[bytes] | None = None

    def get(self, key: bytes) -> bytes | None:
        """See `storage.io.kv.KeyValueSnapshot`."""
        return self._data.get(key)

    def iterate(self, start: bytes, stop: bytes, reverse: bool = False) -> Iterator[tuple[bytes, bytes]]:
        """See `storage.io.kv.KeyValueSnapshot`."""
        order = self._order
        if order is None:
            order = self._order = sorted(self._data)
        low, high = bisect_left(order, start), bisect_left(order, stop)
        for at in range(high - 1, low - 1, -1) if reverse else range(low, high):
            yield order[at], self._data[order[at]]

    def close(self) -> None:
        """See `storage.io.kv.KeyValueSnapshot`."""


class SimKv:
    """The store for simulations: `copy` is what a crash leaves, `fail_writes_from` makes the disk fail.

    ``applies_failed_write`` decides whether the failing batch is on disk all the same: a write that raised
    may have happened, and recovery has to cope with both.
    """

    engine_name = "simulation"

    def __init__(self, data: Mapping[bytes, bytes] | None = None) -> None:
        self._snapshot = SimSnapshot(dict(data or {}))
        self.writes = 0
        """Batches written so far."""
        self.fail_writes_from: int | None = None
        """The batch with this number (from 0) and all later ones raise."""
        self.applies_failed_write = False

    def get(self, key: bytes) -> bytes | None:
        """See `storage.io.kv.KeyValueStore`."""
        return self._snapshot.get(key)

    def snapshot(self) -> SimSnapshot:
        """See `storage.io.kv.KeyValueStore`."""
        return self._snapshot

    def write(self, puts: Mapping[bytes, bytes], deletes: Iterable[bytes], pace: Pace = at_once) -> None:
        """See `storage.io.kv.KeyValueStore`."""
        fails = self.fail_writes_from is not None and self.writes >= self.fail_writes_from
        self.writes += 1
        if not fails or self.applies_failed_write:
            data = dict(self._snapshot._data)
            for key in pace(deletes):
                data.pop(key, None)
            data.update(puts)
            self._snapshot = SimSnapshot(data)
        if fails:
            raise StateStoreWriteFailed("simulated failure of a batch")

    def close(self) -> None:
        """See `storage.io.kv.KeyValueStore`."""

    def copy(self) -> SimKv:
        """What is on disk now: the store a restarted process finds after a crash."""
        return SimKv(self._snapshot._data)

    def items(self) -> dict[bytes, bytes]:
        """Everything stored, for tests."""
        return dict(self._snapshot._data)
