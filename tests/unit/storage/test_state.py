"""The state store against a naive model: a whole dict of accounts and slots per block."""

from __future__ import annotations

import random
import threading
from copy import deepcopy

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chain.hashing import EMPTY_ROOT, keccak256
from chain.state import EMPTY_ACCOUNT, Account, StateDelta
from chain.trie import state_root_of
from chain.types import Address, Hash32
from storage.errors import StateStoreCorrupt, StateUnavailable
from storage.state.apply import hashed_address
from storage.state.keys import CODE, HISTORY, STORAGE_NODE, TOUCHED
from storage.state.reader import StateView
from storage.state.store import StateStore
from tests.effort import tries
from tests.simulation.simkv import SimKv

World = dict[Address, tuple[Account, dict[int, int]]]
ADDRESSES = [Address(bytes([n]) * 20) for n in range(1, 7)]
SLOTS = [0, 1, 2, 2**255, 2**256 - 1]


def advance(world: World, delta: StateDelta) -> World:
    """The model: order of application as `StateDelta` tells it."""
    world = deepcopy(world)
    for address in delta.wiped:
        if address in world:
            world[address] = (world[address][0], {})
    for address, account in delta.accounts.items():
        if account is None:
            world.pop(address, None)
        else:
            world[address] = (account, world.get(address, (None, {}))[1])
    for address, slots in delta.storage.items():
        if address in world:
            for slot, value in slots.items():
                world[address][1].pop(slot, None)
                if value:
                    world[address][1][slot] = value
    return world


def write_down(store: StateStore, kv: SimKv) -> None:
    """A whole checkpoint at the head."""
    number = store.freeze() if store.frozen is None else store.frozen
    kv.write(*store.checkpoint_batch(number))
    store.checkpoint_done(number)


def assert_same(store: StateStore, number: int, world: World) -> None:
    view = store.view(number)
    for address in ADDRESSES:
        account, slots = world.get(address, (None, {}))
        assert view.account(address) == account
        assert view.has_storage(address) == bool(slots)
        assert view.slots_of(address) == slots
        for slot in SLOTS:
            assert view.storage(address, slot) == slots.get(slot, 0)
    assert set(view.addresses()) == set(world)


def assert_only(kv: SimKv, world: World) -> None:
    """The store holds the values and nodes of this world, as a store filled with it in one go does."""
    fresh_kv = SimKv()
    fresh = StateStore(fresh_kv, retention=0)
    accounts = {address: account for address, (account, _) in world.items()}
    fresh.apply(0, StateDelta(accounts, {address: slots for address, (_, slots) in world.items()}))
    write_down(fresh, fresh_kv)
    kept = {key: value for key, value in kv.items().items() if key[:1] in b"asno"}
    assert kept == {key: value for key, value in fresh_kv.items().items() if key[:1] in b"asno"}


accounts = st.one_of(
    st.none(),
    st.builds(
        Account,
        st.integers(0, 3),
        st.sampled_from([0, 1, 10**18, 2**256 - 1]),
        st.sampled_from([EMPTY_ACCOUNT.code_hash, keccak256(b"code")]),
    ),
)


@st.composite
def deltas(draw: st.DrawFn) -> StateDelta:
    changed = draw(st.dictionaries(st.sampled_from(ADDRESSES), accounts, max_size=4))
    storage = draw(
        st.dictionaries(
            st.sampled_from(ADDRESSES),
            st.dictionaries(
                st.sampled_from(SLOTS), st.sampled_from([0, 0, 1, 127, 128, 2**256 - 1]), max_size=4
            ),
            max_size=3,
        )
    )
    for address in storage:
        if changed.get(address, EMPTY_ACCOUNT) is None:
            changed[address] = EMPTY_ACCOUNT
        changed.setdefault(address, Account(1, 1))
    wiped = draw(st.sets(st.sampled_from(ADDRESSES), max_size=2))
    return StateDelta(changed, storage, wiped, {keccak256(b"code"): b"code"})


STEPS = ("apply", "apply", "apply", "amend", "amend", "freeze", "write", "done", "reopen", "rewind")


histories = given(
    st.lists(st.tuples(st.sampled_from(STEPS), deltas(), st.integers(1, 4)), min_size=1, max_size=18),
    st.sampled_from([None, 0, 2, 5]),
)


@settings(max_examples=tries(30, 400), deadline=None)
@histories
def test_every_kept_block_reads_as_in_the_model(
    steps: list[tuple[str, StateDelta, int]], retention: int | None
) -> None:
    check_kept_blocks(steps, retention)


@pytest.mark.full
@settings(max_examples=2_000, deadline=None)
@histories
def test_kept_blocks_of_many_histories(steps: list[tuple[str, StateDelta, int]], retention: int | None) -> None:
    check_kept_blocks(steps, retention)


def check_kept_blocks(steps: list[tuple[str, StateDelta, int]], retention: int | None) -> None:
    kv = SimKv()
    store = StateStore(kv, retention)
    worlds: list[World] = []
    """By position."""
    blocks: list[range] = []
    """The positions of each block."""
    held: list[tuple[StateView, World]] = []
    written = False
    for step, delta, back in [("apply", StateDelta(), 0), *steps]:
        if step in ("apply", "amend"):
            worlds.append(advance(worlds[-1] if worlds else {}, delta))
            first = len(worlds) - 1 if step == "apply" else blocks.pop().start
            blocks.append(range(first, len(worlds)))
            root = store.apply(len(blocks) - 1, delta) if step == "apply" else store.amend(delta)
            assert root == state_root_of(worlds[-1]) == store.head_root
            held.append((store.view(len(blocks) - 1), worlds[-1]))
        elif step == "freeze" and store.frozen is None:
            store.freeze()
        elif step == "write" and store.frozen is not None and not written:
            kv.write(*store.checkpoint_batch(store.frozen))
            written = True
        elif step == "done" and store.frozen is not None and written:
            store.checkpoint_done(store.frozen)
            written = False
        elif step == "rewind" and store.frozen is None and store.position - back >= max(store._epoch.oldest, 0):
            del worlds[-back:]
            blocks = [range(b.start, min(b.stop, len(worlds))) for b in blocks if b.start < len(worlds)]
            assert store.rewind(store.position - back) == state_root_of(worlds[-1]) == store.head_root
        elif step == "reopen" and store.frozen is None and store.head >= 0:
            write_down(store, kv)
            assert_only(kv, worlds[-1])
            kv = kv.copy()
            store = StateStore(kv, retention)
            assert store.head_root == state_root_of(worlds[-1])
        assert store.head == len(blocks) - 1
        for number in range(max(store.oldest, 0), len(blocks)):
            assert_same(store, number, worlds[blocks[number].stop - 1])
            assert store.positions.sealed(number) == blocks[number].start
            assert {store.positions.block_of(position) for position in blocks[number]} == {number}
        for number in (store.oldest - 1, len(blocks)):
            with pytest.raises(StateUnavailable):
                store.view(number)
    for view, world in held:  # views taken long ago still see their block, even of a chain that is gone
        for address in ADDRESSES:
            account, slots = world.get(address, (None, {}))
            assert view.account(address) == account
            assert view.slots_of(address) == slots


@settings(max_examples=tries(20, 300), deadline=None)
@given(st.lists(deltas(), min_size=2, max_size=10))
def test_the_store_holds_no_garbage(changes: list[StateDelta]) -> None:
    """After a checkpoint the nodes are those of a store built in one go; no zero or expired value is kept."""
    kv = SimKv()
    store = StateStore(kv, retention=1)
    world: World = {}
    for number, delta in enumerate(changes):
        world = advance(world, delta)
        store.apply(number, delta)
        write_down(store, kv)
    assert_only(kv, world)
    last = len(changes) - 1
    for key in kv.items():
        if key[:1] in HISTORY + TOUCHED and not key.startswith(b"meta"):
            assert int.from_bytes(key[-8:], "big") == last


def test_views_stay_right_while_blocks_and_checkpoints_go_on() -> None:
    kv = SimKv()
    store = StateStore(kv, retention=None)
    worlds: dict[int, dict[Address, int]] = {}
    rng = random.Random(5)
    balances = dict.fromkeys(ADDRESSES, 0)
    store.apply(0, StateDelta({a: Account(0, 0) for a in ADDRESSES}))
    worlds[0] = dict(balances)
    published = [0]
    failures: list[str] = []
    stop = threading.Event()

    def read(seed: int) -> None:
        picks = random.Random(seed)
        while not stop.is_set():
            number = picks.randint(max(0, published[0] - 30), published[0])
            view = store.view(number)
            for address in ADDRESSES:
                account = view.account(address)
                seen = account.balance if account else None
                slot = view.storage(address, 7)
                if seen != worlds[number][address] or slot != seen:
                    failures.append(f"block {number}: {seen} {slot} instead of {worlds[number][address]}")
                    return

    def checkpoint(number: int) -> None:
        kv.write(*store.checkpoint_batch(number))
        store.checkpoint_done(number)

    readers = [threading.Thread(target=read, args=(seed,)) for seed in range(3)]
    for reader in readers:
        reader.start()
    writer: threading.Thread | None = None
    for number in range(1, 600):
        chosen = rng.sample(ADDRESSES, 2)
        for address in chosen:
            balances[address] = number
        worlds[number] = dict(balances)
        store.apply(
            number, StateDelta({a: Account(0, number) for a in chosen}, {a: {7: number} for a in chosen})
        )
        published[0] = number
        if number % 10 == 0 and store.frozen is None:
            writer = threading.Thread(target=checkpoint, args=(store.freeze(),))
            writer.start()
    stop.set()
    for reader in readers:
        reader.join()
    assert writer is not None
    writer.join()
    assert not failures
    assert store.checkpointed >= 10


def test_deleting_an_account_takes_its_storage_with_it() -> None:
    kv = SimKv()
    store = StateStore(kv)
    address = ADDRESSES[0]
    store.apply(0, StateDelta({address: Account(1, 5)}, {address: {n: n + 1 for n in range(50)}}))
    write_down(store, kv)
    store.apply(1, StateDelta({address: None}))
    assert store.head_root == EMPTY_ROOT
    assert store.view(1).storage(address, 3) == 0
    assert store.view(0).storage(address, 3) == 4
    write_down(store, kv)
    assert not [key for key in kv.items() if key[:1] in STORAGE_NODE + b"asn"]
    assert store.view(0).slots_of(address) == {n: n + 1 for n in range(50)}
    assert store.view(1).slots_of(address) == {}


def test_damage_is_an_error_and_never_an_answer() -> None:
    kv = SimKv()
    store = StateStore(kv)
    address, code = ADDRESSES[0], b"\x60\x01"
    code_hash = keccak256(code)
    store.apply(
        0, StateDelta({address: Account(1, 5, code_hash)}, {address: {1: 1, 2: 2}}, set(), {code_hash: code})
    )
    write_down(store, kv)

    def damaged(key: bytes, value: bytes) -> StateStore:
        copy = kv.copy()
        copy.write({key: value}, ())
        return StateStore(copy)

    with pytest.raises(StateStoreCorrupt):
        damaged(CODE + code_hash, b"\x60\x02").view(0).code(code_hash)
    with pytest.raises(StateStoreCorrupt):
        StateStore(kv).view(0).code(Hash32(bytes(32)))
    with pytest.raises(StateStoreCorrupt):
        damaged(b"n", b"\xc0")
    with pytest.raises(StateStoreCorrupt):
        damaged(b"meta/state", b"short")
    with pytest.raises(StateStoreCorrupt):
        damaged(b"a" + address, b"\x07" * 9).view(0).account(address)
    store = damaged(
        STORAGE_NODE + hashed_address(address), kv.items()[STORAGE_NODE + hashed_address(address)][:-1]
    )
    with pytest.raises(StateStoreCorrupt):
        store.apply(1, StateDelta(storage={address: {1: 7}}))


def test_blocks_come_in_order_and_checkpoints_one_at_a_time() -> None:
    kv = SimKv()
    store = StateStore(kv)
    with pytest.raises(ValueError, match="follow"):
        store.apply(1, StateDelta())
    store.apply(0, StateDelta())
    store.freeze()
    with pytest.raises(RuntimeError):
        store.freeze()
    with pytest.raises(ValueError, match="frozen"):
        store.checkpoint_batch(1)
    with pytest.raises(ValueError, match="written"):
        store.checkpoint_done(1)


def random_delta(rng: random.Random) -> StateDelta:
    changed = {a: Account(rng.randint(0, 9), rng.randint(0, 9)) for a in rng.sample(ADDRESSES, 2)}
    storage = {a: {rng.choice(SLOTS): rng.choice([0, 1, 2])} for a in changed}
    gone = rng.choice(ADDRESSES)
    if rng.random() < 0.2 and gone not in changed:
        return StateDelta({**changed, gone: None}, storage)
    return StateDelta(changed, storage, {rng.choice(ADDRESSES)} if rng.random() < 0.1 else set())


@pytest.mark.parametrize("seed", range(8))
def test_going_back_over_checkpoints(seed: int) -> None:
    rng = random.Random(seed)
    kv = SimKv()
    store = StateStore(kv)
    worlds: list[World] = [{}]
    store.apply(0, StateDelta())
    for _ in range(60):
        action = rng.random()
        if action < 0.6:
            delta = random_delta(rng)
            worlds.append(advance(worlds[-1], delta))
            assert store.apply(len(worlds) - 1, delta) == state_root_of(worlds[-1])
        elif action < 0.8:
            del worlds[rng.randint(max(0, len(worlds) - 6), len(worlds) - 1) + 1 :]
            assert store.rewind(len(worlds) - 1) == state_root_of(worlds[-1])
        else:
            write_down(store, kv)
            assert_only(kv, worlds[-1])
            for key in kv.items():
                if key[:1] in b"ht":
                    assert int.from_bytes(key[-8:], "big") < len(worlds)
            if rng.random() < 0.3:
                store = StateStore(kv.copy())
                kv = store._kv  # type: ignore[assignment]
        for number, world in enumerate(worlds):
            assert_same(store, number, world)
