"""Changes of slots as native code recorded them (`vm.evm.layout.Change`), decoded only when the journal reads them.

Most executions end with nobody looking: a call throws its journal away, and of a transaction only the last values
are wanted, not what would undo each change.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence
from typing import Final

from chain.types import Address
from vm.evm.layout import SLOT_BYTES, UNDO_BYTES
from vm.journal import SlotChange

_ENTRY: Final = struct.Struct("<QQ16x32s32s32x")
_CHANGE: Final = struct.Struct("<QQQ8x32s")
assert (_ENTRY.size, _CHANGE.size) == (SLOT_BYTES, UNDO_BYTES)

Buffer = bytes | memoryview


class NativeChanges:
    """Implements `vm.journal.RecordedChanges` over the bytes of entries and changes."""

    __slots__ = ("_addresses", "_changes", "_entries", "_first", "_origin")

    def __init__(self, addresses: Sequence[Address], changes: Buffer, first: int, entries: Buffer, origin: int) -> None:
        """``addresses`` by half the tag; ``first`` numbers the changes, whose places count from ``origin``."""
        self._addresses = addresses
        self._changes = changes
        self._first = first
        self._entries = entries
        self._origin = origin

    @property
    def held_bytes(self) -> int:
        return len(self._changes) + len(self._entries)

    def changes(self) -> Iterator[SlotChange]:
        entry_of, entries, origin, number_of = _ENTRY.unpack_from, self._entries, self._origin, int.from_bytes
        addresses = self._addresses
        for number, (place, kept, was_cold, before) in enumerate(_CHANGE.iter_unpack(self._changes), self._first):
            tag, last, key, value = entry_of(entries, place - origin)
            is_only_read = before == value and last == number and not kept
            yield (
                addresses[tag >> 1],
                number_of(key, "little"),
                tag & 1 == 1,
                was_cold,
                None if is_only_read else number_of(before, "little"),
                number_of(value, "little"),
            )

    def written(self) -> Iterator[tuple[Address, int, int]]:
        entry_of, entries, origin, number_of = _ENTRY.unpack_from, self._entries, self._origin, int.from_bytes
        for place, _, _, before in _CHANGE.iter_unpack(self._changes):
            tag, _, key, value = entry_of(entries, place - origin)
            if before != value and not tag & 1:
                yield self._addresses[tag >> 1], number_of(key, "little"), number_of(value, "little")
