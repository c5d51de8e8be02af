"""A whole state in memory, the pre-state of a test, and its root after changes."""

from __future__ import annotations

from typing import Any

from chain.hashing import EMPTY_ROOT, keccak256
from chain.state import EMPTY_CODE_HASH, Account, StateDelta
from chain.trie import encode_account, storage_root_of, trie_root
from chain.types import Address, Hash32


class MemoryState:
    """A `chain.state.StateReader` over dicts, never changed once made."""

    def __init__(self) -> None:
        self.accounts: dict[Address, Account] = {}
        self.slots: dict[Address, dict[int, int]] = {}
        self.codes: dict[Hash32, bytes] = {}
        self._leaves: dict[bytes, bytes] | None = None

    @classmethod
    def from_json(cls, alloc: dict[str, dict[str, Any]]) -> MemoryState:
        """State of a test's ``pre``: address to balance, nonce, code and storage, all hex strings."""
        state = cls()
        for key, entry in alloc.items():
            address = Address(bytes.fromhex(key[2:]))
            code = bytes.fromhex(entry["code"][2:])
            code_hash = EMPTY_CODE_HASH
            if code:
                code_hash = keccak256(code)
                state.codes[code_hash] = code
            state.accounts[address] = Account(int(entry["nonce"], 16), int(entry["balance"], 16), code_hash)
            slots = {int(slot, 16): number for slot, value in entry["storage"].items() if (number := int(value, 16))}
            if slots:
                state.slots[address] = slots
        return state

    def account(self, address: Address) -> Account | None:
        """The account, or None."""
        return self.accounts.get(address)

    def storage(self, address: Address, slot: int) -> int:
        """Value of a slot."""
        slots = self.slots.get(address)
        return slots.get(slot, 0) if slots else 0

    def code(self, code_hash: Hash32) -> bytes:
        """Code of this hash."""
        return self.codes.get(code_hash, b"")

    def has_storage(self, address: Address) -> bool:
        """Whether any slot is set."""
        return address in self.slots

    def root(self) -> Hash32:
        """Root of the state."""
        return trie_root(self._all_leaves())

    def root_after(self, delta: StateDelta) -> Hash32:
        """Root of the state with the delta applied."""
        return trie_root(self._leaves_after(delta))

    def _leaves_after(self, delta: StateDelta) -> dict[bytes, bytes]:
        leaves = dict(self._all_leaves())
        for address in delta.accounts.keys() | delta.storage.keys() | delta.wiped:
            account = delta.accounts[address] if address in delta.accounts else self.accounts.get(address)
            key = keccak256(address)
            if account is None:
                leaves.pop(key, None)
                continue
            slots = {} if address in delta.wiped else self.slots.get(address, {})
            leaves[key] = _leaf(account, slots | delta.storage.get(address, {}))
        return leaves

    def after(self, delta: StateDelta) -> MemoryState:
        """The state with the delta applied, as a new one."""
        state = MemoryState()
        state._leaves = self._leaves_after(delta)
        state.accounts, state.slots = dict(self.accounts), dict(self.slots)
        state.codes = self.codes | delta.codes
        for address in delta.wiped:
            state.slots.pop(address, None)
        for address, account in delta.accounts.items():
            if account is None:
                state.accounts.pop(address, None)
            else:
                state.accounts[address] = account
        for address, changed in delta.storage.items():
            slots = {slot: value for slot, value in (state.slots.get(address, {}) | changed).items() if value}
            state.slots[address] = slots
            if not slots:
                del state.slots[address]
        return state

    def _all_leaves(self) -> dict[bytes, bytes]:
        if self._leaves is None:
            self._leaves = {
                keccak256(address): _leaf(account, self.slots.get(address, {}))
                for address, account in self.accounts.items()
            }
        return self._leaves


def _leaf(account: Account, slots: dict[int, int]) -> bytes:
    return encode_account(account, storage_root_of(slots) if slots else EMPTY_ROOT)
