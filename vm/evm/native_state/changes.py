"""Changes of slots as native code recorded them (`vm.evm.layout.Change`), read into tables only when somebody looks.

Most executions end with nobody looking: a call throws its journal away, and of a transaction only the last values
are wanted, not what would undo each change.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from typing import Any, Final, NamedTuple

from chain.types import Address
from vm.evm.layout import SLOT_BYTES, UNDO_BYTES

_ENTRY: Final = struct.Struct("<QQ16x32s32s32x")
_CHANGE: Final = struct.Struct("<QQQ8x32s")
assert (_ENTRY.size, _CHANGE.size) == (SLOT_BYTES, UNDO_BYTES)

ABSENT: Final[Any] = object()
"""Stands in an undo entry for "the key was not there"."""

Buffer = bytes | memoryview

UndoEntries = list[tuple[Any, Any, Any]]
"""Container, key and what the container held."""


def put_back(container: Any, key: Any, previous: Any) -> None:
    """Put back what an entry remembers."""
    if previous is ABSENT:
        del container[key]
    else:
        container[key] = previous


class SlotTables(NamedTuple):
    """All that a journal holds of slots, as numbers."""

    storage: dict[Address, dict[int, int]]
    """Values now."""
    original: dict[Address, dict[int, int]]
    """Values when the transaction began, of slots that it changed."""
    transient: dict[tuple[Address, int], int]
    warm: dict[tuple[Address, int], bool]


class RawChanges:
    """What an execution did to slots. In an undo list it stands for all of it: ``(changes, None, ABSENT)``."""

    __slots__ = ("_addresses", "_changes", "_entries", "_first", "_origin", "_undo", "has_ended")

    def __init__(self, addresses: Sequence[Address], changes: Buffer, first: int, entries: Buffer, origin: int) -> None:
        """``addresses`` by half the tag; ``first`` numbers the changes, whose places count from ``origin``."""
        self._addresses = addresses
        self._changes = changes
        self._first = first
        self._entries = entries
        self._origin = origin
        self._undo: UndoEntries = []
        self.has_ended = False
        """Whether the transaction has, so that only the values of storage matter."""

    @property
    def held_bytes(self) -> int:
        """What it holds."""
        return len(self._changes) + len(self._entries)

    def read(self, tables: SlotTables, undo: UndoEntries | None = None) -> None:
        """Bring the tables up to date; ``undo`` gets what takes that back, by default this object keeps it."""
        if self.has_ended:
            self._read_values(tables.storage)
            return
        undo = self._undo if undo is None else undo
        entry_of, entries, origin, number_of = _ENTRY.unpack_from, self._entries, self._origin, int.from_bytes
        storage, original, transient, warm = tables
        last_tag = -1
        for number, (place, kept, was_cold, before) in enumerate(_CHANGE.iter_unpack(self._changes), self._first):
            tag, last, key, value = entry_of(entries, place - origin)
            if tag != last_tag:
                last_tag, address = tag, self._addresses[tag >> 1]
                if not tag & 1:
                    slots, originals = storage.setdefault(address, {}), original.setdefault(address, {})
            slot = number_of(key, "little")
            pair = (address, slot)
            if was_cold and pair not in warm:
                warm[pair] = True
                undo.append((warm, pair, ABSENT))
            if before == value and last == number and not kept:
                continue  # only read
            old = number_of(before, "little")
            if tag & 1:
                undo.append((transient, pair, old))
                transient[pair] = number_of(value, "little")
            else:
                originals.setdefault(slot, old)
                undo.append((slots, slot, old))
                slots[slot] = number_of(value, "little")

    def _read_values(self, storage: dict[Address, dict[int, int]]) -> None:
        entry_of, entries, origin, number_of = _ENTRY.unpack_from, self._entries, self._origin, int.from_bytes
        for place, _, _, before in _CHANGE.iter_unpack(self._changes):
            tag, _, key, value = entry_of(entries, place - origin)
            if before != value and not tag & 1:
                slots = storage.setdefault(self._addresses[tag >> 1], {})
                slots[number_of(key, "little")] = number_of(value, "little")

    def __delitem__(self, _: None) -> None:
        """Undo: take back what was read; nothing more will be."""
        self._changes = b""
        for entry in reversed(self._undo):
            put_back(*entry)
