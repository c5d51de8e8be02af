"""The table of warm storage slots that native code reads and writes, and its way back into the journal."""

from __future__ import annotations

import ctypes
import struct
from itertools import count
from typing import Final

from chain.types import Address
from vm.evm.buffers import allocate
from vm.evm.layout import ALIGNMENT, SLOT_TABLE_BYTES, SlotEntry, SlotTable
from vm.journal import Journal

_ENTRY: Final = struct.Struct("<QQ16x32s32s32s")
_HEADER: Final = struct.Struct("<Qq")
_DIRTY: Final = int(SlotEntry.DIRTY)
_SLOT: Final = int(SlotEntry.SLOT)
_VALUE: Final = int(SlotEntry.VALUE)
_LIST: Final = int(SlotTable.DIRTY_LIST)

_tags = count(1)
"""Never given twice in a process, so entries of earlier executions match nothing."""


class SlotCache:
    """One table.

    Writes stay in it only while the frame that made them runs without interruption: they reach the journal
    before another frame begins or the frame ends well, and are forgotten when it fails.
    """

    __slots__ = ("_buffer", "_tags", "_view", "address", "header")

    def __init__(self) -> None:
        self._buffer = allocate(SLOT_TABLE_BYTES, ALIGNMENT)
        self.address = ctypes.addressof(self._buffer)
        self._view = memoryview(self._buffer).cast("B")
        self.header = self._view[:16].cast("Q")
        """First word: how many entries wait to be written back."""
        self._tags: dict[Address, int] = {}

    def tag(self, address: Address) -> int:
        """The tag of an account's entries."""
        tag = self._tags.get(address)
        if tag is None:
            tag = self._tags[address] = next(_tags)
        return tag

    def forget(self, address: Address | None = None) -> None:
        """Drop all entries, or one account's, by never using their tags again. None may be dirty."""
        assert not self.header[0]
        if address is None:
            self._tags.clear()
        else:
            self._tags.pop(address, None)

    def fill(self, entry: int, tag: int, slot: bytes, value: bytes, original: bytes) -> None:
        """Put a warm slot into the (clean) entry at this offset; all numbers little-endian."""
        _ENTRY.pack_into(self._view, entry, tag, 0, slot, value, original)

    def is_dirty(self, entry: int) -> bool:
        """Whether the entry must be written back before it is filled again."""
        return self._view[entry + _DIRTY] != 0

    def _take_dirty(self) -> tuple[int, ...]:
        """Offsets of the dirty entries, which are clean from now on."""
        entries = struct.unpack_from(f"<{self.header[0]}I", self._view, _LIST)
        for entry in entries:
            self._view[entry + _DIRTY] = 0
        return entries

    def write_back(self, journal: Journal, address: Address) -> None:
        """Bring all writes, which are the account's, and their refund into the journal."""
        view = self._view
        _, refund = _HEADER.unpack_from(view)
        for entry in self._take_dirty():
            slot = int.from_bytes(view[entry + _SLOT : entry + _SLOT + 32], "little")
            value = int.from_bytes(view[entry + _VALUE : entry + _VALUE + 32], "little")
            journal.set_storage(address, slot, value)
        if refund:
            journal.add_refund(refund)
        _HEADER.pack_into(view, 0, 0, 0)

    def discard(self) -> None:
        """Forget all writes and all entries: the frame failed."""
        if self.header[0]:
            self._take_dirty()
            _HEADER.pack_into(self._view, 0, 0, 0)
        self._tags.clear()
