"""Storage: SSTORE's gas and refunds; the native table of warm slots against Python for the same programs."""

from __future__ import annotations

import random

import pytest

from chain.forks import Fork
from tests.unit.vm.programs import CALLER, MACHINE, OTHER, TARGET, World, code, returning_top
from vm.message import Halt, Outcome

ADDRESSES = (TARGET, OTHER)

# EIP-2200 test cases as (original, values written in turn, gas of the writes in Istanbul, refund).
EIP_2200 = [
    (0, (0, 0), 1600, 0),
    (0, (0, 1), 20800, 0),
    (0, (1, 0), 20800, 19200),
    (0, (1, 2), 20800, 0),
    (0, (1, 1), 20800, 0),
    (1, (0, 0), 5800, 15000),
    (1, (0, 1), 5800, 4200),
    (1, (0, 2), 5800, 0),
    (1, (2, 0), 5800, 15000),
    (1, (2, 3), 5800, 0),
    (1, (2, 1), 5800, 4200),
    (1, (2, 2), 5800, 0),
    (1, (1, 0), 5800, 15000),
    (1, (1, 2), 5800, 0),
    (1, (1, 1), 1600, 0),
    (0, (1, 0, 1), 40800, 19200),
    (1, (0, 1, 0), 10800, 19200),
]


@pytest.mark.parametrize(("original", "values", "gas", "refund"), EIP_2200)
def test_eip_2200_table(original: int, values: tuple[int, ...], gas: int, refund: int) -> None:
    world = World(Fork.ISTANBUL)
    world.state.slots[TARGET] = {0: original}
    outcome = world.call(code(*[part for value in values for part in (value, 0, "SSTORE")]))
    assert 1_000_000 - outcome.gas_left == gas + 6 * len(values)
    assert world.journal.refund == refund


def test_the_sentry_keeps_the_stipend() -> None:
    for fork, gas, halt in (
        (Fork.ISTANBUL, 2306, Halt.OUT_OF_GAS),
        (Fork.ISTANBUL, 2307, Halt.STOP),
        (Fork.CANCUN, 2306, Halt.OUT_OF_GAS),
        (Fork.CANCUN, 2307, Halt.STOP),
    ):
        world = World(fork)
        world.state.slots[TARGET] = {0: 1}
        world.journal.warm_slot(TARGET, 0)
        assert world.call(code(1, 0, "SSTORE"), gas).halt is halt
        # Again with the slot in the native table.
        warmed = code(0, "SLOAD POP", 1, 0, "SSTORE")
        before = 5 + (800 if fork < Fork.BERLIN else 100)
        assert world.call(warmed, gas + before).halt is halt


def test_transient_storage_ends_with_its_frame_if_that_fails() -> None:
    world = World()
    world.journal.set_code(OTHER, code(1, 5, "TSTORE", 0, 0, "REVERT"))
    target = int.from_bytes(OTHER, "big")
    assert world.top(9, 5, "TSTORE", 0, 0, 0, 0, 0, target, "GAS CALL POP", 5, "TLOAD") == 9


def storage_program(source: random.Random, depth: int = 0) -> bytes:
    """Random loads and stores of few slots, a cold one now and then, and calls of the other account."""
    parts: list[str | int] = []
    for _ in range(source.randrange(3, 14)):
        slot = source.choice([0, 0, 1, 2, 3, 2**255 + 1, source.randrange(40)])
        choice = source.randrange(10)
        if choice < 3:
            parts += [slot, "SLOAD POP"]
        elif choice < 8:
            parts += [source.choice([0, 0, 1, 2, 3, 2**256 - 1]), slot, "SSTORE"]
        elif choice == 8:
            parts += [slot, "SLOAD", source.choice([0, 1]), "ADD", slot, "SSTORE"]
        else:
            kind = source.choice(["CALL", "DELEGATECALL", "STATICCALL", "CALLCODE"])
            value = [0] if kind in {"CALL", "CALLCODE"} else []
            callee = int.from_bytes(source.choice(ADDRESSES), "big")
            parts += [0, 0, 0, 0, *value, callee, source.choice([3000, 30_000, 100_000]), kind, "POP"]
    parts += [source.choice(["STOP", "STOP", "INVALID"])] if source.random() < 0.7 else [0, 0, "REVERT"]
    return code(*parts)


def outcome_of(seed: int, fork: Fork, batch: int | None) -> tuple[Outcome, int, dict[int, dict[int, int]]]:
    """Run the seed's programs natively, or in batches of steps, each of which begins with an empty table."""
    source = random.Random(seed)
    world = World(fork)
    for address in ADDRESSES:
        world.state.slots[address] = {slot: source.choice([0, 1, 2]) for slot in range(4)}
        world.journal.set_code(address, storage_program(source))
    execution = MACHINE.begin(world.message(gas=source.choice([20_000, 200_000, 800_000])), world.context)
    if batch is None:
        outcome = execution.run()
    else:
        while (ended := execution.step(batch)) is None:
            pass
        outcome = ended
    execution.close()
    touched = {i: {s: world.journal.storage(a, s) for s in range(40)} for i, a in enumerate(ADDRESSES)}
    return outcome, world.journal.refund, touched


@pytest.mark.parametrize(
    "fork", [Fork.BYZANTIUM, Fork.CONSTANTINOPLE, Fork.ISTANBUL, Fork.BERLIN, Fork.OSAKA]
)
def test_native_table_agrees_with_python(fork: Fork) -> None:
    ended_well = 0
    for seed in range(50):
        native = outcome_of(seed, fork, None)
        assert native == outcome_of(seed, fork, 1), seed
        assert native == outcome_of(seed, fork, 3), seed
        ended_well += native[0].success
    assert ended_well > 10


def test_many_slots_share_the_table() -> None:
    # Writes 3,000 slots, more than the table has places, then adds them up.
    program = returning_top(
        3000, "JUMPDEST", 1, "SWAP1 SUB DUP1 DUP1 SSTORE DUP1", 3, "JUMPI",
        3000, "JUMPDEST", 1, "SWAP1 SUB DUP1 SLOAD SWAP1 SWAP2 ADD SWAP1 DUP1", 18, "JUMPI POP",
    )  # fmt: skip
    world = World()
    outcome = world.call(program, gas=10**9)
    assert outcome.success
    assert int.from_bytes(outcome.output, "big") == sum(range(3000))
    assert all(world.journal.storage(TARGET, slot) == slot for slot in range(3000))


def test_a_failing_frame_forgets_its_native_writes() -> None:
    world = World()
    world.state.slots[TARGET] = {1: 7}
    outcome = world.call(code(1, "SLOAD POP", 8, 1, "SSTORE", 9, 1, "SSTORE INVALID"))
    assert outcome.halt is Halt.INVALID_OPCODE
    assert world.journal.storage(TARGET, 1) == 7
    assert world.top(1, "SLOAD") == 7
    assert world.journal.balance(CALLER) == 10**18


def test_more_slots_than_the_ledger_holds() -> None:
    # Stores n at slot n for n from 17,000 down to 1; a callee writes over all of them in vain before the end.
    world = World()
    loop = code(17_000, "JUMPDEST DUP1 DUP1 SSTORE", 1, "SWAP1 SUB DUP1", 3, "JUMPI")
    clear = code(17_000, "JUMPDEST", 0, "DUP2 SSTORE", 1, "SWAP1 SUB DUP1", 3, "JUMPI", 0, 0, "REVERT")
    world.journal.set_code(OTHER, clear)
    other = int.from_bytes(OTHER, "big")
    world.journal.set_code(TARGET, loop + code(0, 0, 0, 0, other, "GAS DELEGATECALL STOP"))
    outcome = MACHINE.execute(world.message(gas=900_000_000), world.context)
    assert outcome.success
    assert world.journal.known_storage(TARGET) == {n: n for n in range(1, 17_001)}
    assert world.journal.refund == 0
    world.journal.revert(0)
    assert not world.journal.delta().storage


def test_logs_larger_than_the_ledger_keep_their_order() -> None:
    world = World()
    inner = code(1, 0, "MSTORE", 7, 1, 31, "LOG1", 300_000, 0, "LOG0", 0, 0, "REVERT")
    world.journal.set_code(OTHER, inner)
    other = int.from_bytes(OTHER, "big")
    call: list[str | int] = [0, 0, 0, 0, 0, other, "GAS CALL POP"]
    program = code(*call, 5, 2, 0, "LOG1", 300_000, 0, "LOG0", 6, 2, 0, "LOG1", *call, *call)
    assert world.call(program, gas=90_000_000).success
    found = [(log.address, [int.from_bytes(t, "big") for t in log.topics], len(log.data)) for log in world.journal.logs]
    assert found == [(TARGET, [5], 2), (TARGET, [], 300_000), (TARGET, [6], 2)]
