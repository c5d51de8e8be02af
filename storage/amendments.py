"""What CHEAT records say: amendments of the state, snapshots, reverts. `storage.applied` carries them out.

A CHEAT record is a name and one argument:

    amend     [[address, nonce | nil, balance | nil, code | nil, [[slot, value] ...]] ...]
    snapshot  [Snapshot]
    revert    [Revert]
    drop      [[LSN ...]]      pool transactions that wait no more, by their POOL_ADMIT records

Everything a replay needs is in the record; nothing is looked up that may have been forgotten since.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

from chain.hashing import keccak256
from chain.state import EMPTY_ACCOUNT, EMPTY_CODE_HASH, Account, StateDelta
from chain.types import Address
from storage.state.reader import StateView

CHEATS = frozenset(("amend", "snapshot", "revert", "drop"))
SNAPSHOTS_MAX = 1_024
"""Snapshots that can be reverted to; one more forgets the oldest."""
SNAPSHOT_POOLS_MAX = 65_536
"""Waiting transactions that all snapshots remember together; more forget the oldest snapshots too."""


class Amendment(NamedTuple):
    """New values of one account; None leaves a value unchanged."""

    address: Address
    nonce: int | None = None
    balance: int | None = None
    code: bytes | None = None
    slots: tuple[tuple[int, int], ...] = ()

    @classmethod
    def of(cls, fields: Sequence[Any]) -> Amendment:
        """An amendment from the fields of its record."""
        address, nonce, balance, code, slots = fields
        return cls(Address(address), nonce, balance, code, tuple((slot, value) for slot, value in slots))


class Snapshot(NamedTuple):
    """A moment that the chain can be rewound to."""

    id: int
    block: int
    position: int
    """Position of the state (`storage.state.positions`)."""
    pool: list[int]
    """LSNs of the POOL_ADMIT records of the waiting transactions, in order of arrival."""
    settings: dict[str, Any]
    """The settings that a revert restores."""
    at: int
    """Wall clock, Unix seconds."""


class SnapshotRevert(NamedTuple):
    """The chain as a revert leaves it."""

    block: int
    position: int
    pool: list[int]
    settings: dict[str, Any]
    forgotten: int
    """Snapshots from this id on are deleted."""


def delta_of(view: StateView, amendments: Iterable[Amendment]) -> StateDelta:
    """The state delta of amendments. An account that ends up empty is deleted (EIP-161)."""
    delta = StateDelta()
    for address, nonce, balance, code, slots in amendments:
        before = delta.accounts.get(address) or view.account(address) or EMPTY_ACCOUNT
        code_hash = before.code_hash
        if code is not None:
            code_hash = keccak256(code) if code else EMPTY_CODE_HASH
            if code:
                delta.codes[code_hash] = code
        after = Account(
            before.nonce if nonce is None else nonce, before.balance if balance is None else balance, code_hash
        )
        written = delta.storage.setdefault(address, {})
        written.update(slots)
        has_storage = any(written.values()) or _keeps_storage(view, address, written)
        delta.accounts[address] = None if after.is_empty and not has_storage else after
    return delta


def _keeps_storage(view: StateView, address: Address, written: dict[int, int]) -> bool:
    """Whether a slot other than those written is set."""
    if not view.has_storage(address):
        return False
    zeroed = sum(1 for slot in written if view.storage(address, slot))
    return not zeroed or len(view.slots_of(address)) > zeroed
