"""Changes of slots that a journal has not read yet: whatever happens next, it ends as if it had read them at once."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

import pytest

from chain.forks import Fork
from chain.state import StateDelta
from tests.unit.vm.programs import MACHINE, OTHER, TARGET, World, code
from tests.unit.vm.test_native_calls import CONTRACTS, program
from vm.journal import Journal

Then = Callable[[World], None]


def _look(journal: Journal) -> None:
    journal.transients()


def _position(journal: Journal) -> list[Any]:
    return [
        (
            [journal.storage(a, s) for s in range(30)],
            [(journal.is_warm_slot(a, s), journal.original_storage(a, s)) for s in range(30)],
            [journal.transient(a, s) for s in range(30)],
        )
        for a in CONTRACTS
    ]


def _run_again(world: World) -> None:
    MACHINE.execute(world.message(gas=300_000), world.context)


def _run_in_vain(world: World) -> None:
    mark = world.journal.checkpoint()
    _run_again(world)
    world.journal.revert(mark)


def _write(world: World) -> None:
    journal = world.journal
    mark = journal.checkpoint()
    for slot in range(4):
        journal.set_storage(OTHER, slot, slot)
        journal.set_transient(TARGET, slot, slot)
        journal.warm_slot(TARGET, slot + 1)
    journal.revert(mark)
    journal.set_storage(TARGET, 1, 9)


def _reset(world: World) -> None:
    world.journal.create_account(OTHER)
    world.journal.self_destruct(TARGET)


def _return_to_a_snapshot(world: World) -> None:
    journal = world.journal
    snapshot = journal.snapshot()
    _run_again(world)
    journal.restore(snapshot)
    before = _position(journal)
    journal.revert(0)
    journal.restore(snapshot)
    assert _position(journal) == before


def _next_transaction(world: World) -> None:
    world.journal.end_transaction()
    world.journal.begin_transaction()


def _another_transaction(world: World) -> None:
    _next_transaction(world)
    _run_again(world)
    _next_transaction(world)


HAPPENINGS: dict[str, Then] = {
    "nothing": lambda _: None,
    "undone": lambda world: world.journal.revert(0),
    "abandoned": lambda world: world.journal.abandon_transaction(),
    "run again": _run_again,
    "run again and undone": _run_in_vain,
    "slots written from outside": _write,
    "accounts reset": _reset,
    "a snapshot": _return_to_a_snapshot,
    "the next transaction": _next_transaction,
    "another transaction": _another_transaction,
}


def _ended(seed: int, then: Then, *, at_once: bool) -> tuple[list[Any], StateDelta]:
    source = random.Random(seed)
    fork = source.choice((Fork.CANCUN, Fork.OSAKA, Fork.BERLIN, Fork.BYZANTIUM))
    world = World(fork)
    for level, address in enumerate(CONTRACTS):
        world.state.put(address, program(source, fork, level), balance=3)
        if source.random() < 0.5:
            world.state.slots[address] = {0: 5, 1: 7}
    _run_again(world)
    if at_once:
        _look(world.journal)
    then(world)
    if at_once:
        _look(world.journal)
    position = _position(world.journal)
    world.journal.end_transaction()
    return position, world.journal.delta()


@pytest.mark.parametrize("name", HAPPENINGS)
def test_reading_late_is_reading_at_once(name: str) -> None:
    for seed in range(40):
        then = HAPPENINGS[name]
        assert _ended(seed, then, at_once=False) == _ended(seed, then, at_once=True), seed


def test_an_ended_transaction_leaves_only_its_values() -> None:
    world = World()
    world.state.put(TARGET, code(5, 1, "SSTORE", 6, 1, "TSTORE", 7, 2, "SSTORE", 0, 2, "SSTORE", 3, "SLOAD"))
    _run_again(world)
    world.journal.end_transaction()
    assert world.journal.delta().storage == {TARGET: {1: 5}}
    assert world.journal.storage(TARGET, 1) == world.journal.original_storage(TARGET, 1) == 5
    assert not world.journal.is_warm_slot(TARGET, 3)
    assert world.journal.transient(TARGET, 1) == 0
