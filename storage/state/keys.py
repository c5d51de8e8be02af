"""The key space of the key-value store, and the encoding of accounts and slots there.

    a + address                       account record
    s + address + slot (32)           slot value, big endian without leading zeros; absent = 0
    b + code hash                     byte code, kept for good
    n + path                          account trie node (RLP) at that path; a path byte is one hex digit
    o + keccak(address) + path        storage trie node
    h + a|s + key + position (8)      change set: the value before that state changed it; empty = absent
    t + position (8)                  the keys that state changed, to find its change sets when they expire
    H|B|R + block (8)                 header, body, receipts
    N + block hash                    block number (8)
    A + block (8)                     amendments (8) up to this block, which was amended itself
    S + id (8)                        a debug session as it was when its content changed last
    P + id (8)                        the session's position
    T + name                          a user's template
    F + transaction hash              what became of a transaction that is in no block
    ckpt/ + number (8)                checkpoint record
    meta/...                          single facts

Numbers are big endian, so key order is number order. Positions (`storage.state.positions`) are block numbers in a chain
that no development call has amended.
"""

from __future__ import annotations

from typing import NamedTuple

from chain.hashing import EMPTY_ROOT
from chain.state import EMPTY_CODE_HASH, Account
from chain.types import Address, Hash32
from storage.errors import StateStoreCorrupt

ACCOUNT, SLOT, CODE = b"a", b"s", b"b"
ACCOUNT_NODE, STORAGE_NODE = b"n", b"o"
HISTORY, TOUCHED = b"h", b"t"
HEADER, BODY, RECEIPTS, NUMBER = b"H", b"B", b"R", b"N"
SESSION, SESSION_PLACE, TEMPLATE = b"S", b"P", b"T"
FATE = b"F"
AMENDED = b"A"
CHECKPOINT = b"ckpt/"
META_HEAD = b"meta/head"
META_BLOCK = b"meta/block"
"""Last stored block; 8 bytes."""
META_STATE = b"meta/state"
"""Position (8) and state root of the stored values."""
META_SETTINGS = b"meta/settings"
"""Settings that users changed at run time, and the oldest log record recovery needs besides later ones."""
META_SESSIONS = b"meta/sessions"
"""The highest session id ever given; 8 bytes."""
META_OLDEST = b"meta/oldest"
"""Position of the oldest state that can be read; 8 bytes."""

ACCOUNT_KEY_LENGTH = 21
SLOT_KEY_LENGTH = 53

_HAS_CODE, _HAS_STORAGE = 1, 2


class StoredAccount(NamedTuple):
    """An account as stored: what execution sees, and its storage root."""

    account: Account | None
    """None: there is no such account."""
    root: Hash32


NO_ACCOUNT = StoredAccount(None, EMPTY_ROOT)


def account_key(address: Address) -> bytes:
    """Key of an account record."""
    return ACCOUNT + address


def slot_key(address: Address, slot: int) -> bytes:
    """Key of a slot value."""
    return SLOT + address + slot.to_bytes(32, "big")


def history_key(flat_key: bytes, block: int) -> bytes:
    """Key of the value that ``flat_key`` had before ``block`` changed it."""
    return HISTORY + flat_key + block.to_bytes(8, "big")


def block_key(kind: bytes, block: int) -> bytes:
    """Key of something stored once per block."""
    return kind + block.to_bytes(8, "big")


def after_prefix(prefix: bytes) -> bytes:
    """The first key after all keys that start with ``prefix`` (whose last byte is below 255)."""
    return prefix[:-1] + bytes([prefix[-1] + 1])


def encode_account(stored: StoredAccount) -> bytes:
    """Record of an account: flags, nonce (8), code hash and root where not empty, balance. None: empty."""
    account, root = stored
    if account is None:
        return b""
    nonce, balance, code_hash = account
    has_code, has_storage = code_hash != EMPTY_CODE_HASH, root != EMPTY_ROOT
    return b"".join(
        (
            bytes((has_code * _HAS_CODE + has_storage * _HAS_STORAGE,)),
            nonce.to_bytes(8, "big"),
            code_hash if has_code else b"",
            root if has_storage else b"",
            balance.to_bytes((balance.bit_length() + 7) // 8, "big"),
        )
    )


def decode_account(record: bytes | None) -> StoredAccount:
    """Inverse of `encode_account`; None and empty mean no account. Raises `StateStoreCorrupt`."""
    if not record:
        return NO_ACCOUNT
    flags, at = record[0], 9
    code_hash, root = EMPTY_CODE_HASH, EMPTY_ROOT
    if flags & _HAS_CODE:
        code_hash = Hash32(record[at : at + 32])
        at += 32
    if flags & _HAS_STORAGE:
        root = Hash32(record[at : at + 32])
        at += 32
    if flags > _HAS_CODE + _HAS_STORAGE or not at <= len(record) <= at + 32:
        raise StateStoreCorrupt(f"account record of {len(record)} bytes with flags {flags}")
    account = Account(int.from_bytes(record[1:9], "big"), int.from_bytes(record[at:], "big"), code_hash)
    return StoredAccount(account, root)


def encode_slot(value: int) -> bytes:
    """Slot value as stored; 0 is empty."""
    return value.to_bytes((value.bit_length() + 7) // 8, "big")


def decode_slot(record: bytes | None) -> int:
    """Inverse of `encode_slot`; None is 0."""
    return int.from_bytes(record, "big") if record else 0
