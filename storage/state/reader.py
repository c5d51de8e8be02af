"""Reading the state after one block, from any thread, while later blocks and checkpoints happen.

An epoch is one consistent arrangement: a snapshot of the store at a checkpoint, and the layers above it. A
view pins an epoch and a block number; nothing either refers to changes for that number any more.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from chain.hashing import EMPTY_ROOT, keccak256
from chain.lru import Lru
from chain.state import EMPTY_CODE_HASH, Account
from chain.types import Address, Hash32
from storage.errors import StateStoreCorrupt
from storage.io.kv import KeyValueSnapshot
from storage.state.cache import ReadCache
from storage.state.keys import (
    ACCOUNT,
    CODE,
    HISTORY,
    SLOT,
    StoredAccount,
    decode_account,
    decode_slot,
    history_key,
    slot_key,
)
from storage.state.overlay import Layer, account_at, slot_at

ACCOUNT_CACHE_ENTRIES = 8_192
SLOT_CACHE_ENTRIES = 16_384
"""Entries of one cache generation; two are kept."""
CODE_CACHE_BYTES = 4 * 2**20

_LAST_BLOCK = b"\xff" * 9
_LAST_SLOT = b"\xff" * 33


def code_cache() -> Lru[Hash32, bytes]:
    """Byte code by hash, bounded in bytes, shared by all epochs: what a hash names never changes."""
    return Lru(CODE_CACHE_BYTES, len)


def _account_cache() -> ReadCache[Address, StoredAccount]:
    return ReadCache(ACCOUNT_CACHE_ENTRIES)


def _slot_cache() -> ReadCache[tuple[Address, int], int]:
    return ReadCache(SLOT_CACHE_ENTRIES)


@dataclass(frozen=True, slots=True)
class Epoch:
    """A snapshot at checkpoint ``floor``, and the layers above it, lowest first."""

    snapshot: KeyValueSnapshot
    floor: int
    """Block of the checkpoint; -1 before the first."""
    oldest: int
    """First block whose state can be read."""
    layers: tuple[Layer, ...]
    codes: Lru[Hash32, bytes]
    accounts: ReadCache[Address, StoredAccount] = field(default_factory=_account_cache)
    """Values at ``floor``."""
    slots: ReadCache[tuple[Address, int], int] = field(default_factory=_slot_cache)
    """Values at ``floor``."""


class StateView:
    """The state after block ``number``: a `chain.state.StateReader`. Safe to use from any thread."""

    __slots__ = ("_accounts", "_epoch", "_lower", "_slots", "number")

    def __init__(self, epoch: Epoch, number: int) -> None:
        self.number = number
        self._epoch = epoch
        layers = [layer for layer in reversed(epoch.layers) if layer.floor <= number]
        self._accounts = layers[0].accounts if layers else {}
        self._slots = layers[0].slots if layers else {}
        self._lower = layers[1:]

    @property
    def epoch(self) -> Epoch:
        """The arrangement of snapshot and layers this view reads."""
        return self._epoch

    def account(self, address: Address) -> Account | None:
        """The account, or None if there is none."""
        versions = self._accounts.get(address)
        if versions is not None:
            newest = versions[-1]
            return newest[1] if newest[0] <= self.number else account_at(versions, self.number)[1]
        return self._lower_account(address).account

    def storage(self, address: Address, slot: int) -> int:
        """Value of a storage slot, 0 if unset."""
        slots = self._slots.get(address)
        if slots is not None:
            versions = slots.get(slot)
            if versions is not None:
                newest = versions[-1]
                return newest[1] if newest[0] <= self.number else slot_at(versions, self.number)
        return self._lower_slot(address, slot)

    def code(self, code_hash: Hash32) -> bytes:
        """Code with this hash. Raises `StateStoreCorrupt` if the store lacks it or holds other code."""
        if code_hash == EMPTY_CODE_HASH:
            return b""
        epoch = self._epoch
        for layer in epoch.layers:
            code = layer.codes.get(code_hash)
            if code is not None:
                return code
        code = epoch.codes.get(code_hash)
        if code is None:
            code = epoch.snapshot.get(CODE + code_hash)
            if code is None or keccak256(code) != code_hash:
                raise StateStoreCorrupt(f"code {code_hash.hex()} is missing or is other code")
            epoch.codes.put(code_hash, code)
        return code

    def has_storage(self, address: Address) -> bool:
        """Whether any slot of the address is non-zero."""
        return self.stored_account(address).root != EMPTY_ROOT

    def stored_account(self, address: Address) -> StoredAccount:
        """The account with its storage root."""
        versions = self._accounts.get(address)
        if versions is not None:
            return StoredAccount(*account_at(versions, self.number)[1:])
        return self._lower_account(address)

    def slots_of(self, address: Address) -> dict[int, int]:
        """All non-zero slots of an address. Costs time and memory in proportion to their number."""
        prefix = SLOT + address
        found = {
            int.from_bytes(key[21:], "big"): decode_slot(record)
            for key, record in self._epoch.snapshot.iterate(prefix, prefix + _LAST_SLOT)
        }
        if self.number < self._epoch.floor:
            found |= self._earlier_slots(prefix)
        for slots in [layer.slots for layer in reversed(self._lower)] + [self._slots]:
            for slot, versions in slots.get(address, {}).copy().items():
                found[slot] = slot_at(versions, self.number)
        return {slot: value for slot, value in found.items() if value}

    def addresses(self) -> Iterator[Address]:
        """Addresses of all accounts, in no order. Takes time in proportion to state and kept history."""
        seen: set[bytes] = set()
        snapshot = self._epoch.snapshot
        for key, _ in snapshot.iterate(ACCOUNT, ACCOUNT + b"\xff" * 21):
            seen.add(key[1:])
        if self.number < self._epoch.floor:
            history = HISTORY + ACCOUNT
            seen.update(key[2:22] for key, _ in snapshot.iterate(history, history + b"\xff" * 29))
        for accounts in [layer.accounts for layer in self._lower] + [self._accounts]:
            seen.update(accounts.copy())
        for address in seen:
            if self.account(Address(address)) is not None:
                yield Address(address)

    def _earlier_slots(self, prefix: bytes) -> dict[int, int]:
        """Values at this view's block of the slots that blocks up to the checkpoint changed after it."""
        found: dict[int, int] = {}
        start = HISTORY + prefix
        for key, record in self._epoch.snapshot.iterate(start, start + _LAST_SLOT + _LAST_BLOCK):
            slot = int.from_bytes(key[22:54], "big")
            if slot not in found and int.from_bytes(key[54:], "big") > self.number:
                found[slot] = decode_slot(record)
        return found

    def _lower_account(self, address: Address) -> StoredAccount:
        """The account in frozen layers, change sets or flat values."""
        for layer in self._lower:
            versions = layer.accounts.get(address)
            if versions is not None:
                return StoredAccount(*account_at(versions, self.number)[1:])
        epoch = self._epoch
        if self.number < epoch.floor:
            record = self._previous(ACCOUNT + address)
            if record is not None:
                return decode_account(record)
        stored = epoch.accounts.get(address)
        if stored is None:
            stored = decode_account(epoch.snapshot.get(ACCOUNT + address))
            epoch.accounts.put(address, stored)
        return stored

    def _lower_slot(self, address: Address, slot: int) -> int:
        """The slot in frozen layers, change sets or flat values."""
        for layer in self._lower:
            slots = layer.slots.get(address)
            if slots is not None:
                versions = slots.get(slot)
                if versions is not None:
                    return slot_at(versions, self.number)
        epoch = self._epoch
        if self.number < epoch.floor:
            record = self._previous(slot_key(address, slot))
            if record is not None:
                return decode_slot(record)
        key = (address, slot)
        value = epoch.slots.get(key)
        if value is None:
            value = decode_slot(epoch.snapshot.get(slot_key(address, slot)))
            epoch.slots.put(key, value)
        return value

    def _previous(self, flat_key: bytes) -> bytes | None:
        """What the first later block replaced; None if no block up to the checkpoint changed the key."""
        start = history_key(flat_key, self.number + 1)
        for _, record in self._epoch.snapshot.iterate(start, HISTORY + flat_key + _LAST_BLOCK):
            return record
        return None
