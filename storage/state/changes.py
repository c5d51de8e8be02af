"""The keys that changed between two blocks, from which rewinds to an earlier block and its proofs start."""

from __future__ import annotations

from collections import defaultdict

from chain.types import Address
from storage.errors import StateStoreCorrupt
from storage.state.apply import (
    DecodedBranches,
    TrieWriter,
    account_leaf,
    hashed_address,
    hashed_slot,
    slot_leaf,
)
from storage.state.batch import touched_keys
from storage.state.keys import ACCOUNT
from storage.state.overlay import Layer
from storage.state.reader import Epoch, StateView

Changed = dict[Address, set[int]]
"""Addresses that changed, and their slots that did."""


def changed_after(epoch: Epoch, number: int, *, in_layers_only_after: int) -> Changed:
    """Keys which stored blocks changed after ``number``, and layers after ``in_layers_only_after``.

    Raises `StateStoreCorrupt`.
    """
    changed: defaultdict[Address, set[int]] = defaultdict(set)
    for block in range(number + 1, epoch.floor + 1):
        for key in touched_keys(epoch.snapshot, block):
            slots = changed[Address(key[1:21])]
            if key[:1] != ACCOUNT:
                slots.add(int.from_bytes(key[21:], "big"))
    for layer in epoch.layers:
        for address, account_versions in layer.accounts.copy().items():
            if account_versions[-1][0] > in_layers_only_after:
                changed[address]
        for address, versions_by_slot in layer.slots.copy().items():
            for slot, slot_versions in versions_by_slot.copy().items():
                if slot_versions[-1][0] > in_layers_only_after:
                    changed[address].add(slot)
    return dict(changed)


def rewound_layer(epoch: Epoch, head: int, number: int, branches: DecodedBranches) -> Layer:
    """A layer to put over the epoch's that makes block ``number`` the head again.

    It holds the values at ``number`` of all that changed since, so it hides versions of later blocks. Blocks
    that follow add to it. Raises `StateStoreCorrupt`.
    """
    current, target = StateView(epoch, head), StateView(epoch, number)
    layer = Layer(number, epoch.layers[-1].root)
    tries = TrieWriter(epoch, layer, epoch.layers[::-1], branches)
    account_updates = []
    for address, slots in changed_after(epoch, number, in_layers_only_after=number).items():
        before, after = current.stored_account(address), target.stored_account(address)
        updates = []
        for slot in slots:
            value = target.storage(address, slot)
            layer.set_slot(address, slot, value)
            if current.storage(address, slot) != value:
                updates.append((hashed_slot(slot), slot_leaf(value)))
        root = tries.commit_storage(address, before.root, updates) if updates else before.root
        if root != after.root:
            raise StateStoreCorrupt(
                f"back at block {number}, the storage of 0x{address.hex()} has another root"
            )
        layer.set_account(address, after)
        if before != after:
            account_updates.append((hashed_address(address).hex(), account_leaf(after)))
    tries.commit_accounts(account_updates)
    return layer


def flatten(layers: tuple[Layer, ...]) -> Layer:
    """One layer that equals several, lowest first. A layer cuts off what lower ones have after its floor."""
    if len(layers) == 1:
        return layers[0]
    flat = Layer(min(layer.floor for layer in layers), layers[-1].root)
    for layer in layers:
        for address, account_versions in layer.accounts.items():
            kept = [v for v in flat.accounts.get(address, ()) if v[0] <= layer.floor]
            flat.accounts[address] = kept + account_versions[1:] if kept else account_versions
        for address, slots in layer.slots.items():
            flat_slots = flat.slots.setdefault(address, {})
            for slot, slot_versions in slots.items():
                kept_slots = [v for v in flat_slots.get(slot, ()) if v[0] <= layer.floor]
                flat_slots[slot] = kept_slots + slot_versions[1:] if kept_slots else slot_versions
        flat.codes.update(layer.codes)
        flat.account_nodes.update(layer.account_nodes)
        for owner, nodes in layer.storage_nodes.items():
            flat.storage_nodes.setdefault(owner, {}).update(nodes)
    return flat
