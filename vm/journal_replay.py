"""What the ledger of native code needs of a journal: slots with all that decides their gas, and changes in bulk.

This module is a friend of `Journal`, whose undo list it takes apart and joins again.
"""

from __future__ import annotations

from typing import Final

from chain.types import Address
from vm.evm.native_state.changes import RawChanges, UndoEntries
from vm.journal import Journal

ENTRY_BYTES: Final = 400
"""What a change and the slot or account it is of are taken to need. Measured: 145 bytes for a cold account that was
looked at, 250 for a slot that was written, and up to 515 for a moment while a table of them is made larger."""


def slot_of(journal: Journal, address: Address, slot: int) -> tuple[int, int, bool]:
    """Value of a slot, its value when the transaction began, and whether it is cold."""
    slots = journal._slots
    try:
        value = slots.storage[address][slot]
    except KeyError:
        value = journal.storage(address, slot)
    original = journal.original_storage(address, slot) if slots.original or journal._created else value
    return value, original, (address, slot) not in slots.warm


def held_bytes(journal: Journal) -> int:
    """What the changes of the transaction take, roughly. Any thread."""
    told = sum(changes.held_bytes for changes in tuple(journal._unread))
    logs = sum(len(part) if isinstance(part, bytes) else len(part.data) for part in tuple(journal._log_parts))
    return ENTRY_BYTES * (len(journal._undo) + len(journal._accounts)) + told + logs


def knows_all_slots(journal: Journal, address: Address, count: int) -> bool:
    """Whether only ``count`` slots of the account were ever looked at or warmed, and all others are 0."""
    slots = journal._slots.storage.get(address, {})
    if len(slots) != count or any(a == address and s not in slots for a, s in journal._slots.warm):
        return False
    return address in journal._wiped or not journal._state.has_storage(address)


def read_changes(journal: Journal, changes: RawChanges) -> None:
    """Read them at once, while native code still has them, with an entry in the undo list for each."""
    changes.read(journal._slots, journal._undo)


def cut_undo(journal: Journal, checkpoint: int) -> UndoEntries:
    """Take what undoes the changes since the checkpoint off the journal; `join_undo` puts it back."""
    entries = journal._undo[checkpoint:]
    del journal._undo[checkpoint:]
    return entries


def join_undo(journal: Journal, entries: UndoEntries) -> int:
    """Put entries back; the checkpoint before them."""
    checkpoint = len(journal._undo)
    journal._undo += entries
    return checkpoint
