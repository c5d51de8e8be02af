"""Every sequence of up to three of twelve things a node does, crashed at every call."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from itertools import product
from random import Random

import pytest

from tests.simulation.explore import Run, survive
from tests.simulation.script import GWEI, Script, Workload

SEED = int(os.environ.get("ZVMD_SIMULATION_SEED", "1"))
SEQUENCES = 30

OPERATIONS: dict[str, Callable[[Script], None]] = {
    "send": lambda s: s.turn(s.transfer(0, 1, 5), wait_mined=s.life.ledger.controls.automine),
    "send and leave in flight": lambda s: s.turn(s.transfer(1, 2, 6), s.transfer(2, 2, 7), commit=False),
    "leave a gap": lambda s: s.turn(s.transfer(5, 1, 8, nonce=s.nonces[5] + 1, cap=21 * GWEI)),
    "fill the gap": lambda s: s.turn(s.transfer(5, 1, 9)),
    "replace": lambda s: s.turn(s.transfer(5, 1, 1, nonce=s.nonces[5] + 1, cap=40 * GWEI, tip=4 * GWEI)),
    "mine": lambda s: s.life.turn(s.life.mine(2)),
    "hold back": lambda s: s.control("automine", not s.life.ledger.controls.automine),
    "freeze": lambda s: s.life.freeze(),
    "write frozen": lambda s: s.life.write_frozen(),
    "index": lambda s: s.life.index(),
    "stop": lambda s: s.stop(),
    "kill": lambda s: s.life.commit() or s.kill(),
}


def sequences() -> list[tuple[str, ...]]:
    return [names for length in (1, 2, 3) for names in product(OPERATIONS, repeat=length)]


def explore(names: Sequence[str], cases: int) -> int:
    def script(s: Script) -> None:
        for name in names:
            OPERATIONS[name](s)
        s.life.commit()

    run = Run.of(", ".join(names), SEED, Workload(script))
    possible = run.cases(8)
    return sum(survive(run, case) for case in Random(SEED).sample(possible, min(cases, len(possible))))


def test_some_sequences() -> None:
    for names in Random(SEED).sample(sequences(), SEQUENCES):
        explore(names, 2)


@pytest.mark.full
@pytest.mark.timeout(7200)
@pytest.mark.parametrize("first", OPERATIONS)
def test_all_sequences(first: str) -> None:
    chosen = [names for names in sequences() if names[0] == first]
    assert len(chosen) == 157
    states = sum(explore(names, 6) for names in chosen)
    print(f"{first}: {len(chosen)} sequences, {states} recoveries")
