"""Changes of the blocks after the last checkpoint, in memory, readable at each of those blocks.

A layer keeps for every key the list of its versions, starting with a base version: the value at the block
the layer stands on. A reader at block N takes the last version not after N, so later blocks do not exist
for it; and each version's predecessor is the change set entry of its block.

The writer thread alone adds to a layer. It inserts a key's first two versions at once and appends later
ones, so readers need no lock (dict and list operations are atomic).
"""

from __future__ import annotations

from bisect import bisect_left

from chain.state import Account
from chain.types import Address, Hash32
from storage.state.keys import StoredAccount
from storage.state.trie import NodeMap

AccountVersion = tuple[int, Account | None, Hash32]
"""Block number, account, storage root."""
SlotVersion = tuple[int, int]
"""Block number, value."""

ACCOUNT_VERSION_BYTES = 320
SLOT_VERSION_BYTES = 200
NODE_BYTES = 500
"""Estimates of what one entry costs in memory, dict and object headers included."""


class Layer:
    """Versions of the blocks after ``floor``."""

    __slots__ = (
        "account_nodes",
        "accounts",
        "codes",
        "floor",
        "root",
        "size_in_bytes",
        "slots",
        "storage_nodes",
    )

    def __init__(self, floor: int, root: Hash32) -> None:
        self.floor = floor
        """The block below this layer; -1 below genesis."""
        self.root = root
        """State root after the last block in the layer."""
        self.accounts: dict[Address, list[AccountVersion]] = {}
        self.slots: dict[Address, dict[int, list[SlotVersion]]] = {}
        self.codes: dict[Hash32, bytes] = {}
        self.account_nodes: NodeMap = {}
        self.storage_nodes: dict[Hash32, NodeMap] = {}
        """By keccak(address)."""
        self.size_in_bytes = 0
        """Estimate for versions and codes."""

    def put_account(self, address: Address, number: int, before: StoredAccount, after: StoredAccount) -> None:
        """Add the version of block ``number``; ``before`` is the value until then."""
        versions = self.accounts.get(address)
        if versions is None:
            self.accounts[address] = [(self.floor, *before), (number, *after)]
            self.size_in_bytes += 2 * ACCOUNT_VERSION_BYTES
        else:
            versions.append((number, *after))
            self.size_in_bytes += ACCOUNT_VERSION_BYTES

    def put_slot(self, address: Address, slot: int, number: int, before: int, after: int) -> None:
        """Add the version of block ``number``; ``before`` is the value until then."""
        slots = self.slots.get(address)
        if slots is None:
            slots = self.slots[address] = {}
        versions = slots.get(slot)
        if versions is None:
            slots[slot] = [(self.floor, before), (number, after)]
            self.size_in_bytes += 2 * SLOT_VERSION_BYTES
        else:
            versions.append((number, after))
            self.size_in_bytes += SLOT_VERSION_BYTES

    def set_account(self, address: Address, stored: StoredAccount) -> None:
        """Set the base version of an account that the layer does not hold yet."""
        self.accounts[address] = [(self.floor, *stored)]
        self.size_in_bytes += ACCOUNT_VERSION_BYTES

    def set_slot(self, address: Address, slot: int, value: int) -> None:
        """Set the base version of a slot that the layer does not hold yet."""
        self.slots.setdefault(address, {})[slot] = [(self.floor, value)]
        self.size_in_bytes += SLOT_VERSION_BYTES

    def put_code(self, code_hash: Hash32, code: bytes) -> None:
        """Add byte code."""
        if code_hash not in self.codes:
            self.codes[code_hash] = code
            self.size_in_bytes += len(code) + 200

    def advance(self, root: Hash32) -> None:
        """Note the state root after one more block."""
        self.root = root

    def estimate_bytes(self) -> int:
        """About how much memory the layer takes."""
        nodes = len(self.account_nodes) + sum(len(nodes) for nodes in list(self.storage_nodes.values()))
        return self.size_in_bytes + nodes * NODE_BYTES


def account_at(versions: list[AccountVersion], number: int) -> AccountVersion:
    """The version a reader at block ``number`` sees; the layer must stand on that block or below."""
    newest = versions[-1]
    if newest[0] <= number:
        return newest
    return versions[bisect_left(versions, (number + 1,)) - 1]


def slot_at(versions: list[SlotVersion], number: int) -> int:
    """The value a reader at block ``number`` sees; the layer must stand on that block or below."""
    newest = versions[-1]
    if newest[0] <= number:
        return newest[1]
    return versions[bisect_left(versions, (number + 1,)) - 1][1]
