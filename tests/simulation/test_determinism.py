"""The log alone makes the chain: replayed from genesis, from any checkpoint, or in another process, it is the same."""

from __future__ import annotations

import os
import subprocess
import sys
from random import Random

import pytest

from tests.paths import REPO
from tests.simulation.disks import Disk, MachineKv, empty_index
from tests.simulation.explore import Case, Run, survive
from tests.simulation.life import LAST, Life
from tests.simulation.programs import token
from tests.simulation.record import check, facts_of
from tests.simulation.script import Script, Workload
from tests.simulation.workloads import FIRST, TOKEN_SLOTS, WORKLOADS, token_units, word

SEED = int(os.environ.get("ZVMD_SIMULATION_SEED", "1"))


def without_derived(disk: Disk) -> Disk:
    """The machine with nothing but its log."""
    fs = disk.fs.restart()
    return Disk(fs, MachineKv(fs), [empty_index()])


@pytest.mark.parametrize("name", WORKLOADS)
def test_the_log_alone_makes_the_same_chain(name: str) -> None:
    run = Run.of(name, SEED)
    assert run.last is not None
    replayed = run.life(without_derived(run.last.disk))
    check(replayed.store, replayed.pool, run.record, run.record.mark())
    assert replayed.recovery.blocks == len(run.record.blocks) - 1
    reopened = run.life(run.last.disk)
    oldest = max(life.store.state.oldest for life in (run.last, reopened, replayed))
    assert replayed.digest(oldest) == reopened.digest(oldest)
    assert reopened.store.applied.tip.state_root == replayed.store.applied.tip.state_root


@pytest.mark.parametrize("name", ["tokens", "late checkpoints", "rotation and retention"])
def test_any_checkpoint_and_the_rest_of_the_log_make_the_same_chain(name: str) -> None:
    """Over the whole log: an older state store, an older index, as after a rebuild that was cut short."""
    run, source = Run.of(name, SEED), Random(SEED)
    assert run.last is not None
    for picture in source.sample(run.pictures, 6):
        fs = run.last.disk.fs.restart()
        disk = Disk(fs, MachineKv(fs, picture.disk.kv.items()), [source.choice(run.last.disk.index)])
        survive(run, Case(f"the end, with the state of call {picture.call}", disk, run.record.mark()))


def random_life(blocks: int, seed: int) -> Workload:
    """Transfers and token units between five accounts, now and then a checkpoint, an index run, a restart."""

    def run(s: Script) -> None:
        source = Random(seed)
        s.turn(s.create(0, token(), slots=(((FIRST, word_of(0)), 1_000_000),)))
        s.turn(*(token_units(s, FIRST, 0, to, 100_000) for to in (1, 2, 3)))
        for _ in range(blocks):
            some = []
            for _ in range(source.randrange(1, 6)):
                sender, to = source.sample(range(4), 2)
                if source.random() < 0.5:
                    some.append(token_units(s, FIRST, sender, to, source.randrange(200)))
                else:
                    some.append(s.transfer(sender, to, source.randrange(10**18), kind=source.randrange(3)))
            s.turn(*some, wait_mined=source.random() < 0.5)
            for chance, do in ((0.1, s.life.checkpoint), (0.1, s.life.index), (0.03, s.kill), (0.02, s.stop)):
                if source.random() < chance:
                    do()

    return Workload(run, (FIRST,), TOKEN_SLOTS, {"segment_size_bytes": 65536})


def word_of(account: int) -> int:
    from tests.simulation.life import ACCOUNTS

    return word(ACCOUNTS[account])


def live(workload: Workload, seed: int) -> Life:
    script = workload.start(Disk.new(seed), workload.record())
    workload.run(script)
    script.life.check()
    return script.life


def replay_random_blocks(blocks: int, seed: int) -> None:
    life = live(random_life(blocks, seed), seed)
    replayed = Life(without_derived(life.disk), life.record, life.options)
    replayed.check()
    assert replayed.store.head.number == life.store.head.number >= blocks
    assert [facts_of(replayed.store, number) for number in range(blocks)] == life.record.blocks[:blocks]


def test_random_blocks_replay_to_the_same() -> None:
    replay_random_blocks(60, SEED)


@pytest.mark.full
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("seed", range(100, 110))
def test_many_random_blocks_replay_to_the_same(seed: int) -> None:
    replay_random_blocks(1000, seed)


PRINT_DIGEST = """
from tests.simulation.test_determinism import live
from tests.simulation.workloads import WORKLOADS
for name in ("tokens", "replacement", "commands", "creations"):
    print(live(WORKLOADS[name], 1).digest().hex())
"""


@pytest.mark.full
def test_another_process_with_other_hashes_makes_the_same_chain() -> None:
    outputs = {
        subprocess.run(
            [sys.executable, "-c", PRINT_DIGEST],
            cwd=REPO,
            env={**os.environ, "PYTHONHASHSEED": seed, "LC_ALL": locale, "PYTHONPATH": str(REPO)},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed, locale in (("0", "C"), ("4242", "C.UTF-8"))
    }
    assert len(outputs) == 1


assert LAST > 4, "random lives use the first accounts only"
