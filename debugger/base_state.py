"""The base state of a session: empty, given by the caller, or a witness, the entries that an earlier run read."""

from __future__ import annotations

import msgspec

from chain.hashing import keccak256
from chain.state import EMPTY_CODE_HASH, Account, BlockHashes, StateReader
from chain.trie import state_root_of
from chain.types import ZERO_HASH, Address, Hash32

EMPTY = Account()


class EmptyState:
    """No accounts."""

    def account(self, address: Address) -> Account | None:  # noqa: ARG002
        """None."""
        return None

    def storage(self, address: Address, slot: int) -> int:  # noqa: ARG002
        """0."""
        return 0

    def code(self, code_hash: Hash32) -> bytes:  # noqa: ARG002
        """No code."""
        return b""

    def has_storage(self, address: Address) -> bool:  # noqa: ARG002
        """Never."""
        return False


class WitnessAccount(msgspec.Struct, array_like=True, frozen=True, forbid_unknown_fields=True):
    """An account that was read; ``exists`` is false where there was none."""

    address: bytes
    exists: bool
    nonce: int
    balance: bytes
    code_hash: bytes
    has_storage: bool
    """Whether any slot is set, including slots that were not read."""
    slots: list[tuple[bytes, bytes]]
    """The slots read with their values, ascending, big-endian without leading zeros."""


class Witness(msgspec.Struct, array_like=True, frozen=True, forbid_unknown_fields=True):
    """Everything that a run read from its base state, which is enough to repeat the run anywhere."""

    accounts: list[WitnessAccount]
    """Ascending by address."""
    codes: list[bytes]
    """Ascending by hash."""
    block_hashes: list[tuple[int, bytes]]

    def root(self) -> Hash32:
        """State root of a state that holds exactly these entries."""
        return state_root_of(
            {
                Address(a.address): (
                    Account(a.nonce, int.from_bytes(a.balance, "big"), Hash32(a.code_hash)),
                    {int.from_bytes(k, "big"): int.from_bytes(v, "big") for k, v in a.slots if any(v)},
                )
                for a in self.accounts
                if a.exists
            }
        )


def _short(number: int) -> bytes:
    return number.to_bytes((number.bit_length() + 7) // 8, "big")


class RecordingState:
    """Forwards reads to another state and records them."""

    def __init__(self, below: StateReader, block_hash: BlockHashes | None = None) -> None:
        self.below = below
        self._block_hash = block_hash
        self._accounts: dict[Address, Account | None] = {}
        self._storage: dict[Address, dict[int, int]] = {}
        self._has_storage: dict[Address, bool] = {}
        self._codes: dict[Hash32, bytes] = {}
        self._hashes: dict[int, Hash32] = {}

    def account(self, address: Address) -> Account | None:
        """The account; the read is recorded."""
        if address not in self._accounts:
            self._accounts[address] = self.below.account(address)
        return self._accounts[address]

    def storage(self, address: Address, slot: int) -> int:
        """The slot; the read is recorded."""
        slots = self._storage.setdefault(address, {})
        if slot not in slots:
            slots[slot] = self.below.storage(address, slot)
        return slots[slot]

    def code(self, code_hash: Hash32) -> bytes:
        """The code; the read is recorded."""
        if code_hash not in self._codes:
            self._codes[code_hash] = self.below.code(code_hash)
        return self._codes[code_hash]

    def has_storage(self, address: Address) -> bool:
        """Whether any slot is set; the read is recorded."""
        if address not in self._has_storage:
            self._has_storage[address] = self.below.has_storage(address)
        return self._has_storage[address]

    def block_hash(self, number: int) -> Hash32:
        """Hash of an earlier block; the read is recorded."""
        if number not in self._hashes:
            self._hashes[number] = ZERO_HASH if self._block_hash is None else self._block_hash(number)
        return self._hashes[number]

    def know(self, witness: Witness) -> None:
        """Read all entries of a witness from the state below, so that they are recorded."""
        for account in witness.accounts:
            address = Address(account.address)
            known = self.account(address)
            if known is not None and known.code_hash != EMPTY_CODE_HASH:
                self.code(known.code_hash)
            if account.has_storage:
                self.has_storage(address)
            for slot, _ in account.slots:
                self.storage(address, int.from_bytes(slot, "big"))
        for number, _ in witness.block_hashes:
            self.block_hash(number)

    @property
    def reads(self) -> int:
        """Number of entries read; it never decreases."""
        slots = sum(map(len, self._storage.values()))
        return slots + len(self._accounts) + len(self._has_storage) + len(self._codes) + len(self._hashes)

    @property
    def touched(self) -> set[Address]:
        """Accounts read so far."""
        return set(self._accounts)

    @property
    def touched_slots(self) -> set[tuple[bytes, int]]:
        """Slots read so far."""
        return {(address, slot) for address, slots in self._storage.items() for slot in slots}

    def witness(self) -> Witness:
        """All reads so far, in canonical order."""
        touched = sorted({*self._accounts, *self._storage, *self._has_storage})
        accounts = []
        for address in touched:
            account = self.account(address)
            nonce, balance, code_hash = account or EMPTY
            if code_hash != EMPTY_CODE_HASH:
                self.code(code_hash)
            slots = [(_short(k), _short(v)) for k, v in sorted(self._storage.get(address, {}).items())]
            has_storage = self._has_storage.get(address, False) or any(v for _, v in slots)
            accounts.append(
                WitnessAccount(
                    address, account is not None, nonce, _short(balance), code_hash, has_storage, slots
                )
            )
        codes = [code for _, code in sorted(self._codes.items()) if code]
        return Witness(accounts, codes, sorted(self._hashes.items()))


class WitnessState:
    """A state that answers from a witness. Entries that are not in it are empty, and noted in ``assumed``."""

    def __init__(self, witness: Witness) -> None:
        self._accounts = {Address(a.address): a for a in witness.accounts}
        self._slots = {
            address: {int.from_bytes(k, "big"): int.from_bytes(v, "big") for k, v in a.slots}
            for address, a in self._accounts.items()
        }
        self._codes = {keccak256(code): code for code in witness.codes}
        self._hashes = {number: Hash32(value) for number, value in witness.block_hashes}
        self.assumed: set[str] = set()
        """Entries that were read but are not in the witness."""

    def account(self, address: Address) -> Account | None:
        """The account of the witness."""
        known = self._accounts.get(address)
        if known is None:
            self.assumed.add(f"account 0x{address.hex()}")
        if known is None or not known.exists:
            return None
        return Account(known.nonce, int.from_bytes(known.balance, "big"), Hash32(known.code_hash))

    def storage(self, address: Address, slot: int) -> int:
        """The slot of the witness."""
        slots = self._slots.get(address, {})
        if slot not in slots:
            self.assumed.add(f"slot {slot:#x} of 0x{address.hex()}")
        return slots.get(slot, 0)

    def code(self, code_hash: Hash32) -> bytes:
        """Code of the witness."""
        return self._codes.get(code_hash, b"")

    def has_storage(self, address: Address) -> bool:
        """As the witness says."""
        known = self._accounts.get(address)
        return known is not None and known.has_storage

    def block_hash(self, number: int) -> Hash32:
        """Hash of the witness."""
        if number not in self._hashes:
            self.assumed.add(f"hash of block {number}")
        return self._hashes.get(number, ZERO_HASH)
