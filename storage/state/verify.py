"""Checks that the stored state belongs to its root: paths of the tries, and the flat values beside them."""

from __future__ import annotations

from collections.abc import Callable
from random import Random

from chain.hashing import EMPTY_ROOT, keccak256
from chain.trie import EMPTY_REFERENCE, secure_trie_root, storage_root_of
from chain.types import Address, Hash32
from storage.errors import StateStoreCorrupt
from storage.io.kv import KeyValueSnapshot
from storage.state.apply import account_leaf, slot_leaf
from storage.state.keys import (
    ACCOUNT,
    ACCOUNT_NODE,
    SLOT,
    STORAGE_NODE,
    StoredAccount,
    decode_account,
    decode_slot,
)
from storage.state.trie import split_node, string_payload, unpack_path

REPETITIONS_MAX = 100
"""Accounts in a row that were checked before."""
_DIGITS = "0123456789abcdef"


def walk(load: Callable[[str], bytes | None], root: Hash32, key: str) -> tuple[list[bytes], bytes]:
    """Nodes from the root towards a hex key, without embedded ones, and the key's value, empty if none.

    Every node on the way is hashed. Raises `StateStoreCorrupt`.
    """
    nodes: list[bytes] = []
    if root == EMPTY_ROOT:
        return nodes, b""
    path, ref = "", b"\xa0" + root
    while True:
        node = load(path)
        if node is None:
            raise StateStoreCorrupt(f"trie node at path '{path}' is missing")
        if (keccak256(node) != ref[1:]) if len(ref) == 33 else (node != ref):
            raise StateStoreCorrupt(f"trie node at path '{path}' is not the one its parent refers to")
        if len(ref) == 33:
            nodes.append(node)
        items = split_node(node)
        if len(items) == 17:
            digit = key[len(path)]
            path, ref = path + digit, items[_DIGITS.index(digit)]
            if ref == EMPTY_REFERENCE:
                return nodes, b""
            continue
        rest, is_leaf = unpack_path(items[0])
        if not key.startswith(rest, len(path)):
            return nodes, b""
        if is_leaf:
            return nodes, string_payload(items[1])
        path, ref = path + rest, items[1]


def _loader(snapshot: KeyValueSnapshot, prefix: bytes) -> Callable[[str], bytes | None]:
    return lambda path: snapshot.get(prefix + path.encode())


def _first(snapshot: KeyValueSnapshot, prefix: bytes, point: bytes) -> tuple[bytes, bytes] | None:
    """The first pair under a prefix at or after a random point, or the prefix's first."""
    end = prefix + b"\xff" * 54
    for start in (prefix + point, prefix):
        for pair in snapshot.iterate(start, end):
            return pair
    return None


def check_account(snapshot: KeyValueSnapshot, root: Hash32, address: Address, stored: StoredAccount) -> None:
    """Compare an account's flat record with the trie. Raises `StateStoreCorrupt`."""
    _, leaf = walk(_loader(snapshot, ACCOUNT_NODE), root, keccak256(address).hex())
    if leaf != account_leaf(stored):
        raise StateStoreCorrupt(f"account 0x{address.hex()} differs from the trie")


def check_slot(snapshot: KeyValueSnapshot, root: Hash32, address: Address, slot: int, value: int) -> None:
    """Compare a slot's flat value with the storage trie. Raises `StateStoreCorrupt`."""
    owner = keccak256(address)
    _, leaf = walk(_loader(snapshot, STORAGE_NODE + owner), root, keccak256(slot.to_bytes(32, "big")).hex())
    if leaf != slot_leaf(value):
        raise StateStoreCorrupt(f"slot {slot:#x} of 0x{address.hex()} differs from its trie")


def check_sample(snapshot: KeyValueSnapshot, root: Hash32, samples: int, rng: Random) -> None:
    """Walk random trie paths; compare random accounts, and a slot of each, with the tries.

    Ends early where the same few accounts come again and again: the state is small. Raises `StateStoreCorrupt`.
    """
    load = _loader(snapshot, ACCOUNT_NODE)
    seen: set[Address] = set()
    again = 0
    for _ in range(samples):
        if again == REPETITIONS_MAX:
            return
        walk(load, root, rng.randbytes(32).hex())
        pair = _first(snapshot, ACCOUNT, rng.randbytes(20))
        if pair is None:
            if root != EMPTY_ROOT:
                raise StateStoreCorrupt("the state has a root but no accounts")
            return
        address, stored = Address(pair[0][1:]), decode_account(pair[1])
        check_account(snapshot, root, address, stored)
        again = again + 1 if address in seen else 0
        seen.add(address)
        slot = _first(snapshot, SLOT + address, rng.randbytes(32))
        if (slot is None) != (stored.root == EMPTY_ROOT):
            raise StateStoreCorrupt(f"slots and storage root of 0x{address.hex()} disagree")
        if slot is not None:
            number = int.from_bytes(slot[0][21:], "big")
            check_slot(snapshot, stored.root, address, number, decode_slot(slot[1]))


def recompute_root(snapshot: KeyValueSnapshot) -> tuple[Hash32, int, int]:
    """State root of the flat values, recomputed without the stored tries, and the numbers of accounts and slots.

    Holds a leaf of every account in memory, and of one account's slots. Raises `StateStoreCorrupt`.
    """
    leaves: dict[bytes, bytes] = {}
    count = 0
    for key, record in snapshot.iterate(ACCOUNT, ACCOUNT + b"\xff" * 21):
        address, stored = Address(key[1:]), decode_account(record)
        pairs = snapshot.iterate(SLOT + address, SLOT + address + b"\xff" * 33)
        slots = {int.from_bytes(slot_key[21:], "big"): decode_slot(value) for slot_key, value in pairs}
        if storage_root_of(slots) != stored.root:
            raise StateStoreCorrupt(f"the slots of 0x{address.hex()} have another root than it says")
        leaves[address] = account_leaf(stored)
        count += len(slots)
    return secure_trie_root(leaves), len(leaves), count


def check_all(snapshot: KeyValueSnapshot, root: Hash32) -> tuple[int, int]:
    """Compare every account and slot with the tries; returns how many there are.

    Raises `StateStoreCorrupt`. Costs about 50 us a value.
    """
    accounts = slots = 0
    for key, record in snapshot.iterate(ACCOUNT, ACCOUNT + b"\xff" * 21):
        address, stored = Address(key[1:]), decode_account(record)
        check_account(snapshot, root, address, stored)
        accounts += 1
        has_slots = False
        for slot_key, value in snapshot.iterate(SLOT + address, SLOT + address + b"\xff" * 33):
            check_slot(
                snapshot, stored.root, address, int.from_bytes(slot_key[21:], "big"), decode_slot(value)
            )
            slots += 1
            has_slots = True
        if has_slots == (stored.root == EMPTY_ROOT):
            raise StateStoreCorrupt(f"slots and storage root of 0x{address.hex()} disagree")
    return accounts, slots
