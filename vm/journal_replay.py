"""What the ledger of native code needs of a journal: slots with all that decides their gas, and changes in bulk.

This module is a friend of `Journal`, whose undo list it takes apart and joins again.
"""

from __future__ import annotations

from typing import Any

from chain.types import Address
from vm.journal import Journal

UndoEntries = list[tuple[Any, Any, Any]]


def slot_of(journal: Journal, address: Address, slot: int) -> tuple[int, int, bool]:
    """Value of a slot, its value when the transaction began, and whether it is cold."""
    try:
        value = journal._storage[address][slot]
    except KeyError:
        value = journal.storage(address, slot)
    original = journal.original_storage(address, slot) if journal._original or journal._created else value
    return value, original, (address, slot) not in journal._warm_slots


def knows_all_slots(journal: Journal, address: Address, count: int) -> bool:
    """Whether only ``count`` slots of the account were ever looked at or warmed, and all others are 0."""
    slots = journal._storage.get(address, {})
    if len(slots) != count or any(a == address and s not in slots for a, s in journal._warm_slots):
        return False
    return address in journal._wiped or not journal._state.has_storage(address)


def replay_slot(journal: Journal, address: Address, slot: int, before: int, value: int) -> None:
    """Set a slot that held ``before``, whatever the journal knows of what it held since."""
    journal._original.setdefault(address, {}).setdefault(slot, before)
    slots = journal._slots(address)
    journal._undo.append((slots, slot, before))
    slots[slot] = value


def replay_transient(journal: Journal, address: Address, slot: int, before: int, value: int) -> None:
    """The same for a transient slot."""
    journal._undo.append((journal._transient, (address, slot), before))
    journal._transient[address, slot] = value


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
