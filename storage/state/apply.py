"""Applies one block's delta to the newest layer: versions, trie nodes, new state root. Memory only."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Sequence
from functools import lru_cache

from chain.hashing import EMPTY_ROOT, keccak256
from chain.state import EMPTY_ACCOUNT, StateDelta
from chain.trie import encode_account
from chain.types import Address, Hash32
from storage.io.kv import KeyValueSnapshot
from storage.state.keys import ACCOUNT_NODE, NO_ACCOUNT, STORAGE_NODE, StoredAccount
from storage.state.overlay import Layer
from storage.state.reader import Epoch, StateView
from storage.state.trie import BranchCache, NodeMap, TrieCommitter, encode_string

HASHED_KEYS_CACHED = 65_536
STORAGE_TRIES_CACHED = 16
STORAGE_BRANCHES_CACHED = 4_096

_AFTER_PATHS = b"g"
"""Sorts behind every path digit."""


@lru_cache(maxsize=HASHED_KEYS_CACHED)
def hashed_address(address: Address) -> Hash32:
    """Keccak-256 of an address."""
    return keccak256(address)


@lru_cache(maxsize=HASHED_KEYS_CACHED)
def hashed_slot(slot: int) -> str:
    """Keccak-256 of a slot number, in hex: its key in the storage trie."""
    return keccak256(slot.to_bytes(32, "big")).hex()


def account_leaf(stored: StoredAccount) -> bytes:
    """RLP of an account as the state trie holds it (Yellow Paper 4.1); empty for no account."""
    return b"" if stored.account is None else encode_account(stored.account, stored.root)


def slot_leaf(value: int) -> bytes:
    """RLP of a slot value as a storage trie holds it; empty for 0."""
    return encode_string(value.to_bytes((value.bit_length() + 7) // 8, "big")) if value else b""


def node_loader(
    snapshot: KeyValueSnapshot, prefix: bytes, lower: list[NodeMap]
) -> Callable[[str], bytes | None]:
    """Reads a trie's nodes below the newest layer: other layers' maps, newest first, then the store."""
    get = snapshot.get

    def load(path: str) -> bytes | None:
        for nodes in lower:
            if path in nodes:
                return nodes[path]
        return get(prefix + path.encode())

    return load


class DecodedBranches:
    """Upper branches of the account trie and of the storage tries last changed, decoded, between blocks."""

    def __init__(self) -> None:
        self.accounts: BranchCache = {}
        self._storages: OrderedDict[Hash32, BranchCache] = OrderedDict()

    def storage(self, owner: Hash32) -> BranchCache:
        """The cache for the storage trie of the account with this hashed address."""
        branches = self._storages.get(owner)
        if branches is None:
            branches = self._storages[owner] = {}
        else:
            self._storages.move_to_end(owner)
        return branches

    def trim(self) -> None:
        """Forget storage tries that were not changed for longest, until the rest is within bounds."""
        storages = self._storages
        while len(storages) > STORAGE_TRIES_CACHED or (
            len(storages) > 1 and sum(map(len, storages.values())) > STORAGE_BRANCHES_CACHED
        ):
            storages.popitem(last=False)


class TrieWriter:
    """Updates the tries in ``layer``, which is above the epoch's ``lower`` layers (newest first)."""

    def __init__(self, epoch: Epoch, layer: Layer, lower: Sequence[Layer], branches: DecodedBranches) -> None:
        self._snapshot = epoch.snapshot
        self._layer = layer
        self._lower = lower
        self._branches = branches

    def commit_accounts(self, updates: list[tuple[str, bytes]]) -> Hash32:
        """Update the account trie; returns the new state root and notes it in the layer."""
        updates.sort()
        load = node_loader(self._snapshot, ACCOUNT_NODE, [layer.account_nodes for layer in self._lower])
        committer = TrieCommitter(load, self._layer.account_nodes, self._branches.accounts)
        self._layer.advance(committer.commit(self._layer.root, updates))
        self._branches.trim()
        return self._layer.root

    def commit_storage(self, address: Address, root: Hash32, updates: list[tuple[str, bytes]]) -> Hash32:
        """Update one storage trie; returns its new root."""
        updates.sort()
        owner = hashed_address(address)
        nodes = self._layer.storage_nodes.setdefault(owner, {})
        lower = [layer.storage_nodes[owner] for layer in self._lower if owner in layer.storage_nodes]
        load = node_loader(self._snapshot, STORAGE_NODE + owner, lower)
        return TrieCommitter(load, nodes, self._branches.storage(owner)).commit(root, updates)

    def delete_storage(self, address: Address) -> None:
        """Mark all nodes of one storage trie as deleted."""
        owner = hashed_address(address)
        prefix = STORAGE_NODE + owner
        nodes = self._layer.storage_nodes.setdefault(owner, {})
        for key, _ in self._snapshot.iterate(prefix, prefix + _AFTER_PATHS):
            nodes[key[33:].decode()] = None
        for layer in self._lower:
            nodes.update(dict.fromkeys(layer.storage_nodes.get(owner, ())))
        nodes.update(dict.fromkeys(list(nodes)))


class BlockApplication:
    """One block's delta on its way into the newest layer. For the writer thread only."""

    def __init__(self, epoch: Epoch, before: StateView, number: int, branches: DecodedBranches) -> None:
        self._before = before
        self._number = number
        self._layer: Layer = epoch.layers[-1]
        self._tries = TrieWriter(epoch, self._layer, epoch.layers[-2::-1], branches)

    def apply(self, delta: StateDelta) -> Hash32:
        """Add all changes to the layer; returns the new state root. Raises `StateStoreCorrupt`."""
        for code_hash, code in delta.codes.items():
            self._layer.put_code(code_hash, code)
        updates = []
        for address in {*delta.accounts, *delta.storage, *delta.wiped}:
            before = self._before.stored_account(address)
            after = self._apply_account(address, before, delta)
            if after != before:
                self._layer.put_account(address, self._number, before, after)
                updates.append((hashed_address(address).hex(), account_leaf(after)))
        return self._tries.commit_accounts(updates)

    def _apply_account(self, address: Address, before: StoredAccount, delta: StateDelta) -> StoredAccount:
        """Apply the storage changes of one account; returns its new record."""
        account = delta.accounts.get(address, before.account)
        written = delta.storage.get(address, {})
        if account is None:
            if address in delta.accounts or not any(written.values()):
                written = {}
            else:
                account = EMPTY_ACCOUNT
        root = before.root
        cleared: dict[int, int] = {}
        if root != EMPTY_ROOT and (account is None or address in delta.wiped):
            cleared = self._before.slots_of(address)
            self._tries.delete_storage(address)
            root = EMPTY_ROOT
        updates = []
        for slot, value in written.items():
            previous = cleared.pop(slot, None) if cleared else None
            was_cleared = previous is not None
            if previous is None:
                previous = self._before.storage(address, slot)
            if value != previous:
                self._layer.put_slot(address, slot, self._number, previous, value)
            if value != (0 if was_cleared else previous):
                updates.append((hashed_slot(slot), slot_leaf(value)))
        for slot, previous in cleared.items():
            self._layer.put_slot(address, slot, self._number, previous, 0)
        if updates:
            root = self._tries.commit_storage(address, root, updates)
        return StoredAccount(account, root) if account is not None else NO_ACCOUNT
