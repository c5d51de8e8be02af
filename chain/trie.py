"""Merkle-Patricia tries (Yellow Paper, appendix D): node encodings, and roots of whole mappings in one pass.

Paths are strings of hex digits, one a nibble: slicing, comparing and sorting them is native, and packing them
is ``bytes.fromhex``. A *reference* is how a parent holds a child: the child's RLP itself if shorter than
32 bytes, else the RLP of its hash. The storage layer's incremental trie encodes its nodes with the same functions.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from chain.errors import InvalidRlp
from chain.hashing import EMPTY_ROOT, keccak256
from chain.rlp import encode_bytes, encode_int, encode_length
from chain.state import Account
from chain.types import Address, Hash32

MAX_KEY_BYTES = 128
"""Longest key of a trie here: bounds recursion."""

EMPTY_REFERENCE = b"\x80"
"""Reference to no child."""

_NIBBLE = {digit: index for index, digit in enumerate("0123456789abcdef")}


def encode_path(path: str, is_leaf: bool) -> bytes:
    """Hex-prefix encoding of a path of hex digits (Yellow Paper, appendix C).

    >>> encode_path("f1cb8", True).hex(), encode_path("0f1c", False).hex()
    ('3f1cb8', '000f1c')
    """
    if len(path) & 1:
        return bytes.fromhex(("3" if is_leaf else "1") + path)
    return bytes.fromhex(("20" if is_leaf else "00") + path)


def decode_path(data: bytes) -> tuple[str, bool]:
    """Decode a hex-prefix path: its hex digits, and whether it is a leaf's. Raises `InvalidRlp`.

    >>> decode_path(bytes.fromhex("3f1cb8"))
    ('f1cb8', True)
    """
    flag = data[0] >> 4 if data else 4
    if flag > 3 or (not flag & 1 and data[0] & 15):
        raise InvalidRlp("not a hex-prefix encoded path")
    return data.hex()[1 if flag & 1 else 2 :], flag >= 2


def encode_leaf(path: str, value: bytes) -> bytes:
    """RLP of a leaf: the rest of its path and the (non-empty) value."""
    payload = encode_bytes(encode_path(path, True)) + encode_bytes(value)
    return encode_length(len(payload), 0xC0) + payload


def encode_extension(path: str, child: bytes) -> bytes:
    """RLP of an extension: the path it spans and the reference to the branch below."""
    payload = encode_bytes(encode_path(path, False)) + child
    return encode_length(len(payload), 0xC0) + payload


def encode_branch(children: Sequence[bytes], value: bytes = b"") -> bytes:
    """RLP of a branch: 16 references (`EMPTY_REFERENCE` for none) and the value of the key that ends here."""
    payload = b"".join(children) + (encode_bytes(value) if value else b"\x80")
    return encode_length(len(payload), 0xC0) + payload


def reference(node: bytes) -> bytes:
    """A parent's reference to the node with this RLP."""
    return node if len(node) < 32 else b"\xa0" + keccak256(node)


def trie_root(pairs: Mapping[bytes, bytes]) -> Hash32:
    """Root of the trie that maps these keys to these values; an empty value means no entry.

    >>> trie_root({}) == EMPTY_ROOT
    True
    """
    entries = sorted([(key.hex(), value) for key, value in pairs.items() if value])
    if not entries:
        return EMPTY_ROOT
    assert max(map(len, pairs)) <= MAX_KEY_BYTES, "a trie key is too long"
    return keccak256(_node(entries, 0, len(entries), 0))


def secure_trie_root(pairs: Mapping[bytes, bytes]) -> Hash32:
    """`trie_root` over the hashes of the keys, as states and storages use it."""
    return trie_root({keccak256(key): value for key, value in pairs.items()})


def ordered_root(items: Iterable[bytes]) -> Hash32:
    """Root of a list: keys are the RLP of the positions. For transactions, receipts and withdrawals."""
    return trie_root({encode_bytes(encode_int(index)): item for index, item in enumerate(items)})


def storage_root_of(slots: Mapping[int, int]) -> Hash32:
    """Root of a storage; slots of value 0 are not in it."""
    return trie_root(
        {
            keccak256(slot.to_bytes(32, "big")): encode_bytes(encode_int(value))
            for slot, value in slots.items()
            if value
        }
    )


def encode_account(account: Account, storage_root: Hash32 = EMPTY_ROOT) -> bytes:
    """RLP of an account as the state trie holds it."""
    payload = (
        encode_bytes(encode_int(account.nonce))
        + encode_bytes(encode_int(account.balance))
        + b"\xa0"
        + storage_root
        + b"\xa0"
        + account.code_hash
    )
    return encode_length(len(payload), 0xC0) + payload


def state_root_of(accounts: Mapping[Address, tuple[Account, Mapping[int, int]]]) -> Hash32:
    """Root of a state of accounts and their storages. Empty accounts count: filter them if EIP-161 rules."""
    return trie_root(
        {
            keccak256(address): encode_account(account, storage_root_of(slots) if slots else EMPTY_ROOT)
            for address, (account, slots) in accounts.items()
        }
    )


def _node(entries: list[tuple[str, bytes]], start: int, stop: int, depth: int) -> bytes:
    """RLP of the node over ``entries[start:stop]``, sorted, whose paths agree up to ``depth``."""
    first, value = entries[start]
    if stop - start == 1:
        return encode_leaf(first[depth:], value)
    last = entries[stop - 1][0]
    fork = depth
    limit = len(first)
    while fork < limit and first[fork] == last[fork]:
        fork += 1
    branch = _branch(entries, start, stop, fork)
    if fork == depth:
        return branch
    return encode_extension(first[depth:fork], reference(branch))


def _branch(entries: list[tuple[str, bytes]], start: int, stop: int, depth: int) -> bytes:
    children = [EMPTY_REFERENCE] * 16
    own_value = b""
    if len(entries[start][0]) == depth:
        own_value = entries[start][1]
        start += 1
    while start < stop:
        digit = entries[start][0][depth]
        end = start + 1
        while end < stop and entries[end][0][depth] == digit:
            end += 1
        node = _node(entries, start, end, depth + 1)
        children[_NIBBLE[digit]] = node if len(node) < 32 else b"\xa0" + keccak256(node)
        start = end
    return encode_branch(children, own_value)
