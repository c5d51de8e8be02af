"""Call trees that native code runs by itself against the same trees in Python, which a tracer brings about."""

from __future__ import annotations

import random

import pytest

from chain.forks import Fork
from chain.types import Address
from tests.unit.vm.programs import CALLER, MACHINE, OTHER, TARGET, World, code
from vm.evm.trace import Tracer

THIRD = Address(b"\x33" * 20)
CONTRACTS = (TARGET, OTHER, THIRD)
NOBODY = Address(b"\x99" * 20)
IDENTITY = Address(bytes(19) + b"\x04")
KINDS = ("CALL", "CALLCODE", "DELEGATECALL", "STATICCALL")
FORKS = (Fork.CANCUN, Fork.CANCUN, Fork.PRAGUE, Fork.BERLIN, Fork.ISTANBUL, Fork.BYZANTIUM)


class Quiet(Tracer):
    """A tracer that ignores what it hears: with it every call and slot goes through Python."""

    hears_steps = True


def _call(source: random.Random, level: int) -> list[str | int]:
    kind = source.choice(KINDS)
    below = CONTRACTS[level + 1 :]
    anybody = (*CONTRACTS, NOBODY, IDENTITY)
    target = source.choice(below if below and source.random() < 0.9 else anybody)
    value = [source.choice((0, 0, 0, 0, 1))] if kind in ("CALL", "CALLCODE") else []
    ranges: list[str | int] = [source.choice((0, 7, 32, 70)) for _ in range(4)]
    gas: list[str | int] = ["GAS"] if source.random() < 0.4 else [source.choice((0, 700, 3_000, 9_000, 30_000, 2**200))]
    after: list[str | int] = [source.randrange(4), "SSTORE"] if source.random() < 0.2 else ["POP"]
    if source.random() < 0.3:
        after += ["RETURNDATASIZE", 0, 40, "RETURNDATACOPY"]
    return [*ranges, *value, int.from_bytes(target, "big"), *gas, kind, *after]


def program(source: random.Random, fork: Fork, level: int) -> bytes:
    """Random storage, logs and calls, mostly of contracts at a higher level; ends in any way."""
    parts: list[str | int] = []
    for _ in range(source.randrange(2, 9) if level > 1 else source.randrange(6, 20)):
        slot, value = source.choice((0, 0, 1, 2, source.randrange(30))), source.choice((0, 0, 1, 2, 2**256 - 1))
        choice = source.randrange(12)
        if choice < 2:
            parts += [value, slot, "SSTORE"]
        elif choice == 2:
            parts += [slot, "SLOAD", 0, "MSTORE"]
        elif choice == 3 and fork >= Fork.CANCUN:
            parts += [slot, "TLOAD", 1, "ADD", slot, "TSTORE"]
        elif choice == 4:
            topics = source.randrange(5)
            parts += [*[source.randrange(9) for _ in range(topics)], 33, 5, f"LOG{topics}"]
        elif choice == 5 and source.random() < 0.3:
            parts += [int.from_bytes(source.choice((*CONTRACTS, NOBODY)), "big"), "BALANCE POP"]
        elif choice == 6:
            parts += [0, "CALLDATALOAD CALLER ADD", 32, "MSTORE"]
        elif choice == 7 and source.random() < 0.2:
            parts += [0, 0, source.choice((0, 1)), "CREATE POP"]
        elif level < 2 or source.random() < 0.05:
            parts += _call(source, level)
    end = source.choice((*["STOP", "RETURN", "REVERT"] * 4, "INVALID", "SELFDESTRUCT"))
    if end in ("RETURN", "REVERT"):
        parts += [source.choice((0, 20, 64)), source.choice((0, 3)), end]
    elif end == "SELFDESTRUCT" and source.random() < 0.7:
        parts += ["STOP"]
    else:
        parts += ["CALLER", end] if end == "SELFDESTRUCT" else [end]
    return code(*parts)


def _ran(seed: int, tracer: Quiet | None) -> object:
    source = random.Random(seed)
    fork = source.choice(FORKS)
    world = World(fork)
    for level, address in enumerate(CONTRACTS):
        world.state.put(address, program(source, fork, level), balance=3)
        if source.random() < 0.5:
            world.state.slots[address] = {0: 5, 1: 7}
    if fork >= Fork.BERLIN:
        world.journal.warm_slot(OTHER, 1)
    gas = source.choice((30_000, 100_000, 400_000))
    message = world.message(gas=gas)
    outcome = MACHINE.execute(message, world.context, tracer)
    journal = world.journal
    known = [
        (journal.balance(a), journal.nonce(a), {s: v for s, v in journal.known_storage(a).items() if v})
        for a in (*CONTRACTS, NOBODY, CALLER)
    ]
    kept = journal.logs, journal.refund, known, journal.transients()
    warm = [(a, journal.is_warm_account(a)) for a in (*CONTRACTS, NOBODY)]
    warm_slots = [journal.is_warm_slot(a, s) for a in CONTRACTS for s in range(30)]
    journal.revert(0)
    delta = journal.delta()
    assert not delta.storage
    assert not delta.accounts
    assert not journal.logs
    assert journal.refund == 0
    assert not any(journal.is_warm_slot(a, s) for a in (TARGET, THIRD) for s in range(30))
    return outcome, kept, warm, warm_slots


@pytest.mark.parametrize("first", range(0, 300, 100))
def test_random_call_trees(first: int) -> None:
    for seed in range(first, first + 100):
        assert _ran(seed, None) == _ran(seed, Quiet()), seed


@pytest.mark.full
@pytest.mark.parametrize("first", range(1000, 31_000, 3000))
def test_many_random_call_trees(first: int) -> None:
    for seed in range(first, first + 3000):
        assert _ran(seed, None) == _ran(seed, Quiet()), seed
