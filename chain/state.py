"""What the VM reads from a state and what it writes to one: the seam between ``vm`` and ``storage``."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import NamedTuple, Protocol

from chain.types import Address, Hash32

EMPTY_CODE_HASH = Hash32(bytes.fromhex("c5d2460186f7233c927e7db2dcc703c0e500b653ca82273b7bfad8045d85a470"))
"""Keccak-256 of no bytes: the code hash of an account without code."""


class Account(NamedTuple):
    """The fields of an account that execution sees (Yellow Paper 4.1, without the storage root)."""

    nonce: int = 0
    balance: int = 0
    code_hash: Hash32 = EMPTY_CODE_HASH

    @property
    def is_empty(self) -> bool:
        """No nonce, no balance, no code (EIP-161)."""
        return self.nonce == 0 and self.balance == 0 and self.code_hash == EMPTY_CODE_HASH


EMPTY_ACCOUNT = Account()

BlockHashes = Callable[[int], Hash32]
"""Hash of the block with that number, for the 256 (EIP-2935: 8,191) blocks before the current one.

Other numbers give 32 zero bytes.
"""


class StateReader(Protocol):
    """One immutable state: the values after some block. Safe to use from any thread."""

    def account(self, address: Address) -> Account | None:
        """The account, or None if there is none."""

    def storage(self, address: Address, slot: int) -> int:
        """Value of a storage slot, 0 if unset. Slot and value are in [0, 2**256)."""

    def code(self, code_hash: Hash32) -> bytes:
        """Code with this Keccak-256 hash; empty for `EMPTY_CODE_HASH`."""

    def has_storage(self, address: Address) -> bool:
        """Whether any slot of the address is non-zero (create collisions, EIP-7610)."""


@dataclass(slots=True)
class StateDelta:
    """Net changes of one block (or transaction) over a `StateReader`: final values, no history.

    Order of application: ``wiped`` clears whole storages, then ``accounts`` and ``storage`` are set.
    """

    accounts: dict[Address, Account | None] = field(default_factory=dict)
    """Final account, None when deleted."""
    storage: dict[Address, dict[int, int]] = field(default_factory=dict)
    """Final slot values by address; 0 deletes the slot."""
    wiped: set[Address] = field(default_factory=set)
    """Accounts whose earlier storage is cleared (self-destruct, creation over old storage)."""
    codes: dict[Hash32, bytes] = field(default_factory=dict)
    """Code deployed, by its hash."""


class OverlayState:
    """A state with a delta on top, such as the one after the first transactions of a block."""

    def __init__(self, below: StateReader, delta: StateDelta) -> None:
        self._below = below
        self.delta = delta

    def account(self, address: Address) -> Account | None:
        """The account, or None if there is none."""
        if address in self.delta.accounts:
            return self.delta.accounts[address]
        return self._below.account(address)

    def storage(self, address: Address, slot: int) -> int:
        """Value of a slot."""
        slots = self.delta.storage.get(address, {})
        if slot in slots or address in self.delta.wiped:
            return slots.get(slot, 0)
        return self._below.storage(address, slot)

    def code(self, code_hash: Hash32) -> bytes:
        """Code by hash."""
        code = self.delta.codes.get(code_hash)
        return self._below.code(code_hash) if code is None else code

    def has_storage(self, address: Address) -> bool:
        """Whether any slot is set; slots of the state below count unless wiped."""
        if any(self.delta.storage.get(address, {}).values()):
            return True
        return address not in self.delta.wiped and self._below.has_storage(address)
