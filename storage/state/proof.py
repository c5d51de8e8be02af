"""Merkle proofs of accounts and slots after any readable block (EIP-1186).

Only the last checkpoint's trie is stored. The trie of another block is that one with the changes in between
applied, in memory and for this proof alone; so a proof costs about 20 us for each account that changed.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from chain.hashing import keccak256
from chain.state import EMPTY_ACCOUNT, OverlayState, StateDelta
from chain.types import Address, Hash32
from storage.errors import StateStoreCorrupt
from storage.io.kv import KeyValueSnapshot
from storage.state.apply import account_leaf, hashed_address, hashed_slot, slot_leaf
from storage.state.changes import changed_after
from storage.state.keys import ACCOUNT_NODE, NO_ACCOUNT, STORAGE_NODE, StoredAccount
from storage.state.reader import StateView
from storage.state.store import stored_head
from storage.state.trie import NodeMap, TrieCommitter
from storage.state.verify import walk

SLOTS_MAX = 1_024
"""Most slots in one proof."""


@dataclass(frozen=True, slots=True)
class SlotProof:
    """A slot's value, and the nodes from the storage root towards it, whether or not it is set."""

    slot: int
    value: int
    nodes: tuple[bytes, ...]


@dataclass(frozen=True, slots=True)
class AccountProof:
    """An account, and the nodes from the state root towards it, whether or not it exists."""

    state_root: Hash32
    stored: StoredAccount
    nodes: tuple[bytes, ...]
    slots: tuple[SlotProof, ...]


def prove(
    view: StateView, address: Address, slots: Sequence[int], delta: StateDelta | None = None
) -> AccountProof:
    """Proof of an account and some of its slots in the state of a view, with ``delta`` applied. Any thread.

    Raises ValueError beyond `SLOTS_MAX`, `StateStoreCorrupt`.
    """
    if len(slots) > SLOTS_MAX:
        raise ValueError(f"{len(slots)} slots; the limit is {SLOTS_MAX}")
    tries = _Tries(view, delta or StateDelta())
    load, root = tries.accounts()
    nodes, leaf = walk(load, root, hashed_address(address).hex())
    stored = tries.stored_account(address)
    if leaf != account_leaf(stored):
        raise StateStoreCorrupt(f"account 0x{address.hex()} differs from the trie at block {view.number}")
    load, storage_root = tries.storage(address)
    if storage_root != stored.root:
        raise StateStoreCorrupt(f"the storage of 0x{address.hex()} has another root at block {view.number}")
    proofs = []
    for slot in slots:
        slot_nodes, _ = walk(load, storage_root, hashed_slot(slot))
        proofs.append(SlotProof(slot, tries.after.storage(address, slot), tuple(slot_nodes)))
    return AccountProof(root, stored, tuple(nodes), tuple(proofs))


def root_after(view: StateView, delta: StateDelta) -> Hash32:
    """State root of a view with ``delta`` applied. Any thread.

    Raises `StateStoreCorrupt`.
    """
    return _Tries(view, delta).accounts()[1]


class _Tries:
    """The tries of a view's state with a delta applied."""

    def __init__(self, view: StateView, delta: StateDelta) -> None:
        self._view = view
        self._delta = delta
        self._epoch = view.epoch
        self._base = StateView(replace(self._epoch, layers=()), self._epoch.floor)
        self.after = OverlayState(view, delta)
        self._changed = changed_after(self._epoch, view.number, in_layers_only_after=-2)
        for address in {*delta.accounts, *delta.storage, *delta.wiped}:
            self._changed.setdefault(address, set()).update(delta.storage.get(address, ()))

    def accounts(self) -> tuple[Callable[[str], bytes | None], Hash32]:
        """Reader of the account trie, and its root."""
        updates = []
        for address in self._changed:
            before, after = self._base.stored_account(address), self.stored_account(address)
            if before != after:
                updates.append((hashed_address(address).hex(), account_leaf(after)))
        return _changed_trie(self._epoch.snapshot, ACCOUNT_NODE, stored_head(self._epoch.snapshot)[1], updates)

    def stored_account(self, address: Address) -> StoredAccount:
        """The account with its storage root."""
        before, delta = self._view.stored_account(address), self._delta
        if address not in delta.accounts and address not in delta.storage and address not in delta.wiped:
            return before
        account = delta.accounts.get(address, before.account)
        if account is None:
            if address in delta.accounts or not any(delta.storage.get(address, {}).values()):
                return NO_ACCOUNT
            account = EMPTY_ACCOUNT
        if address not in delta.storage and address not in delta.wiped:
            return StoredAccount(account, before.root)
        return StoredAccount(account, self.storage(address)[1])

    def storage(self, address: Address) -> tuple[Callable[[str], bytes | None], Hash32]:
        """Reader of an account's storage trie, and its root."""
        slots = set(self._changed.get(address, ()))
        is_deleted = self._delta.accounts.get(address, EMPTY_ACCOUNT) is None
        if is_deleted or address in self._delta.wiped:
            slots.update(self._view.slots_of(address))
        updates = []
        for slot in slots:
            value = 0 if is_deleted else self.after.storage(address, slot)
            if value != self._base.storage(address, slot):
                updates.append((hashed_slot(slot), slot_leaf(value)))
        root = self._base.stored_account(address).root
        return _changed_trie(self._epoch.snapshot, STORAGE_NODE + keccak256(address), root, updates)


def _changed_trie(
    snapshot: KeyValueSnapshot, prefix: bytes, root: Hash32, updates: list[tuple[str, bytes]]
) -> tuple[Callable[[str], bytes | None], Hash32]:
    """Reader of a stored trie with some updates applied, and its root."""
    changed: NodeMap = {}

    def stored(path: str) -> bytes | None:
        return snapshot.get(prefix + path.encode())

    def load(path: str) -> bytes | None:
        return changed[path] if path in changed else stored(path)

    root = TrieCommitter(stored, changed).commit(root, sorted(updates)) if updates else root
    return load, root
