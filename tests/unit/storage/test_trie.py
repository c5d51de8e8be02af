"""The batched committer against py-trie, over several commits of inserts, updates and deletes."""

from __future__ import annotations

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from trie import HexaryTrie

from chain.hashing import EMPTY_ROOT, keccak256
from chain.trie import reference
from storage.errors import StateStoreCorrupt
from storage.state.trie import BranchCache, NodeMap, TrieCommitter, split_node, unpack_path
from tests.effort import tries

Batch = dict[bytes, bytes]


class StoredTrie:
    """A trie over a plain dict, committed batch by batch."""

    def __init__(self) -> None:
        self.stored: dict[str, bytes] = {}
        self.root = EMPTY_ROOT
        self.branches: BranchCache = {}

    def commit(self, batch: Batch) -> NodeMap:
        nodes: NodeMap = {}
        updates = sorted((key.hex(), value) for key, value in batch.items())
        self.root = TrieCommitter(self.stored.get, nodes, self.branches).commit(self.root, updates)
        for path, node in nodes.items():
            if node is None:
                self.stored.pop(path, None)
            else:
                self.stored[path] = node
        return nodes

    def reachable(self) -> set[str]:
        """Paths of all nodes under the root, each checked against its parent's reference."""
        found: set[str] = set()
        queue = [] if self.root == EMPTY_ROOT else [("", b"\xa0" + self.root)]
        while queue:
            path, ref = queue.pop()
            node = self.stored[path]
            assert ref == (reference(node) if path else b"\xa0" + keccak256(node))
            found.add(path)
            items = split_node(node)
            if len(items) == 17:
                queue += [(path + f"{n:x}", items[n]) for n in range(16) if items[n] != b"\x80"]
            else:
                rest, is_leaf = unpack_path(items[0])
                assert rest or is_leaf
                if not is_leaf:
                    queue.append((path + rest, items[1]))
        return found


def check(batches: list[Batch]) -> None:
    ours, theirs = StoredTrie(), HexaryTrie({}, prune=True)
    for batch in batches:
        ours.commit(batch)
        for key, value in batch.items():
            if value:
                theirs[key] = value
            elif key in theirs:
                del theirs[key]
        assert ours.root == theirs.root_hash
        assert set(ours.stored) == ours.reachable()


# Few distinct key bytes force splits, collapses and embedded nodes; short values force embedding.
narrow_keys = st.lists(st.sampled_from([0x00, 0x01, 0x10, 0x11, 0xFF]), min_size=3, max_size=3).map(bytes)
deep_keys = st.tuples(
    st.sampled_from([bytes(30), bytes(29) + b"\x01", bytes(15) + b"\x10" * 15]),
    st.binary(min_size=2, max_size=2),
).map(b"".join)
trie_values = st.one_of(st.just(b""), st.binary(min_size=1, max_size=4), st.binary(min_size=30, max_size=110))


@settings(max_examples=tries(60, 1_500), deadline=None)
@given(st.lists(st.dictionaries(narrow_keys, trie_values, max_size=12), min_size=1, max_size=6))
def test_roots_equal_py_trie_on_narrow_keys(batches: list[Batch]) -> None:
    check(batches)


@settings(max_examples=tries(40, 700), deadline=None)
@given(st.lists(st.dictionaries(deep_keys, trie_values, max_size=12), min_size=1, max_size=5))
def test_roots_equal_py_trie_on_long_shared_prefixes(batches: list[Batch]) -> None:
    check(batches)


@pytest.mark.parametrize("seed", range(6))
def test_roots_equal_py_trie_on_hashed_keys(seed: int) -> None:
    rng = random.Random(seed)
    keys = [keccak256(bytes([n % 256, n // 256])) for n in range(400)]
    batches = []
    for _ in range(12):
        deletes = rng.random()
        batches.append(
            {
                key: b"" if rng.random() < deletes else rng.randbytes(rng.randint(1, 110))
                for key in rng.sample(keys, rng.randint(1, 120))
            }
        )
    batches.append(dict.fromkeys(keys, b""))
    check(batches)
    trie = StoredTrie()
    for batch in batches:
        trie.commit(batch)
    assert trie.root == EMPTY_ROOT
    assert not trie.stored


def test_a_batch_without_effect_keeps_the_root_and_writes_no_other_nodes() -> None:
    trie = StoredTrie()
    trie.commit({keccak256(bytes([n])): b"value" * 8 for n in range(100)})
    root, stored = trie.root, dict(trie.stored)
    trie.commit({keccak256(b"absent"): b"", keccak256(b"\x01"): b"value" * 8})
    assert trie.root == root
    assert trie.stored == stored


def test_an_update_rewrites_only_its_own_path() -> None:
    trie = StoredTrie()
    trie.commit({keccak256(bytes([n])): b"value" * 8 for n in range(200)})
    key = keccak256(b"\x07")
    nodes = trie.commit({key: b"other" * 8})
    assert all(key.hex().startswith(path) for path in nodes)


def test_a_flipped_or_missing_node_is_refused() -> None:
    trie = StoredTrie()
    trie.commit({keccak256(bytes([n])): b"value" * 8 for n in range(50)})
    for path in list(trie.stored):
        key = bytes.fromhex((path + "0" * 64)[:64])
        node = trie.stored[path]
        trie.stored[path] = node[:-1] + bytes([node[-1] ^ 1])
        with pytest.raises(StateStoreCorrupt):
            TrieCommitter(trie.stored.get, {}).commit(trie.root, [(key.hex(), b"new")])
        del trie.stored[path]
        with pytest.raises(StateStoreCorrupt):
            TrieCommitter(trie.stored.get, {}).commit(trie.root, [(key.hex(), b"new")])
        trie.stored[path] = node


def test_values_are_limited() -> None:
    with pytest.raises(ValueError, match="limited"):
        StoredTrie().commit({bytes(32): bytes(200)})
