"""The journal: every change that execution makes, over an immutable state, undoable to any checkpoint.

Each change appends an entry to one undo list; the entry is named for what happened and knows what undoes it, as in
revm's ``JournalEntry``. Reverting to a checkpoint undoes the entries behind it, the last one first. Changes that code
with a state of its own recorded come in bulk (`RecordedChanges`, `chain.receipts.RecordedLogs`) and are read when
somebody looks.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator, Mapping
from functools import cache
from itertools import starmap
from operator import is_
from typing import Any, Final, NamedTuple, Protocol

import msgspec

from chain.forks import BERLIN, PARIS, SPURIOUS_DRAGON, Fork
from chain.hashing import keccak256
from chain.receipts import Log, RecordedLogs, read_logs
from chain.state import EMPTY_ACCOUNT, EMPTY_CODE_HASH, Account, StateDelta, StateReader
from chain.types import UINT256_MAX, Address, Hash32
from vm.precompiles import precompiles_by_address

_RIPEMD: Final = Address(bytes(19) + b"\x03")
"""Its EIP-161 touch survives a revert, as it did in mainnet block 2,675,119; all clients kept that."""

CHANGE_BYTES: Final = 400
"""What a change and the slot or account it is of are taken to need. Measured: 145 bytes for a cold account that was
looked at, 250 for a slot that was written, and up to 515 for a moment while a table of them is made larger."""

CHUNK: Final = 4096
"""Items of a container that snapshots share or copy together."""
MARKED_CONTAINERS: Final = 64
"""Containers of a journal that a mark describes at most; there are two for each account with slots."""
ITEM_BYTES: Final = 32
"""A number, on average: most keys and undo entries hold one that nothing else does."""


# Bulk: what is recorded elsewhere


SlotChange = tuple[Address, int, bool, int, int | None, int]
"""One access to a slot by code that keeps slots itself: a plain tuple, as there are very many.

Account; slot; whether it is a transient one; not 0 if the access warmed it (EIP-2929); what it held before, None if it
was only read; what it holds after all changes of the record.
"""


class RecordedChanges(Protocol):
    """Changes of slots, recorded in a form of their own."""

    @property
    def held_bytes(self) -> int:
        """Bytes of the record."""

    def changes(self) -> Iterable[SlotChange]:
        """All of them, in their order."""

    def written(self) -> Iterable[tuple[Address, int, int]]:
        """The slots of storage that were written, and what they hold after all changes."""


# Undo entries


class UndoEntry(Protocol):
    """One change; its name says of what."""

    def undo(self, journal: Journal) -> None:
        """Put back what was before the change, which is the last one that has not been undone."""


class AccountChanged(msgspec.Struct, frozen=True, gc=False):
    """Balance, nonce or code was set."""

    address: Address
    previous: Account | None

    def undo(self, journal: Journal) -> None:
        journal._accounts[self.address] = self.previous


class AccountTouched(msgspec.Struct, frozen=True, gc=False):
    """The account is to be cleared if it ends empty (EIP-161)."""

    address: Address

    def undo(self, journal: Journal) -> None:
        del journal._touched[self.address]


class AccountCreated(msgspec.Struct, frozen=True, gc=False):
    """A contract began at the address."""

    address: Address

    def undo(self, journal: Journal) -> None:
        del journal._created[self.address]


class AccountScheduled(msgspec.Struct, frozen=True, gc=False):
    """SELFDESTRUCT: the account is to be deleted when the transaction ends."""

    address: Address

    def undo(self, journal: Journal) -> None:
        del journal._scheduled[self.address]


class AccountWarmed(msgspec.Struct, frozen=True, gc=False):
    """First access to the account (EIP-2929)."""

    address: Address

    def undo(self, journal: Journal) -> None:
        del journal._warm_accounts[self.address]


class SlotWarmed(msgspec.Struct, frozen=True, gc=False):
    """First access to the slot (EIP-2929)."""

    key: tuple[Address, int]

    def undo(self, journal: Journal) -> None:
        del journal._tables.warm[self.key]


class StorageChanged(msgspec.Struct, frozen=True, gc=False):
    """SSTORE."""

    address: Address
    slot: int
    previous: int

    def undo(self, journal: Journal) -> None:
        journal._tables.storage[self.address][self.slot] = self.previous


class StorageWiped(msgspec.Struct, frozen=True, gc=False):
    """All storage of the account was forgotten."""

    address: Address
    previous: dict[int, int] | None
    """Slots known before; nobody changes this dict any more."""
    was_wiped: bool
    """It had been wiped before."""

    def undo(self, journal: Journal) -> None:
        if self.previous is None:
            del journal._tables.storage[self.address]
        else:
            journal._tables.storage[self.address] = self.previous.copy()
        if not self.was_wiped:
            del journal._wiped[self.address]


class TransientChanged(msgspec.Struct, frozen=True, gc=False):
    """TSTORE."""

    key: tuple[Address, int]
    previous: int

    def undo(self, journal: Journal) -> None:
        journal._tables.transient[self.key] = self.previous


class RefundChanged(msgspec.Struct, frozen=True, gc=False):
    """The refund counter was changed."""

    previous: int

    def undo(self, journal: Journal) -> None:
        journal._refund = self.previous


class LogsAppended(msgspec.Struct, frozen=True, gc=False):
    """A log, or a record of several."""

    def undo(self, journal: Journal) -> None:
        journal._log_parts.pop()


class Marked(msgspec.Struct, eq=False, gc=False):
    """A position was marked here: nothing to undo."""

    def undo(self, journal: Journal) -> None:
        """Nothing."""


class BulkAdopted(msgspec.Struct, eq=False, gc=False):
    """Slots changed in bulk: the record until `read`, from then on what undoes its changes, by kind."""

    recorded: RecordedChanges | None
    """None once it has been read."""
    warmed: list[tuple[Address, int]] = msgspec.field(default_factory=list)
    """Account and slot of each first access (EIP-2929)."""
    written: list[tuple[Address, int, int]] = msgspec.field(default_factory=list)
    """Account, slot and previous value of each SSTORE, in order."""
    transients: list[tuple[tuple[Address, int], int]] = msgspec.field(default_factory=list)
    """Slot and previous value of each TSTORE, in order."""

    def read(self, tables: SlotTables) -> None:
        """Bring the tables up to date. Plain lists: a loop that runs long has many changes."""
        assert self.recorded is not None
        storage, original, transient, warm = tables
        last: Address | None = None
        for address, slot, is_transient, was_cold, previous, value in self.recorded.changes():
            if was_cold and (address, slot) not in warm:
                warm[address, slot] = True
                self.warmed.append((address, slot))
            if previous is None:
                continue
            if is_transient:
                self.transients.append(((address, slot), previous))
                transient[address, slot] = value
            else:
                if address is not last:
                    last, slots, originals = address, storage.setdefault(address, {}), original.setdefault(address, {})
                originals.setdefault(slot, previous)
                self.written.append((address, slot, previous))
                slots[slot] = value
        self.recorded = None

    def entries(self) -> Iterator[UndoEntry]:
        """What has been read as entries that undo one change each."""
        yield from map(SlotWarmed, self.warmed)
        yield from starmap(StorageChanged, self.written)
        yield from starmap(TransientChanged, self.transients)

    def undo(self, journal: Journal) -> None:
        if self.recorded is not None:
            journal._unread.pop()  # its record: all later ones have been undone
        storage, _, transient, warm = journal._tables
        for key in self.warmed:
            del warm[key]
        for address, slot, previous in reversed(self.written):
            storage[address][slot] = previous
        for key, previous in reversed(self.transients):
            transient[key] = previous


# Snapshots


class Chunk(NamedTuple):
    """Some items in order, and the bytes of those that the chunk before it does not hold."""

    items: list[Any]
    cost: int


class PartSnapshot(NamedTuple):
    """One container's content. Lists have no keys."""

    keys: tuple[Chunk, ...]
    values: tuple[Chunk, ...]


PartName = tuple[str, Address | None]
"""A container of the journal, and for those by account, whose."""


class JournalSnapshot(NamedTuple):
    """All that may be undone, and the undo list itself."""

    parts: dict[PartName, PartSnapshot]
    refund: int

    def _chunks(self) -> Iterator[Chunk]:
        for part in self.parts.values():
            yield from part.keys
            yield from part.values

    def pieces(self) -> Iterator[tuple[int, int]]:
        """Identity and bytes of what snapshots share."""
        for chunk in self._chunks():
            yield id(chunk.items), sys.getsizeof(chunk.items) + chunk.cost

    def items(self) -> int:
        """Keys, values and items of lists."""
        return sum(len(chunk.items) for chunk in self._chunks())

    def is_after(self, mark: JournalMark) -> bool:
        """Whether a journal restored to this leads back to the mark."""
        chunks, place = self.parts["undo", None].values, mark.height - 1
        items = chunks[place // CHUNK].items if place // CHUNK < len(chunks) else []
        return place % CHUNK < len(items) and items[place % CHUNK] is mark.entry

    def entries(self) -> int:
        """Items in all containers."""
        return sum(len(chunk.items) for part in self.parts.values() for chunk in part.values)


class JournalMark(NamedTuple):
    """A position of a journal that it can go back to by undoing, as long as it has undone nothing before it."""

    entry: Marked
    """In the undo list at that position: of another run through the same steps it is another object."""
    height: int
    """Length of the undo list, ``entry`` included."""
    sizes: dict[PartName, int]
    """Items of each container: what was read from the state below since is at its end."""


def _cost(items: list[Any]) -> int:
    """Bytes of items that nothing else holds: those of a container are alike, but for logs in bulk."""
    if not items:
        return 0
    sample = items[len(items) // 2]
    if hasattr(sample, "held_bytes"):
        return sum(getattr(item, "held_bytes", ITEM_BYTES) for item in items)
    holds_more = isinstance(sample, tuple | msgspec.Struct)
    return len(items) * (sys.getsizeof(sample) + (ITEM_BYTES if holds_more else 0))


def _chunks(items: list[Any], before: tuple[Chunk, ...]) -> tuple[Chunk, ...]:
    """The items in chunks, those of ``before`` where all items are the very same."""
    chunks = []
    for i in range(0, len(items), CHUNK):
        piece = items[i : i + CHUNK]
        old = before[i // CHUNK] if i // CHUNK < len(before) else None
        if old is None:
            chunks.append(Chunk(piece, _cost(piece)))
        elif len(old.items) == len(piece) and piece[-1] is old.items[-1] and all(map(is_, piece, old.items)):
            chunks.append(old)
        else:
            # A replay makes other objects of the same values.
            new = [item for item, known in zip(piece, old.items, strict=False) if item is not known]
            chunks.append(Chunk(piece, _cost(new) + _cost(piece[len(old.items) :])))
    return tuple(chunks)


class SlotTables(NamedTuple):
    """All that a journal holds of slots, as numbers."""

    storage: dict[Address, dict[int, int]]
    """Values now."""
    original: dict[Address, dict[int, int]]
    """Values when the transaction began, of slots that it changed."""
    transient: dict[tuple[Address, int], int]
    warm: dict[tuple[Address, int], bool]


@cache
def _warm_precompiles(fork: Fork) -> dict[Address, bool]:
    """A journal's warm accounts at the beginning of a transaction (EIP-2929). Nobody changes the dict."""
    return dict.fromkeys(precompiles_by_address(fork), True)


class Journal:
    """State of a block while it executes; also of dev cheats, through the same setters outside a transaction.

    Owns all that an execution changes and nothing of the state below. Checkpoints nest and end with the transaction.
    Not safe for use by several threads, but for `held_bytes`.
    """

    __slots__ = (
        *("_accounts", "_base_accounts", "_base_storage", "_clears_empty", "_codes", "_created", "_log_parts"),
        *("_has_access_lists", "_refund", "_scheduled", "_state", "_tables", "_touched", "_undo", "_unread"),
        *("_unread_ended", "_warm_accounts", "_warm_precompiles", "_wiped", "fork", "precompiles"),
    )

    def __init__(self, state: StateReader, fork: Fork) -> None:
        self._state = state
        self.fork = fork
        self.precompiles: Mapping[Address, Address] = precompiles_by_address(fork)
        """Where a precompiled contract answers -> which one; the fork's, unless one was moved."""
        self._warm_precompiles = _warm_precompiles(fork) if fork >= BERLIN else {}
        self._has_access_lists = fork >= BERLIN
        self._clears_empty = fork >= SPURIOUS_DRAGON
        self._undo: list[UndoEntry] = []
        # Values now and, for what was read, values in the state below.
        self._accounts: dict[Address, Account | None] = {}
        self._base_accounts: dict[Address, Account | None] = {}
        self._tables = SlotTables({}, {}, {}, {})
        self._unread: list[BulkAdopted] = []
        """Unread changes of this transaction, which are also in the undo list."""
        self._unread_ended: list[RecordedChanges] = []
        """Unread changes of ended transactions, of which only the storage values matter."""
        self._base_storage: dict[Address, dict[int, int]] = {}
        self._codes: dict[Hash32, bytes] = {}
        self._wiped: dict[Address, bool] = {}
        # One transaction only.
        self._log_parts: list[Log | RecordedLogs] = []
        self._warm_accounts: dict[Address, bool] = {}
        self._refund = 0
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
        self._undo.append(AccountChanged(address, self._accounts[address]))
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

    def begin_sending(self, sender: Address, nonce: int, bought: int) -> None:
        """Set the sender's nonce and take the wei that its gas costs: what a transaction begins with."""
        account = self.account(sender)
        balance = account.balance - bought
        assert balance >= 0, "balance below zero"
        self._put(sender, Account(nonce, balance, account.code_hash))

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
                self._undo.append(AccountTouched(address))

    def create_account(self, address: Address) -> None:
        """Begin a contract at the address: storage is reset, the balance stays, `was_created` is true."""
        account = self.account(address)
        self._put(address, Account(account.nonce, account.balance, account.code_hash))
        if address not in self._created:
            self._created[address] = True
            self._undo.append(AccountCreated(address))
        if self._slots.storage.get(address) or (address not in self._wiped and self._state.has_storage(address)):
            self._wipe(address)

    def was_created(self, address: Address) -> bool:
        """Whether the account was created in this transaction (EIP-6780)."""
        return address in self._created

    def self_destruct(self, address: Address) -> bool:
        """Delete the account when the transaction ends; whether that is new.

        EIP-6780 and the balance are the caller's business.
        """
        if address in self._scheduled:
            return False
        self._scheduled[address] = True
        self._undo.append(AccountScheduled(address))
        return True

    def is_self_destructed(self, address: Address) -> bool:
        """Whether the account will be deleted when the transaction ends."""
        return address in self._scheduled

    # Storage

    @property
    def _slots(self) -> SlotTables:
        """All about slots, once what came in bulk has been read."""
        if self._unread or self._unread_ended:
            self._read_bulk()
        return self._tables

    def _read_bulk(self) -> None:
        storage = self._tables.storage
        for recorded in self._unread_ended:
            for address, slot, value in recorded.written():
                storage.setdefault(address, {})[slot] = value
        self._unread_ended.clear()
        for bulk in self._unread:
            bulk.read(self._tables)
        self._unread.clear()

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
        if address not in self._created:  # whose creation may be reverted: the state below is the original then
            self._tables.original.setdefault(address, {}).setdefault(slot, previous)
        slots = self._tables.storage[address]
        self._undo.append(StorageChanged(address, slot, previous))
        slots[slot] = value

    def has_storage(self, address: Address) -> bool:
        """Whether any slot is set (EIP-7610). Slots of the state below count although cleared since."""
        if any(self._slots.storage.get(address, {}).values()):
            return True
        return address not in self._wiped and self._state.has_storage(address)

    def _wipe(self, address: Address) -> None:
        """Forget the whole storage of the account, also that of the state below."""
        storage = self._slots.storage
        self._undo.append(StorageWiped(address, storage.get(address), address in self._wiped))
        storage[address] = {}
        self._wiped[address] = True

    def transient(self, address: Address, slot: int) -> int:
        """Value of a transient slot (EIP-1153)."""
        return self._slots.transient.get((address, slot), 0)

    def set_transient(self, address: Address, slot: int, value: int) -> None:
        """Set a transient slot (EIP-1153)."""
        key, transient = (address, slot), self._slots.transient
        self._undo.append(TransientChanged(key, transient.get(key, 0)))
        transient[key] = value

    # Warm sets, refund, logs

    def warm_account(self, address: Address) -> bool:
        """Warm the account (EIP-2929); whether it was cold."""
        if address in self._warm_accounts:
            return False
        self._warm_accounts[address] = True
        self._undo.append(AccountWarmed(address))
        return True

    def warm_at_start(self, addresses: Iterable[Address]) -> None:
        """Warm accounts before the transaction's execution: only its end makes them cold again."""
        for address in addresses:
            self._warm_accounts[address] = True

    def is_warm_account(self, address: Address) -> bool:
        """Whether the account is warm (EIP-2929)."""
        return address in self._warm_accounts

    def warm_slot(self, address: Address, slot: int) -> bool:
        """Warm the slot (EIP-2929); whether it was cold."""
        key, warm = (address, slot), self._slots.warm
        if key in warm:
            return False
        warm[key] = True
        self._undo.append(SlotWarmed(key))
        return True

    def is_warm_slot(self, address: Address, slot: int) -> bool:
        """Whether the slot is warm (EIP-2929)."""
        return (address, slot) in self._slots.warm

    @property
    def refund(self) -> int:
        """Refund counter of the transaction, gas."""
        return self._refund

    def add_refund(self, gas: int) -> None:
        """Add to the refund counter; negative to take back (EIP-2200)."""
        self._undo.append(RefundChanged(self._refund))
        self._refund += gas

    @property
    def logs(self) -> list[Log]:
        """The transaction's logs."""
        return read_logs(self._log_parts)

    def recorded_logs(self) -> tuple[Log | RecordedLogs, ...]:
        """The transaction's logs in the form in which they were recorded, for `read_logs`."""
        return tuple(self._log_parts)

    def emit(self, log: Log | RecordedLogs) -> None:
        """Append a log, or a record of several, to the transaction's."""
        self._undo.append(LogsAppended())
        self._log_parts.append(log)

    # Checkpoints and transactions

    def checkpoint(self) -> int:
        """A point to `revert` to or `commit`."""
        return len(self._undo)

    def revert(self, checkpoint: int) -> None:
        """Undo everything since the checkpoint, which ends it and those inside it."""
        undo = self._undo
        while len(undo) > checkpoint:
            undo.pop().undo(self)

    def commit(self, checkpoint: int) -> None:
        """Keep what happened since the checkpoint; an outer one can still undo it."""
        assert checkpoint <= len(self._undo), "checkpoint from a transaction that has ended"

    def begin_transaction(self) -> None:
        """Start with only precompiles warm, no refund, no logs; what came before is the original state."""
        if self._undo or self._touched or self._warm_accounts:  # of a development call
            self._forget_transaction()
        if self._has_access_lists:
            self._warm_accounts.update(self._warm_precompiles)

    def replace_precompile(self, address: Address, moved_to: Address | None = None) -> None:
        """Have the account's own code run instead of a precompiled contract, which answers elsewhere or not at all."""
        left = dict(self.precompiles)
        contract = left.pop(address)
        if moved_to is not None:
            left[moved_to] = contract
        self.precompiles = left
        self._warm_precompiles = dict.fromkeys(left, True)

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
                if account is None or account.nonce or account.balance or account.code_hash != EMPTY_CODE_HASH:
                    continue
                # Since the merge only a development call gives an empty account storage (EIP-7523): that stays.
                if self.fork < PARIS or not self.has_storage(address):
                    self._delete(address)
        self._forget_transaction()

    def _delete(self, address: Address) -> None:
        self.account(address)  # loads what the delta compares with
        self._accounts[address] = None
        self._wipe(address)

    def _forget_transaction(self) -> None:
        self._undo.clear()
        self._log_parts = []
        self._refund = 0
        self._unread_ended += [bulk.recorded for bulk in self._unread if bulk.recorded is not None]
        self._unread.clear()
        for table in self._tables[1:]:  # all but the values of storage
            table.clear()
        self._warm_accounts.clear()
        self._created.clear()
        self._touched.clear()
        self._scheduled.clear()

    # In bulk, for code that keeps slots itself

    def adopt(self, recorded: RecordedChanges) -> None:
        """Take over changes of slots; they are read when somebody looks."""
        bulk = BulkAdopted(recorded)
        self._undo.append(bulk)
        self._unread.append(bulk)

    def apply(self, recorded: RecordedChanges) -> None:
        """Take over changes of slots at once, each with its own undo entry; the record is not kept."""
        if self._unread or self._unread_ended:
            self._read_bulk()
        bulk = BulkAdopted(recorded)
        bulk.read(self._tables)
        self._undo += bulk.entries()

    def slot_state(self, address: Address, slot: int) -> tuple[int, int, bool]:
        """Value of a slot, its value when the transaction began, and whether it is cold: what decides its gas."""
        slots = self._slots
        try:
            value = slots.storage[address][slot]
        except KeyError:
            value = self.storage(address, slot)
        original = self.original_storage(address, slot) if slots.original or self._created else value
        return value, original, (address, slot) not in slots.warm

    def knows_all_slots(self, address: Address, count: int) -> bool:
        """Whether only ``count`` slots of the account were ever looked at or warmed, and all others are 0."""
        slots = self._slots.storage.get(address, {})
        if len(slots) != count or any(a == address and s not in slots for a, s in self._slots.warm):
            return False
        return address in self._wiped or not self._state.has_storage(address)

    def cut_since(self, checkpoint: int) -> list[UndoEntry]:
        """Take the undo entries since the checkpoint off; `rejoin` puts them back behind what is recorded meanwhile."""
        entries = self._undo[checkpoint:]
        del self._undo[checkpoint:]
        return entries

    def rejoin(self, entries: list[UndoEntry]) -> int:
        """Put entries of `cut_since` back; the checkpoint before them."""
        checkpoint = len(self._undo)
        self._undo += entries
        return checkpoint

    # Snapshots

    def _containers(self) -> dict[PartName, dict[Any, Any] | list[Any]]:
        """All that may be undone, and the undo list, by name."""
        slots = self._slots
        return {
            ("undo", None): self._undo,
            ("accounts", None): self._accounts,
            ("wiped", None): self._wiped,
            ("logs", None): self._log_parts,
            ("warm accounts", None): self._warm_accounts,
            ("created", None): self._created,
            ("touched", None): self._touched,
            ("scheduled", None): self._scheduled,
            ("transient", None): slots.transient,
            ("warm slots", None): slots.warm,
            **{("storage", address): values for address, values in slots.storage.items()},
            **{("original", address): values for address, values in slots.original.items()},
        }

    def snapshot(self, before: JournalSnapshot | None = None) -> JournalSnapshot:
        """All that `restore` needs to come back again and again; what has not changed is shared with ``before``.

        Keys and values of each container are kept in lists of at most `CHUNK` items.
        """
        known = before.parts if before is not None else {}
        parts = {}
        for name, container in self._containers().items():
            keys, values = known.get(name) or PartSnapshot((), ())
            if isinstance(container, list):
                parts[name] = PartSnapshot((), _chunks(container, values))
            else:
                parts[name] = PartSnapshot(_chunks(list(container), keys), _chunks(list(container.values()), values))
        return JournalSnapshot(parts, self._refund)

    def restore(self, snapshot: JournalSnapshot) -> None:
        """Bring back what a snapshot of this journal holds."""
        self._unread.clear()
        self._unread_ended.clear()
        self._tables.storage.clear()
        self._tables.original.clear()
        for kind, address in snapshot.parts:
            if address is not None:
                table = self._tables.storage if kind == "storage" else self._tables.original
                table[address] = {}
        containers = self._containers()
        for name, (keys, values) in snapshot.parts.items():
            container = containers[name]
            container.clear()
            if isinstance(container, list):
                for chunk in values:
                    container.extend(chunk.items)
            else:
                for names, chunk in zip(keys, values, strict=True):
                    container.update(zip(names.items, chunk.items, strict=True))
        self._refund = snapshot.refund

    def mark(self, known: JournalMark | None = None) -> JournalMark | None:
        """Mark this position, to `return_to` later; None if too many containers would have to be described.

        It is ``known`` itself if nothing has changed since that was made.
        """
        slots, undo = self._slots, self._undo
        if len(slots.storage) + len(slots.original) > MARKED_CONTAINERS:
            return None
        sizes = {name: len(items) for name, items in self._containers().items()}
        if known is not None and known.height == len(undo) and undo[-1] is known.entry and sizes == known.sizes:
            return known
        entry = Marked()
        undo.append(entry)
        sizes["undo", None] = len(undo)
        return JournalMark(entry, len(undo), sizes)

    def is_after(self, mark: JournalMark) -> bool:
        """Whether `return_to` leads back to the mark."""
        return mark.height <= len(self._undo) and self._undo[mark.height - 1] is mark.entry

    def return_to(self, mark: JournalMark) -> None:
        """Undo all since a mark that `is_after` is true of, and forget what was read from the state below since."""
        tables = self._slots
        self.revert(mark.height)
        for kind, table in (("storage", tables.storage), ("original", tables.original)):
            for address in [address for address in reversed(table) if (kind, address) not in mark.sizes]:
                del table[address]
        for name, container in self._containers().items():
            if isinstance(container, list):
                del container[mark.sizes[name] :]
            else:
                for _ in range(len(container) - mark.sizes[name]):
                    container.popitem()

    def held_bytes(self) -> int:
        """What the changes of the transaction take, roughly. Any thread."""
        records = [bulk.recorded for bulk in tuple(self._unread)]
        records += self._unread_ended
        bulk = sum(recorded.held_bytes for recorded in records if recorded is not None)
        logs = sum(len(part.data) if isinstance(part, Log) else part.held_bytes for part in tuple(self._log_parts))
        return CHANGE_BYTES * (len(self._undo) + len(self._accounts)) + bulk + logs

    def entries(self) -> int:
        """How many things a look at all changes looks at, roughly."""
        tables = self._tables
        known = len(self._undo) + len(self._accounts) + len(tables.transient) + len(tables.warm)
        return known + self.held_bytes() // CHANGE_BYTES

    def bytes_besides(self, kept: JournalSnapshot) -> int:
        """Bytes of the journal besides the items that a snapshot of it holds anyway."""
        containers = self._containers().values()
        tables = sum(map(sys.getsizeof, containers))
        items = sum(len(container) * (1 if isinstance(container, list) else 2) for container in containers)
        return tables + 2 * ITEM_BYTES * max(0, items - kept.items())

    # What there is

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
