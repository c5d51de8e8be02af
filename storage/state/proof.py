"""Merkle proofs of accounts and slots after any readable block (EIP-1186).

Only the last checkpoint's trie is stored. The trie of another block is that one with the changes in between
applied, in memory and for this proof alone; so a proof costs about 20 us for each account that changed.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from chain.hashing import keccak256
from chain.types import Address, Hash32
from storage.errors import StateStoreCorrupt
from storage.kv import KeyValueSnapshot
from storage.state.apply import account_leaf, hashed_address, hashed_slot, slot_leaf
from storage.state.changes import changed_after
from storage.state.keys import ACCOUNT_NODE, STORAGE_NODE, StoredAccount
from storage.state.reader import StateView
from storage.state.store import stored_head
from storage.state.trie import Committer, NodeMap
from storage.state.verify import walk

SLOTS_MAX = 1_024
"""Slots one proof may ask for."""


@dataclass(frozen=True, slots=True)
class SlotProof:
    """A slot's value, and the nodes from the storage root to where it is, or would be."""

    slot: int
    value: int
    nodes: tuple[bytes, ...]


@dataclass(frozen=True, slots=True)
class AccountProof:
    """An account, and the nodes from the state root to where it is, or would be."""

    state_root: Hash32
    stored: StoredAccount
    nodes: tuple[bytes, ...]
    slots: tuple[SlotProof, ...]


def prove(view: StateView, address: Address, slots: Sequence[int]) -> AccountProof:
    """Proof of an account and some of its slots in the state of a view. Any thread.

    Raises ValueError beyond `SLOTS_MAX`, `StateStoreCorrupt`.
    """
    if len(slots) > SLOTS_MAX:
        raise ValueError(f"{len(slots)} slots; the limit is {SLOTS_MAX}")
    epoch = view.epoch
    base = StateView(replace(epoch, layers=()), epoch.floor)
    changed = changed_after(epoch, view.number, in_layers_only_after=-2)
    updates = []
    for other in changed:
        before, after = base.stored_account(other), view.stored_account(other)
        if before != after:
            updates.append((hashed_address(other).hex(), account_leaf(after)))
    load, root = _changed_trie(epoch.snapshot, ACCOUNT_NODE, stored_head(epoch.snapshot)[1], updates)
    nodes, leaf = walk(load, root, hashed_address(address).hex())
    stored = view.stored_account(address)
    if leaf != account_leaf(stored):
        raise StateStoreCorrupt(f"account 0x{address.hex()} differs from the trie at block {view.number}")

    slot_updates = []
    for slot in changed.get(address, ()):
        value = view.storage(address, slot)
        if value != base.storage(address, slot):
            slot_updates.append((hashed_slot(slot), slot_leaf(value)))
    load, storage_root = _changed_trie(
        epoch.snapshot, STORAGE_NODE + keccak256(address), base.stored_account(address).root, slot_updates
    )
    if storage_root != stored.root:
        raise StateStoreCorrupt(f"the storage of 0x{address.hex()} has another root at block {view.number}")
    proofs = []
    for slot in slots:
        slot_nodes, _ = walk(load, storage_root, hashed_slot(slot))
        proofs.append(SlotProof(slot, view.storage(address, slot), tuple(slot_nodes)))
    return AccountProof(root, stored, tuple(nodes), tuple(proofs))


def _changed_trie(
    snapshot: KeyValueSnapshot, prefix: bytes, root: Hash32, updates: list[tuple[str, bytes]]
) -> tuple[Callable[[str], bytes | None], Hash32]:
    """Reader of a stored trie with some updates applied, and its root."""
    changed: NodeMap = {}

    def stored(path: str) -> bytes | None:
        return snapshot.get(prefix + path.encode())

    def load(path: str) -> bytes | None:
        return changed[path] if path in changed else stored(path)

    root = Committer(stored, changed).commit(root, sorted(updates)) if updates else root
    return load, root
