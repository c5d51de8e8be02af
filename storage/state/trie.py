"""The batched committer: applies one block's sorted changes to a Merkle-Patricia trie stored by path.

Each node is stored as its RLP under the path that leads to it (hex digits), so a change overwrites in place
and no garbage arises; nodes shorter than 32 bytes, which their parent embeds (Yellow Paper, appendix D),
are stored under their own path as well, so that every node is found the same way. Parents keep the
references of all children: siblings of a change are neither loaded nor hashed, except the single child left
behind when a branch collapses.

All keys of a trie have the same length (they are hashes), so branches carry no value of their own.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from chain.hashing import EMPTY_ROOT, keccak256
from chain.trie import EMPTY_REFERENCE as EMPTY
from chain.trie import decode_path, encode_path
from chain.types import Hash32
from storage.errors import StateStoreCorrupt

VALUE_LENGTH_MAX = 160
"""Bytes. An RLP account has at most 112, a slot 33; this keeps leaves and extensions below 256 bytes."""

CACHED_DEPTH = 4
"""Branches above this depth are kept decoded: at most 4,369 a trie, about 6 MB."""

BranchCache = dict[str, tuple[bytes, list[bytes]]]
"""Decoded branches by path: reference and children. An entry counts only for its reference."""

NodeMap = dict[str, bytes | None]
"""Changed nodes by path; None: no node there any more."""

_HASH_PREFIX = b"\xa0"
_DIGITS = "0123456789abcdef"
_DIGIT_VALUES = {digit: value for value, digit in enumerate(_DIGITS)}
_SHORT_STRING = [bytes((0x80 + length,)) for length in range(56)]
_LONG_STRING = [b"\xb8" + bytes((length,)) for length in range(256)]
_LIST = [bytes((0xC0 + n,)) if n < 56 else b"\xf8" + bytes((n,)) for n in range(256)]
_FULL_BRANCH_LENGTH = 532
_FULL_BRANCH_OFFSETS = range(3, 531, 33)


def split_node(node: bytes) -> list[bytes]:
    """The RLP items of a node, still encoded: 17 for a branch, 2 for a leaf or an extension.

    Raises `StateStoreCorrupt`.
    """
    length = len(node)
    if length == _FULL_BRANCH_LENGTH and node[3] == 0xA0:
        items = [node[at : at + 33] for at in _FULL_BRANCH_OFFSETS]
        items.append(EMPTY)
        return items
    at = 1 if node[0] < 0xF8 else node[0] - 0xF6
    items = []
    append = items.append
    while at < length:
        first = node[at]
        if first == 0x80:
            append(EMPTY)
            at += 1
            continue
        if first == 0xA0:
            end = at + 33
        elif first < 0x80:
            end = at + 1
        elif first < 0xB8:
            end = at + first - 0x7F
        elif first < 0xC0:
            end = at + 2 + node[at + 1]
        else:
            end = at + first - 0xBF
        append(node[at:end])
        at = end
    if at != length or len(items) not in (2, 17):
        raise StateStoreCorrupt(f"not a trie node: {node[:40].hex()}")
    return items


def string_payload(item: bytes) -> bytes:
    """The bytes an encoded RLP string stands for."""
    first = item[0]
    if first < 0x80:
        return item
    return item[1:] if first < 0xB8 else item[2:]


def unpack_path(item: bytes) -> tuple[str, bool]:
    """Path digits of the first item of a short node, and whether it is a leaf."""
    return decode_path(string_payload(item))


def encode_short(path: str, is_leaf: bool, value: bytes) -> bytes:
    """A leaf (``value`` = RLP string) or an extension (``value`` = reference of its child)."""
    packed = encode_path(path, is_leaf)
    if len(packed) > 1:  # a single byte, below 0x40, is its own RLP
        packed = _SHORT_STRING[len(packed)] + packed
    return _LIST[len(packed) + len(value)] + packed + value


def encode_branch(children: list[bytes]) -> bytes:
    """A branch of 17 references (the last is `EMPTY`)."""
    payload = b"".join(children)
    length = len(payload)
    if length < 256:
        return _LIST[length] + payload
    return b"\xf9" + length.to_bytes(2, "big") + payload


def encode_string(value: bytes) -> bytes:
    """RLP of a value of 1 to `VALUE_LENGTH_MAX` bytes."""
    length = len(value)
    if length == 1 and value[0] < 0x80:
        return value
    if length < 56:
        return _SHORT_STRING[length] + value
    return _LONG_STRING[length] + value


class TrieCommitter:
    """Applies batches of changes to one trie.

    ``load`` reads a stored node by path; ``nodes`` takes the changed nodes and is looked at first.
    Every node that comes from ``load`` is checked against the reference in its parent. ``branches`` may
    live on from commit to commit of one trie, and must be dropped after a commit that raised.
    """

    __slots__ = ("_branches", "_keys", "_load", "_nodes", "_values")

    def __init__(
        self, load: Callable[[str], bytes | None], nodes: NodeMap, branches: BranchCache | None = None
    ) -> None:
        self._load = load
        self._nodes = nodes
        self._branches = branches if branches is not None else {}
        self._keys: list[str] = []
        self._values: list[bytes] = []

    def commit(self, root: Hash32, updates: Sequence[tuple[str, bytes]]) -> Hash32:
        """Apply (hex key, value) pairs, ascending and unique; an empty value deletes. Returns the new root.

        Raises `StateStoreCorrupt` when a stored node is missing or is not the one its parent refers to.
        """
        if not updates:
            return root
        self._keys = [key for key, _ in updates]
        self._values = [encode_string(value) if value else b"" for _, value in updates]
        if max(map(len, self._values)) > VALUE_LENGTH_MAX:
            raise ValueError(f"trie values are limited to {VALUE_LENGTH_MAX} bytes")
        if root == EMPTY_ROOT:
            new = self._build("", 0, len(updates))
        else:
            new = self._update("", _HASH_PREFIX + root, 0, len(updates))
        if new == EMPTY:
            return EMPTY_ROOT
        return Hash32(new[1:]) if len(new) == 33 else keccak256(new)

    # Methods below take a path, that path's current reference if there is a node, and the range low:high of
    # updates which share the path as prefix. They store what they change and return the new reference.

    def _fetch(self, path: str, ref: bytes) -> bytes:
        """The node at a path: changed earlier, or stored and equal to its reference."""
        node = self._nodes.get(path)
        if node is None:
            node = self._load(path)
            if node is None:
                raise StateStoreCorrupt(f"trie node at path '{path}' is missing")
            if ref[0] == 0xA0:
                if keccak256(node) != ref[1:]:
                    raise StateStoreCorrupt(f"trie node at path '{path}' is not the one its parent refers to")
            elif node != ref and path:
                raise StateStoreCorrupt(f"trie node at path '{path}' differs from its parent's copy")
        return node

    def _store(self, path: str, node: bytes) -> bytes:
        self._nodes[path] = node
        return node if len(node) < 32 else b"\xa0" + keccak256(node)

    def _update(self, path: str, ref: bytes, low: int, high: int) -> bytes:
        """Apply updates to the existing node at ``path``."""
        cached = self._branches.get(path)
        if cached is not None and cached[0] == ref:
            return self._update_branch(path, ref, cached[1], low, high)
        items = split_node(self._fetch(path, ref))
        if len(items) == 17:
            return self._update_branch(path, ref, items, low, high)
        rest, is_leaf = unpack_path(items[0])
        if is_leaf:
            return self._update_leaf(path, ref, rest, items[1], low, high)
        return self._update_extension(path, ref, rest, items[1], low, high)

    def _update_branch(self, path: str, ref: bytes, children: list[bytes], low: int, high: int) -> bytes:
        """Apply updates to a branch whose references are ``children``; ``ref`` is empty if it is new."""
        depth, keys = len(path), self._keys
        changed = False
        while low < high:
            digit = keys[low][depth]
            end = low + 1
            while end < high and keys[end][depth] == digit:
                end += 1
            value = _DIGIT_VALUES[digit]
            child = children[value]
            if child == EMPTY:
                new = self._build(path + digit, low, end)
            else:
                new = self._update(path + digit, child, low, end)
            if new != child:
                children[value] = new
                changed = True
            low = end
        if not changed and ref:
            return ref
        if children.count(EMPTY) > 14:
            return self._collapse(path, children)
        node = encode_branch(children)
        self._nodes[path] = node
        ref = node if len(node) < 32 else b"\xa0" + keccak256(node)
        if depth < CACHED_DEPTH:
            self._branches[path] = (ref, children)
        return ref

    def _collapse(self, path: str, children: list[bytes]) -> bytes:
        """What becomes of a branch with fewer than two children, or with two."""
        self._branches.pop(path, None)
        left = [value for value in range(16) if children[value] != EMPTY]
        if len(left) == 2:
            return self._store(path, encode_branch(children))
        if not left:
            self._nodes[path] = None
            return EMPTY
        return self._join(path, _DIGITS[left[0]], children[left[0]])

    def _join(self, path: str, rest: str, ref: bytes) -> bytes:
        """Put a short node at ``path`` over the node at ``path + rest``, merged if that is short too."""
        if ref == EMPTY:
            self._nodes[path] = None
            return EMPTY
        items = split_node(self._fetch(path + rest, ref))
        if len(items) == 17:
            return self._store(path, encode_short(rest, False, ref))
        further, is_leaf = unpack_path(items[0])
        self._nodes[path + rest] = None
        return self._store(path, encode_short(rest + further, is_leaf, items[1]))

    def _update_leaf(self, path: str, ref: bytes, rest: str, value: bytes, low: int, high: int) -> bytes:
        """Apply updates at a leaf: it becomes one more entry of the subtree built in its place."""
        keys, values = self._keys, self._values
        key = path + rest
        if high - low == 1:
            if keys[low] == key:
                if values[low]:
                    return self._store(path, encode_short(rest, True, values[low]))
                self._nodes[path] = None
                return EMPTY
            if not values[low]:
                return ref
        entries = {key: value}
        entries.update(zip(keys[low:high], values[low:high], strict=True))
        self._keys = sorted(entries)
        self._values = [entries[entry] for entry in self._keys]
        new = self._build(path, 0, len(entries))
        self._keys, self._values = keys, values
        if new == EMPTY:
            self._nodes[path] = None
        return new

    def _update_extension(self, path: str, ref: bytes, rest: str, child: bytes, low: int, high: int) -> bytes:
        """Apply updates at an extension, splitting it where a new key leaves its path."""
        keys, values = self._keys, self._values
        depth = len(path)
        shared = len(rest)
        for at in range(low, high):
            if values[at] and not keys[at].startswith(rest, depth):
                shared = min(shared, _common_prefix(rest, keys[at][depth:]))
        if shared == len(rest):
            inside = [at for at in range(low, high) if keys[at].startswith(rest, depth)]
            if not inside:
                return ref
            new = self._update(path + rest, child, inside[0], inside[-1] + 1)
            return ref if new == child else self._join(path, rest, new)
        fork, digit, further = path + rest[:shared], rest[shared], rest[shared + 1 :]
        children = [EMPTY] * 17
        if further:
            child = self._store(fork + digit, encode_short(further, False, child))
        children[_DIGIT_VALUES[digit]] = child
        inside = [at for at in range(low, high) if keys[at].startswith(rest[:shared], depth)]
        new = self._update_branch(fork, b"", children, inside[0], inside[-1] + 1)
        return self._join(path, rest[:shared], new) if shared else new

    def _build(self, path: str, low: int, high: int) -> bytes:
        """Build a subtree where there was none; deletes find nothing."""
        values = self._values
        while low < high and not values[low]:
            low += 1
        while low < high and not values[high - 1]:
            high -= 1
        if low >= high:
            return EMPTY
        keys, depth = self._keys, len(path)
        if high - low == 1:
            return self._store(path, encode_short(keys[low][depth:], True, values[low]))
        shared = _common_prefix(keys[low][depth:], keys[high - 1][depth:])
        fork = path + keys[low][depth : depth + shared]
        ref = self._update_branch(fork, b"", [EMPTY] * 17, low, high)
        if shared:
            return self._store(path, encode_short(fork[depth:], False, ref))
        return ref


def _common_prefix(left: str, right: str) -> int:
    """Number of leading characters two strings share."""
    for at, (a, b) in enumerate(zip(left, right, strict=False)):
        if a != b:
            return at
    return min(len(left), len(right))
