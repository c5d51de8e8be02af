"""What a checkpoint writes for frozen layers: latest values, trie nodes, code, change sets; what expires."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field

from storage.errors import StateStoreCorrupt
from storage.io.cooperative import Pace, at_once
from storage.io.kv import KeyValueSnapshot
from storage.state.keys import (
    ACCOUNT_KEY_LENGTH,
    ACCOUNT_NODE,
    CODE,
    META_OLDEST,
    META_STATE,
    SLOT_KEY_LENGTH,
    STORAGE_NODE,
    TOUCHED,
    StoredAccount,
    account_key,
    block_key,
    encode_account,
    encode_slot,
    history_key,
    slot_key,
)
from storage.state.overlay import Layer
from storage.state.trie import NodeMap

EXPIRED_BLOCKS_MAX = 512
"""Blocks whose change sets one checkpoint deletes at most; a shortened retention takes several."""


@dataclass(slots=True)
class Batch:
    """One atomic write."""

    puts: dict[bytes, bytes] = field(default_factory=dict)
    deletes: list[bytes] = field(default_factory=list)

    def set(self, key: bytes, value: bytes) -> None:
        """Store a value; empty removes it."""
        if value:
            self.puts[key] = value
        else:
            self.deletes.append(key)


def oldest_after(oldest: int, upto: int, retention: int | None) -> int:
    """First block whose state stays readable after a checkpoint at ``upto``; ``retention`` None keeps all."""
    if retention is None:
        return oldest
    return max(oldest, min(upto - retention, oldest + EXPIRED_BLOCKS_MAX))


def layer_batch(layer: Layer, upto: int, oldest: int, pace: Pace = at_once) -> Batch:
    """The writes that make ``layer`` part of the store, without change sets of blocks up to ``oldest``."""
    batch = Batch()
    touched: defaultdict[int, list[bytes]] = defaultdict(list)
    for address, account_versions in pace(layer.accounts.items()):
        key = account_key(address)
        records = [encode_account(StoredAccount(*version[1:])) for version in pace(account_versions)]
        batch.set(key, records[-1])
        for at in pace(range(1, len(records))):
            number = account_versions[at][0]
            if number > oldest:
                batch.puts[history_key(key, number)] = records[at - 1]
                touched[number].append(key)
    for address, slots in layer.slots.items():
        for slot, slot_versions in pace(slots.items()):
            key = slot_key(address, slot)
            batch.set(key, encode_slot(slot_versions[-1][1]))
            for at in pace(range(1, len(slot_versions))):
                number = slot_versions[at][0]
                if number > oldest:
                    batch.puts[history_key(key, number)] = encode_slot(slot_versions[at - 1][1])
                    touched[number].append(key)
    for number, keys in pace(touched.items()):
        batch.puts[block_key(TOUCHED, number)] = b"".join(keys)
    for code_hash, code in layer.codes.items():
        batch.puts[CODE + code_hash] = code
    _put_nodes(batch, ACCOUNT_NODE, layer.account_nodes, pace)
    for owner, nodes in layer.storage_nodes.items():
        _put_nodes(batch, STORAGE_NODE + owner, nodes, pace)
    batch.puts[META_OLDEST] = oldest.to_bytes(8, "big")
    batch.puts[META_STATE] = upto.to_bytes(8, "big") + layer.root
    return batch


def _put_nodes(batch: Batch, prefix: bytes, nodes: NodeMap, pace: Pace) -> None:
    for path, node in pace(nodes.items()):
        if node is None:
            batch.deletes.append(prefix + path.encode())
        else:
            batch.puts[prefix + path.encode()] = node


def touched_keys(snapshot: KeyValueSnapshot, block: int) -> list[bytes]:
    """Flat keys which a block changed, from its stored record. Raises `StateStoreCorrupt`."""
    record = snapshot.get(block_key(TOUCHED, block)) or b""
    keys, at = [], 0
    while at < len(record):
        length = {0x61: ACCOUNT_KEY_LENGTH, 0x73: SLOT_KEY_LENGTH}.get(record[at])
        if length is None or at + length > len(record):
            raise StateStoreCorrupt(f"list of keys touched by block {block}")
        keys.append(record[at : at + length])
        at += length
    return keys


def expire(batch: Batch, snapshot: KeyValueSnapshot, first: int, last: int, pace: Pace = at_once) -> None:
    """Delete the stored change sets of blocks ``first`` to ``last``."""
    for block in pace(range(first, last + 1)):
        keys = touched_keys(snapshot, block)
        batch.deletes += [history_key(key, block) for key in keys]
        batch.deletes.append(block_key(TOUCHED, block))
