"""The journal: every change execution makes, over an immutable state, undoable to any checkpoint.

One undo list holds entries of a single form, ``(container, key, previous)``: reverting walks it backwards and
puts each previous value back (or removes the key when there was none). Accounts, slots, transient slots, warm
sets, the refund counter, logs and the sets of created, touched and scheduled accounts are all dicts or lists,
so nothing needs an undo rule of its own. What native code did to slots is read when somebody looks at slots.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from chain.forks import Fork
from chain.hashing import keccak256
from chain.receipts import Log
from chain.state import EMPTY_ACCOUNT, EMPTY_CODE_HASH, Account, StateDelta, StateReader
from chain.types import UINT256_MAX, Address, Hash32
from vm.evm.native_state.changes import ABSENT, RawChanges, SlotTables, UndoEntries, put_back
from vm.evm.native_state.logs import logs_of
from vm.precompiles import precompiles_by_address

_RIPEMD: Final = Address(bytes(19) + b"\x03")
"""Its EIP-161 touch survives a revert, as it did in mainnet block 2,675,119; all clients kept that."""

_REFUND: Final = 0
"""Key of the refund counter in its one-entry dict."""


class Journal:
    """State of a block while it executes; also of dev cheats, through the same setters outside a transaction.

    Checkpoints nest and end with the transaction. Not safe for use by several threads.
    """

    __slots__ = (
        *("_accounts", "_base_accounts", "_base_storage", "_clears_empty", "_codes", "_created", "_log_parts"),
        *("_refund", "_scheduled", "_state", "_tables", "_touched", "_undo", "_unread", "_warm_accounts"),
        *("_wiped", "fork", "precompiles"),
    )

    def __init__(self, state: StateReader, fork: Fork) -> None:
        self._state = state
        self.fork = fork
        self.precompiles: Mapping[Address, Address] = precompiles_by_address(fork)
        """Where a precompiled contract answers -> which one; the fork's, unless one was moved."""
        self._clears_empty = fork >= Fork.SPURIOUS_DRAGON
        self._undo: UndoEntries = []
        # Values now and, for what was read, values in the state below.
        self._accounts: dict[Address, Account | None] = {}
        self._base_accounts: dict[Address, Account | None] = {}
        self._tables = SlotTables({}, {}, {}, {})
        self._unread: list[RawChanges] = []
        self._base_storage: dict[Address, dict[int, int]] = {}
        self._codes: dict[Hash32, bytes] = {}
        self._wiped: dict[Address, bool] = {}
        # One transaction only.
        self._log_parts: list[Log | bytes] = []
        self._warm_accounts: dict[Address, bool] = {}
        self._refund: dict[int, int] = {_REFUND: 0}
        self._created: dict[Address, bool] = {}
        self._touched: dict[Address, bool] = {}
        self._scheduled: dict[Address, bool] = {}

    # Accounts

    def _load(self, address: Address) -> Account | None:
        account = self._state.account(address)
        self._accounts[address] = self._base_accounts[address] = account
        return account

    def account(self, address: Address) -> Account:
        """The account, `EMPTY_ACCOUNT` if there is none."""
        try:
            account = self._accounts[address]
        except KeyError:
            account = self._load(address)
        return EMPTY_ACCOUNT if account is None else account

    def exists(self, address: Address) -> bool:
        """Whether there is such an account, even an empty one; rules since EIP-161 ask ``is_empty``."""
        try:
            return self._accounts[address] is not None
        except KeyError:
            return self._load(address) is not None

    def would_be_new(self, address: Address, value: int) -> bool:
        """Whether ``value`` wei would bring the account into being, for which calls and SELFDESTRUCT pay (EIP-161)."""
        if self._clears_empty:
            return value > 0 and self.account(address).is_empty
        return not self.exists(address)

    def balance(self, address: Address) -> int:
        """Balance in wei."""
        return self.account(address).balance

    def nonce(self, address: Address) -> int:
        """Nonce."""
        return self.account(address).nonce

    def code_hash(self, address: Address) -> Hash32:
        """Keccak-256 of the code, `EMPTY_CODE_HASH` without code or account."""
        return self.account(address).code_hash

    def code(self, address: Address) -> bytes:
        """Code of the account."""
        code_hash = self.account(address).code_hash
        if code_hash == EMPTY_CODE_HASH:
            return b""
        code = self._codes.get(code_hash)
        if code is None:
            code = self._codes[code_hash] = self._state.code(code_hash)
        return code

    def _put(self, address: Address, account: Account) -> None:
        """Record a change of the account and touch it (EIP-161)."""
        self._undo.append((self._accounts, address, self._accounts[address]))
        self._accounts[address] = account
        if address not in self._touched:
            self.touch(address)

    def set_balance(self, address: Address, balance: int) -> None:
        """Set the balance, creating the account if needed."""
        account = self.account(address)
        self._put(address, Account(account.nonce, balance, account.code_hash))

    def add_balance(self, address: Address, amount: int) -> None:
        """Add wei, to 2**256 - 1 at most, or remove some; touch. Adding 0 creates an account only before EIP-161."""
        account = self.account(address)
        if amount == 0 and self._clears_empty:
            self.touch(address)
            return
        balance = min(account.balance + amount, UINT256_MAX)
        assert balance >= 0, "balance below zero"
        self._put(address, Account(account.nonce, balance, account.code_hash))

    def transfer(self, sender: Address, recipient: Address, amount: int) -> None:
        """Move wei; the caller has checked that the sender has them."""
        if amount:
            self.add_balance(sender, -amount)
        self.add_balance(recipient, amount)

    def set_nonce(self, address: Address, nonce: int) -> None:
        """Set the nonce, creating the account if needed."""
        account = self.account(address)
        self._put(address, Account(nonce, account.balance, account.code_hash))

    def set_code(self, address: Address, code: bytes) -> None:
        """Set the code, creating the account if needed."""
        account = self.account(address)
        code_hash = keccak256(code)
        self._codes[code_hash] = code
        self._put(address, Account(account.nonce, account.balance, code_hash))

    def touch(self, address: Address) -> None:
        """Have the account cleared at the end of the transaction if it is empty then (EIP-161)."""
        if address not in self._touched:
            self._touched[address] = True
            if address != _RIPEMD:
                self._undo.append((self._touched, address, ABSENT))

    def create_account(self, address: Address) -> None:
        """Begin a contract at the address: storage is reset, the balance stays, `was_created` is true."""
        account = self.account(address)
        self._put(address, Account(account.nonce, account.balance, account.code_hash))
        self._mark(self._created, address)
        if self._slots.storage.get(address) or (address not in self._wiped and self._state.has_storage(address)):
            self._wipe(address)

    def was_created(self, address: Address) -> bool:
        """Whether the account was created in this transaction (EIP-6780)."""
        return address in self._created

    def self_destruct(self, address: Address) -> bool:
        """Delete the account when the transaction ends; whether that is new.

        EIP-6780 and the balance are the caller's business.
        """
        return self._mark(self._scheduled, address)

    def is_self_destructed(self, address: Address) -> bool:
        """Whether the account will be deleted when the transaction ends."""
        return address in self._scheduled

    def _mark(self, members: dict[Any, bool], member: object) -> bool:
        """Add to a set; whether it was new."""
        if member in members:
            return False
        members[member] = True
        self._undo.append((members, member, ABSENT))
        return True

    # Storage

    @property
    def _slots(self) -> SlotTables:
        """All about slots."""
        if self._unread:
            for changes in self._unread:
                changes.read(self._tables)
            self._unread.clear()
        return self._tables

    def tell(self, changes: RawChanges) -> None:
        """Take over what native code did to slots; it is read when somebody looks."""
        self._undo.append((changes, None, ABSENT))
        self._unread.append(changes)

    def _load_slot(self, address: Address, slot: int) -> int:
        slots = self._slots.storage.setdefault(address, {})
        if address in self._wiped:
            value = 0
        else:
            value = self._state.storage(address, slot)
            self._base_storage.setdefault(address, {})[slot] = value
        slots[slot] = value
        return value

    def storage(self, address: Address, slot: int) -> int:
        """Value of a slot now."""
        try:
            return self._slots.storage[address][slot]
        except KeyError:
            return self._load_slot(address, slot)

    def original_storage(self, address: Address, slot: int) -> int:
        """Value of a slot when the transaction began (EIP-2200); 0 for accounts created in it."""
        if address in self._created:
            return 0
        try:
            return self._slots.original[address][slot]
        except KeyError:
            return self.storage(address, slot)

    def peek_storage(self, address: Address, slot: int) -> tuple[int, int]:
        """Original and present value of a slot, which is not among the `known_storage` for it."""
        try:
            current = self._slots.storage[address][slot]
        except KeyError:
            current = 0 if address in self._wiped else self._state.storage(address, slot)
        known = self._slots.original.get(address, {})
        return 0 if address in self._created else known.get(slot, current), current

    def set_storage(self, address: Address, slot: int, value: int) -> None:
        """Set a slot; 0 clears it."""
        previous = self.storage(address, slot)
        if previous == value:
            return
        self._tables.original.setdefault(address, {}).setdefault(slot, previous)
        slots = self._tables.storage[address]
        self._undo.append((slots, slot, previous))
        slots[slot] = value

    def has_storage(self, address: Address) -> bool:
        """Whether any slot is set (EIP-7610). Slots of the state below count although cleared since."""
        if any(self._slots.storage.get(address, {}).values()):
            return True
        return address not in self._wiped and self._state.has_storage(address)

    def _wipe(self, address: Address) -> None:
        """Forget the whole storage of the account, also that of the state below."""
        storage = self._slots.storage
        self._undo.append((storage, address, storage.get(address, ABSENT)))
        storage[address] = {}
        self._mark(self._wiped, address)

    def transient(self, address: Address, slot: int) -> int:
        """Value of a transient slot (EIP-1153)."""
        return self._slots.transient.get((address, slot), 0)

    def set_transient(self, address: Address, slot: int, value: int) -> None:
        """Set a transient slot (EIP-1153)."""
        key, transient = (address, slot), self._slots.transient
        self._undo.append((transient, key, transient.get(key, 0)))
        transient[key] = value

    # Warm sets, refund, logs

    def warm_account(self, address: Address) -> bool:
        """Warm the account (EIP-2929); whether it was cold."""
        return self._mark(self._warm_accounts, address)

    def is_warm_account(self, address: Address) -> bool:
        """Whether the account is warm (EIP-2929)."""
        return address in self._warm_accounts

    def warm_slot(self, address: Address, slot: int) -> bool:
        """Warm the slot (EIP-2929); whether it was cold."""
        return self._mark(self._slots.warm, (address, slot))

    def is_warm_slot(self, address: Address, slot: int) -> bool:
        """Whether the slot is warm (EIP-2929)."""
        return (address, slot) in self._slots.warm

    @property
    def refund(self) -> int:
        """Refund counter of the transaction, gas."""
        return self._refund[_REFUND]

    def add_refund(self, gas: int) -> None:
        """Add to the refund counter; negative to take back (EIP-2200)."""
        previous = self._refund[_REFUND]
        self._undo.append((self._refund, _REFUND, previous))
        self._refund[_REFUND] = previous + gas

    @property
    def logs(self) -> list[Log]:
        """The transaction's logs."""
        return logs_of(self._log_parts)

    def emit(self, log: Log | bytes) -> None:
        """Append a log, or several as native code recorded them, to the transaction's."""
        self._undo.append((self._log_parts, len(self._log_parts), ABSENT))
        self._log_parts.append(log)

    # Checkpoints and transactions

    def checkpoint(self) -> int:
        """A point to `revert` to or `commit`."""
        return len(self._undo)

    def revert(self, checkpoint: int) -> None:
        """Undo everything since the checkpoint, which ends it and those inside it."""
        undo = self._undo
        while len(undo) > checkpoint:
            put_back(*undo.pop())

    def commit(self, checkpoint: int) -> None:
        """Keep what happened since the checkpoint; an outer one can still undo it."""
        assert checkpoint <= len(self._undo), "checkpoint from a transaction that has ended"

    def begin_transaction(self) -> None:
        """Start with only precompiles warm, no refund, no logs; what came before is the original state."""
        self._forget_transaction()
        if self.fork >= Fork.BERLIN:
            self._warm_accounts.update(dict.fromkeys(self.precompiles, True))

    def replace_precompile(self, address: Address, moved_to: Address | None = None) -> None:
        """Have the account's own code run instead of a precompiled contract, which answers elsewhere or not at all."""
        left = dict(self.precompiles)
        contract = left.pop(address)
        if moved_to is not None:
            left[moved_to] = contract
        self.precompiles = left

    def abandon_transaction(self) -> None:
        """Undo everything since `begin_transaction`."""
        self.revert(0)
        self._forget_transaction()

    def end_transaction(self) -> None:
        """Delete scheduled accounts, then touched empty ones (EIP-161); forget what lasts one transaction."""
        for address in self._scheduled:
            self._delete(address)
        if self._clears_empty:
            for address in self._touched:
                account = self._accounts[address] if address in self._accounts else self._load(address)
                # Since the merge only a development call gives an empty account storage (EIP-7523): that stays.
                is_empty = account is not None and account.is_empty
                if is_empty and (self.fork < Fork.PARIS or not self.has_storage(address)):
                    self._delete(address)
        self._forget_transaction()

    def _delete(self, address: Address) -> None:
        self.account(address)  # loads what the delta compares with
        self._accounts[address] = None
        self._wipe(address)

    def _forget_transaction(self) -> None:
        self._undo.clear()
        self._log_parts = []
        self._refund[_REFUND] = 0
        for changes in self._unread:
            changes.has_ended = True
        for table in self._tables[1:]:  # all but the values of storage
            table.clear()
        self._warm_accounts.clear()
        self._created.clear()
        self._touched.clear()
        self._scheduled.clear()

    def known_storage(self, address: Address) -> dict[int, int]:
        """Slots read or written so far, and their values now."""
        return dict(self._slots.storage.get(address, {}))

    def transients(self) -> dict[tuple[Address, int], int]:
        """All transient slots that are not zero; whether one was set and is zero again, nobody can tell (EIP-1153)."""
        return {key: value for key, value in self._slots.transient.items() if value}

    def delta(self) -> StateDelta:
        """Net changes since construction; values equal to the state below are left out."""
        delta = StateDelta()
        for address, account in self._accounts.items():
            before = self._base_accounts[address]
            if account is before or account == before:
                continue
            delta.accounts[address] = account
            code_hash = EMPTY_CODE_HASH if account is None else account.code_hash
            if code_hash != EMPTY_CODE_HASH and (before is None or before.code_hash != code_hash):
                delta.codes[code_hash] = self._codes[code_hash]
        delta.wiped = {address for address in self._wiped if self._state.has_storage(address)}
        for address, slots in self._slots.storage.items():
            if address in delta.wiped:
                changed = {slot: value for slot, value in slots.items() if value}
            else:
                base = self._base_storage.get(address, {})
                changed = {slot: value for slot, value in slots.items() if value != base.get(slot, 0)}
            if changed:
                delta.storage[address] = changed
        return delta
