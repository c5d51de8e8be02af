"""Every sequence of up to three of the things a node does, crashed at every call of the last.

With a development call in it the chain may be brought back: then `tests.simulation.test_cheats.History` is the judge.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from itertools import product
from random import Random

import pytest

from storage.blocks.delta import Deltas
from tests.simulation.disks import empty_index
from tests.simulation.explore import Picture, Run, survive
from tests.simulation.script import GWEI, Script, Workload
from tests.simulation.test_cheats import History, back, balance, cheat

SEED = int(os.environ.get("ZVMD_SIMULATION_SEED", "1"))
SEQUENCES = 30

DELTAS = (Deltas.ON, Deltas.OFF)


def lose_the_index(s: Script) -> None:
    """The next start finds the index as its migrations leave it, and fills it again."""
    s.life.commit()
    s.life.disk.index[:] = [empty_index()]
    s.kill()


OPERATIONS: dict[str, Callable[[Script], None]] = {
    "send": lambda s: s.turn(s.transfer(0, 1, 5), wait_mined=s.life.store.applied.settings.automine),
    "send and leave in flight": lambda s: s.turn(s.transfer(1, 2, 6), s.transfer(2, 2, 7), commit=False),
    "leave a gap": lambda s: s.turn(s.transfer(5, 1, 8, nonce=s.nonces[5] + 1, cap=21 * GWEI)),
    "fill the gap": lambda s: s.turn(s.transfer(5, 1, 9)),
    "replace": lambda s: s.turn(s.transfer(5, 1, 1, nonce=s.nonces[5] + 1, cap=40 * GWEI, tip=4 * GWEI)),
    "mine": lambda s: s.life.turn(s.life.mine(2)),
    "hold back": lambda s: s.control("automine", not s.life.store.applied.settings.automine),
    "set the clock": lambda s: s.control("time_offset_seconds", len(s.life.record.commands) + 60),
    "save a session": lambda s: s.keep(1, b"%d" % len(s.life.record.kept)),
    "import a session": lambda s: s.keep(len(s.life.record.kept) + 2, b"imported" * 300, commit=False),
    "close a session": lambda s: s.keep(1, None),
    "rotate": lambda s: s.keep(1, b"%d" % len(s.life.record.kept) * 5000),
    "checkpoint": lambda s: s.life.checkpoint(),
    "evm_snapshot": lambda s: cheat(s, "snapshot"),
    "evm_revert": lambda s: back(s, newest=True),
    "cheat": balance,
    "prune": lambda s: s.prune(),
    "migrate": lambda s: s.migrate(),
    "compress": lambda s: s.compress(),
    "freeze": lambda s: s.life.freeze(),
    "write frozen": lambda s: s.life.write_frozen(),
    "index": lambda s: s.life.index(),
    "lose the index": lose_the_index,
    "stop": lambda s: s.stop(),
    "kill": lambda s: s.life.commit() or s.kill(),
}
"""Checkpoints drop states older than two blocks, unless there is a development call."""
DEVELOPMENT = {"evm_snapshot", "evm_revert", "cheat"}


def sequences() -> list[tuple[str, ...]]:
    return [names for length in (1, 2, 3) for names in product(OPERATIONS, repeat=length)]


def explore(names: Sequence[str], cases: int, seed: int = SEED) -> int:
    """Crash in the last operation of a sequence: what comes before is another sequence. Returns the machines."""
    if DEVELOPMENT.intersection(names):
        history, source = History(names, seed, OPERATIONS), Random(f"{seed} {names}")
        chosen = history.pictures[history.last :]
        return sum(history.survive(one, source) for one in source.sample(chosen, min(cases, len(chosen))))
    before, chance = 0, Random(f"{seed} {names}")

    def script(s: Script) -> None:
        nonlocal before
        for name in names[:-1]:
            OPERATIONS[name](s)
        before = len(seen)
        OPERATIONS[names[-1]](s)
        s.life.commit()

    seen: list[Picture] = []
    options = {"retention_blocks": 2, "deltas": chance.choice(DELTAS)}
    run = Run.of(", ".join(names), seed, Workload(script, options=options), seen)
    possible = run.cases(8, before)
    some = chance.sample(possible, min(cases, len(possible)))
    return sum(survive(run, case, twice=number == 0) for number, case in enumerate(some))


def test_all_that_a_node_does_is_among_them() -> None:
    """The twelve of the plan; a session is saved or imported."""
    assert set(OPERATIONS) >= {
        "send", "mine", "checkpoint", "rotate", "save a session", "import a session", "evm_snapshot", "evm_revert",
        "cheat", "prune", "migrate", "stop",
    }  # fmt: skip


@pytest.mark.parametrize("name", ["prune", "migrate"])
def test_crashes_in_what_ends_the_process(name: str) -> None:
    assert explore(("save a session", "evm_snapshot", name), 3) + explore(("send", "rotate", name), 3) > 12


def test_some_sequences() -> None:
    for names in Random(SEED).sample(sequences(), SEQUENCES):
        explore(names, 2)


@pytest.mark.full
@pytest.mark.timeout(7200)
@pytest.mark.parametrize("first", OPERATIONS)
def test_all_sequences(first: str) -> None:
    chosen = [names for names in sequences() if names[0] == first]
    assert len(chosen) == 1 + len(OPERATIONS) + len(OPERATIONS) ** 2
    states = sum(explore(names, 6) for names in chosen)
    print(f"{first}: {len(chosen)} sequences, {states} crash states")
