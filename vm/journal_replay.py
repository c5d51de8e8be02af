"""What the ledger of native code needs of a journal: slots with all that decides their gas, and changes in bulk.

This module is a friend of `Journal`, whose undo list it takes apart and joins again.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from chain.types import Address
from vm.journal import _ABSENT, Journal

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


class Containers(NamedTuple):
    """What changes of slots are written to, by somebody who keeps the undo list right."""

    undo: UndoEntries
    warm_slots: dict[tuple[Address, int], bool]
    transient: dict[tuple[Address, int], int]
    absent: object
    """In the undo list: there was no such key."""


def containers_of(journal: Journal) -> Containers:
    """Those of all accounts."""
    return Containers(journal._undo, journal._warm_slots, journal._transient, _ABSENT)


def slots_of(journal: Journal, address: Address) -> tuple[dict[int, int], dict[int, int]]:
    """An account's slots, and what those that changed in this transaction held when it began."""
    return journal._slots(address), journal._original.setdefault(address, {})


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
