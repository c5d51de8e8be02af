"""The journal against a naive model that copies everything at each checkpoint, and its rules by fork."""

from __future__ import annotations

import copy
from dataclasses import dataclass, field
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chain.forks import Fork
from chain.hashing import keccak256
from chain.receipts import Log
from chain.state import EMPTY_ACCOUNT, EMPTY_CODE_HASH, Account, StateDelta
from chain.types import Address, Hash32
from tests.effort import tries
from vm.journal import Journal

A, B, C, RIPEMD = (Address(n.to_bytes(20, "big")) for n in (0xAA, 0xBB, 0xCC, 3))
ADDRESSES = (A, B, C)
CODES = (b"", b"\x00", b"\x60\x01")


@dataclass
class Base:
    """A state in dicts."""

    accounts: dict[Address, Account] = field(default_factory=dict)
    slots: dict[Address, dict[int, int]] = field(default_factory=dict)
    codes: dict[Hash32, bytes] = field(default_factory=dict)

    def account(self, address: Address) -> Account | None:
        return self.accounts.get(address)

    def storage(self, address: Address, slot: int) -> int:
        return self.slots.get(address, {}).get(slot, 0)

    def code(self, code_hash: Hash32) -> bytes:
        return self.codes.get(code_hash, b"")

    def has_storage(self, address: Address) -> bool:
        return any(self.slots.get(address, {}).values())

    def applied(self, delta: StateDelta) -> Base:
        """The state after the delta."""
        after = copy.deepcopy(self)
        for address in delta.wiped:
            after.slots.pop(address, None)
        for address, account in delta.accounts.items():
            if account is None:
                after.accounts.pop(address, None)
            else:
                after.accounts[address] = account
        for address, slots in delta.storage.items():
            after.slots.setdefault(address, {}).update(slots)
        after.codes.update(delta.codes)
        after.slots = {a: kept for a, s in after.slots.items() if (kept := {k: v for k, v in s.items() if v})}
        return after


def base() -> Base:
    code_hash = keccak256(CODES[2])
    return Base(
        {A: Account(3, 100, EMPTY_CODE_HASH), B: Account(1, 0, code_hash)},
        {B: {0: 7, 1: 8}},
        {code_hash: CODES[2]},
    )


@dataclass
class Model:
    """What the journal promises, the slow way."""

    state: Base
    fork: Fork
    codes: dict[Address, bytes] = field(default_factory=dict)
    original: Base = field(default_factory=Base)
    transient: dict[Any, int] = field(default_factory=dict)
    warm: set[Any] = field(default_factory=set)
    refund: int = 0
    logs: list[Log] = field(default_factory=list)
    created: set[Address] = field(default_factory=set)
    scheduled: set[Address] = field(default_factory=set)
    touched: set[Address] = field(default_factory=set)
    wiped: set[Address] = field(default_factory=set)
    """Whose storage of the state below is gone."""

    def has_storage(self, address: Address) -> bool:
        return self.state.has_storage(address) or (address not in self.wiped and base().has_storage(address))

    def set_account(self, address: Address, **changes: Any) -> None:
        self.state.accounts[address] = self.state.accounts.get(address, EMPTY_ACCOUNT)._replace(**changes)
        self.touched.add(address)

    def end(self) -> None:
        dead = set(self.scheduled)
        if self.fork >= Fork.SPURIOUS_DRAGON:
            existing = self.touched & self.state.accounts.keys()
            empty = {a for a in existing if self.state.accounts[a].is_empty}
            dead |= {a for a in empty if self.fork < Fork.PARIS or not self.has_storage(a)}  # EIP-7523
        for address in dead:
            self.state.accounts.pop(address, None)
            self.state.slots.pop(address, None)
        self.wiped |= dead
        self.begin()

    def begin(self) -> None:
        self.original = copy.deepcopy(self.state)
        self.transient, self.warm, self.refund, self.logs = {}, set(), 0, []
        self.created, self.scheduled, self.touched = set(), set(), set()


address_ = st.sampled_from(ADDRESSES)
slot_ = st.integers(0, 2)
value_ = st.integers(0, 2)
operation = st.one_of(
    st.tuples(st.just("set_balance"), address_, value_),
    st.tuples(st.just("add_balance"), address_, value_),
    st.tuples(st.just("set_nonce"), address_, value_),
    st.tuples(st.just("set_code"), address_, st.sampled_from(CODES)),
    st.tuples(st.just("set_storage"), address_, slot_, value_),
    st.tuples(st.just("set_transient"), address_, slot_, value_),
    st.tuples(st.just("warm_account"), address_),
    st.tuples(st.just("warm_slot"), address_, slot_),
    st.tuples(st.just("add_refund"), st.integers(-5, 5)),
    st.tuples(st.just("emit"), address_),
    st.tuples(st.just("create_account"), address_),
    st.tuples(st.just("self_destruct"), address_),
    st.tuples(st.just("touch"), address_),
    st.tuples(st.just("checkpoint")),
    st.tuples(st.just("revert"), st.integers(0, 3)),
    st.tuples(st.just("commit")),
    st.tuples(st.just("end_transaction")),
)


def act(model: Model, name: str, arguments: tuple[Any, ...]) -> None:
    """The same operation on the model."""
    match name, arguments:
        case "set_balance", (a, n):
            model.set_account(a, balance=n)
        case "add_balance", (a, n):
            if n or model.fork < Fork.SPURIOUS_DRAGON:
                model.set_account(a, balance=model.state.accounts.get(a, EMPTY_ACCOUNT).balance + n)
            model.touched.add(a)
        case "set_nonce", (a, n):
            model.set_account(a, nonce=n)
        case "set_code", (a, code):
            model.state.codes[keccak256(code)] = code
            model.set_account(a, code_hash=keccak256(code))
        case "set_storage", (a, slot, n):
            model.state.slots.setdefault(a, {})[slot] = n
        case "set_transient", (a, slot, n):
            model.transient[a, slot] = n
        case (("warm_account" | "warm_slot"), key):
            model.warm.add(key)
        case "add_refund", (n,):
            model.refund += n
        case "emit", (a,):
            model.logs.append(Log(a, (), b"x"))
        case "create_account", (a,):
            model.set_account(a)
            model.created.add(a)
            model.wiped.add(a)
            model.state.slots.pop(a, None)
        case "self_destruct", (a,):
            model.scheduled.add(a)
        case "touch", (a,):
            model.touched.add(a)


def compare(journal: Journal, model: Model) -> None:
    for a in ADDRESSES:
        assert journal.account(a) == model.state.accounts.get(a, EMPTY_ACCOUNT)
        assert journal.exists(a) == (a in model.state.accounts)
        assert journal.code(a) == (model.state.code(journal.code_hash(a)) if journal.code_hash(a) else b"")
        assert journal.was_created(a) == (a in model.created)
        assert journal.is_warm_account(a) == ((a,) in model.warm)
        for slot in range(3):
            assert journal.storage(a, slot) == model.state.storage(a, slot)
            assert journal.transient(a, slot) == model.transient.get((a, slot), 0)
            assert journal.is_warm_slot(a, slot) == ((a, slot) in model.warm)
            if a not in model.created:
                assert journal.original_storage(a, slot) == model.original.storage(a, slot)
    assert journal.refund == model.refund
    assert journal.logs == model.logs


@settings(max_examples=tries(150, 3_000), deadline=None)
@given(st.sampled_from([Fork.FRONTIER, Fork.SPURIOUS_DRAGON, Fork.OSAKA]), st.lists(operation, max_size=40))
def test_journal_does_what_copying_would(fork: Fork, operations: list[Any]) -> None:
    journal, model = Journal(base(), fork), Model(base(), fork)
    journal.begin_transaction()
    model.begin()
    saved: list[tuple[int, Model]] = []
    for name, *arguments in operations:
        if name == "checkpoint":
            saved.append((journal.checkpoint(), copy.deepcopy(model)))
        elif name == "revert":
            if saved:
                del saved[len(saved) - min(arguments[0], len(saved) - 1) :]
                mark, model = saved.pop()
                journal.revert(mark)
        elif name == "commit":
            if saved:
                journal.commit(saved.pop()[0])
        elif name == "end_transaction":
            journal.end_transaction()
            journal.begin_transaction()
            model.end()
            saved.clear()
        elif name == "emit":
            journal.emit(Log(arguments[0], (), b"x"))
            act(model, name, tuple(arguments))
        elif name in ("warm_account", "warm_slot"):
            assert getattr(journal, name)(*arguments) == (tuple(arguments) not in model.warm)
            act(model, name, tuple(arguments))
        else:
            getattr(journal, name)(*arguments)
            act(model, name, tuple(arguments))
        compare(journal, model)
    delta, before = journal.delta(), base()
    after = before.applied(delta)
    assert after.accounts == model.state.accounts
    kept = {a: {k: v for k, v in slots.items() if v} for a, slots in model.state.slots.items()}
    assert after.slots == {a: slots for a, slots in kept.items() if slots}
    for account in after.accounts.values():
        assert (
            account.code_hash == EMPTY_CODE_HASH
            or keccak256(after.code(account.code_hash)) == account.code_hash
        )
    # Nothing in the delta that the base has already.
    assert all(before.account(a) != account for a, account in delta.accounts.items())
    for a, slots in delta.storage.items():
        assert a in delta.wiped or all(before.storage(a, slot) != value for slot, value in slots.items())


def test_an_unchanged_journal_has_no_delta() -> None:
    journal = Journal(base(), Fork.OSAKA)
    journal.begin_transaction()
    journal.transfer(A, C, 5)
    journal.transfer(C, A, 5)
    journal.set_storage(B, 0, 9)
    journal.set_storage(B, 0, 7)
    journal.end_transaction()
    assert journal.delta() == StateDelta()


@pytest.mark.parametrize("fork", [Fork.HOMESTEAD, Fork.SPURIOUS_DRAGON])
def test_touched_empty_accounts_go_from_eip_161_on(fork: Fork) -> None:
    state = base()
    state.accounts[C] = EMPTY_ACCOUNT
    journal = Journal(state, fork)
    journal.begin_transaction()
    journal.add_balance(C, 0)
    journal.end_transaction()
    assert journal.delta().accounts == ({C: None} if fork >= Fork.SPURIOUS_DRAGON else {})


def test_the_touch_of_ripemd_survives_a_revert() -> None:
    state = base()
    state.accounts |= {RIPEMD: EMPTY_ACCOUNT, C: EMPTY_ACCOUNT}
    journal = Journal(state, Fork.SPURIOUS_DRAGON)
    journal.begin_transaction()
    mark = journal.checkpoint()
    journal.add_balance(RIPEMD, 0)
    journal.add_balance(C, 0)
    journal.revert(mark)
    journal.end_transaction()
    assert journal.delta().accounts == {RIPEMD: None}


def test_a_destroyed_account_loses_storage_and_what_it_received_since() -> None:
    journal = Journal(base(), Fork.SHANGHAI)
    journal.begin_transaction()
    journal.self_destruct(B)
    journal.add_balance(B, 5)
    journal.end_transaction()
    assert journal.delta() == StateDelta(accounts={B: None}, wiped={B})
    assert journal.storage(B, 0) == 0
    assert not journal.has_storage(B)
    journal.begin_transaction()
    journal.set_balance(B, 1)
    journal.set_storage(B, 0, 7)
    journal.end_transaction()
    assert journal.delta() == StateDelta({B: Account(0, 1)}, {B: {0: 7}}, {B})


def test_abandoning_restores_all() -> None:
    journal = Journal(base(), Fork.OSAKA)
    journal.begin_transaction()
    journal.transfer(A, B, 50)
    journal.set_storage(B, 0, 1)
    journal.abandon_transaction()
    assert journal.delta() == StateDelta()
    assert journal.balance(A) == 100


def test_precompiles_are_warm_from_berlin_on() -> None:
    for fork, warm in ((Fork.ISTANBUL, False), (Fork.BERLIN, True)):
        journal = Journal(base(), fork)
        journal.begin_transaction()
        assert journal.is_warm_account(RIPEMD) is warm
