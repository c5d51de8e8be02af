"""Lines of the table that hurt files: flipped, cut, exchanged, from another version, on a full disk."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path

from storage.index.queries import revisions_of
from tests.crash.forked_daemon import ForkedDaemon, Zygote
from tests.durability import damage, full_disk, migration, starts, test_acknowledgement, test_backup, test_clock
from tests.durability.results import Budget, Line
from tests.golden import test_golden as golden
from tests.unit.storage import test_wal_damage as log


def bits(line: Line, budget: Budget, _: Path) -> None:
    """Every bit of the log, one after another; a part of them, or other logs, as the budget has it."""
    chance = random.Random(line.seed)
    files = (log.FIRST, log.SECOND, log.MARK)
    every = [(path, bit) for path in files for bit in range(8 * log.written(path))]
    line.most["written bits there are"] = len(every)
    for path, bit in every if budget.count >= len(every) else chance.sample(every, budget.count):
        accepted = log.judge(
            log.damaged(path, log.flip(log.BASE.content(path), bit)), len(log.WHOLE), (path, bit)
        )
        line.add("refused, the others change nothing that is read", not accepted)
        line.count += 1
        if not budget.left(line.count):
            return


def changed_bytes(line: Line, budget: Budget, _: Path) -> None:
    """Bytes of the log become 00, FF, or one more."""
    every = [
        (path, place, new)
        for path in (log.FIRST, log.SECOND, log.MARK)
        for place in range(log.written(path))
        for new in ("00", "ff", "+1")
    ]
    line.most["such changes there are"] = len(every)
    chance = random.Random(line.seed)
    for path, place, new in every if budget.count >= len(every) else chance.sample(every, budget.count):
        content = log.BASE.content(path)
        byte = {"00": 0, "ff": 255, "+1": (content[place] + 1) % 256}[new]
        changed = content[:place] + bytes((byte,)) + content[place + 1 :]
        line.add("refused", not log.judge(log.damaged(path, changed), len(log.WHOLE), (path, place, new)))
        line.count += 1
        if not budget.left(line.count):
            return


def cuts(line: Line, budget: Budget, _: Path) -> None:
    """Files of the log cut short, with and without the watermark beside them."""
    for mark in (True, False):
        for path in (log.FIRST, log.SECOND):
            sizes = log.lengths(path, step=1)
            sizes = sizes if budget.count >= 4 * len(sizes) else sizes[:: max(1, 4 * len(sizes) // budget.count)]
            log.check_cut(path, sizes, mark=mark)
            line.count += len(sizes)


def mixes(line: Line, budget: Budget, _: Path) -> None:
    """Files of the log cut and grown again by zeros, garbage, stale or foreign bytes."""
    chance = random.Random(line.seed)
    foreign = log.build(seed=9).content(log.SECOND)
    while budget.left(line.count):
        log.check_mix(chance, foreign)
        line.count += 1


def segments(line: Line, budget: Budget, _: Path) -> None:
    """Segments of random logs deleted, doubled, exchanged, renamed: every pair."""
    seed = line.seed
    while budget.left(line.count):
        line.count += log.check_arrangements(seed)
        line.add("logs")
        seed += 1


def state_damage(line: Line, budget: Budget, place: Path) -> None:
    _damage(line, budget, place, damage.damage_state)


def index_damage(line: Line, budget: Budget, place: Path) -> None:
    _damage(line, budget, place, damage.damage_index)


def _damage(line: Line, budget: Budget, place: Path, hurt: Callable[..., str]) -> None:
    sound, facts = damage.make(place)
    while budget.left(line.count):
        line.add(f"met {hurt(sound, facts, place / 'hurt', random.Random(line.seed * 1_000_000 + line.count))}")
        line.count += 1


def migrations(line: Line, budget: Budget, place: Path) -> None:
    """Kill at every statement of the first schema, and of a later one over rows; again and again."""
    head = revisions_of(migration.MIGRATIONS)[-1]
    migration.filled(place / "old.sqlite", head)
    scripts = migration.later_migrations(place, head)
    rounds = 0
    while budget.left(line.count):
        start = place / "old.sqlite"
        line.count += migration.kill_at_every_statement(place / f"first-{rounds}", migration.MIGRATIONS, None)
        line.count += migration.kill_at_every_statement(place / f"later-{rounds}", scripts, start)
        rounds += 1


def golden_kills(line: Line, budget: Budget, place: Path) -> None:
    """Directories of every format, the first start of this version killed at every named place it comes by."""
    every = [(archive, name) for archive in golden.ARCHIVES for name in golden.PLACES]
    random.Random(line.seed).shuffle(every)
    line.most["formats"] = len(golden.ARCHIVES)
    for number, (archive, name) in enumerate(every[: budget.count]):
        line.add("killed, the others not come by", golden.killed_at_the_start(place / f"{number}", archive, name))
        line.count += 1
        if not budget.left(line.count):
            return


def full_disks(line: Line, budget: Budget, place: Path) -> None:
    """Needs to be allowed to mount."""
    full, line.count = full_disk.fill_and_free(place, line.seed, budget.count, budget.deadline)
    for way, number in full.ways.items():
        line.add(way, number)
    line.add("reads answered while it was full", full.reads)


def clocks(line: Line, budget: Budget, place: Path) -> None:
    """A seed is a node that lives and restarts while its clock jumps, and ten schedules of jobs that do."""
    for seed in range(line.seed, line.seed + budget.count):
        test_clock.live_with_a_wild_clock(place, seed)
        line.add("blocks", 60)
        for schedule in range(10):
            line.add("runs of jobs", test_clock.jobs_keep_their_periods(seed * 10 + schedule))
        line.count += 1
        if not budget.left(line.count):
            return


def resends(line: Line, budget: Budget, place: Path) -> None:
    """In pieces of a hundred, each on a chain of its own."""
    while budget.left(line.count):
        piece = min(100, budget.count - line.count)
        test_acknowledgement.send_again_and_again(place / f"{line.count}", line.seed + line.count, piece)
        line.count += piece


def own_reads(line: Line, budget: Budget, place: Path) -> None:
    """Forty writes a life, three quarters of them read back over the other transport, then kill -9."""
    zygote = Zygote(place / "zygote.log")
    try:
        while budget.left(line.count):
            daemon = ForkedDaemon(zygote, place / f"data-{line.count}")
            try:
                test_acknowledgement.read_own_writes(daemon, lives=4, writes=40)
            finally:
                daemon.close()
            line.count += 4 * 31
    finally:
        zygote.close()


def backups(line: Line, budget: Budget, place: Path) -> None:
    """In pieces of ten, each from a chain of its own."""
    while budget.left(line.count):
        piece, here = min(10, budget.count - line.count), place / f"{line.count}"
        here.mkdir()
        test_backup.back_up_under_load(here, piece)
        line.count += piece


def starts_over_damage(line: Line, budget: Budget, place: Path) -> None:
    """Every file with every damage once, in random order, then two or three damages at once."""
    zygote, chance = Zygote(place / "zygote.log"), random.Random(line.seed)
    try:
        sound = starts.make(zygote, place / "sound")
        single = [[case] for case in starts.cases(sound)]
        chance.shuffle(single)
        line.most["single damages there are"] = len(single)
        while budget.left(line.count):
            damages = single[line.count] if line.count < len(single) // 2 else starts.some(sound, chance)
            try:
                line.add(starts.hurt(zygote, sound, place / "hurt", damages, chance))
            except BaseException as error:
                error.add_note(str(damages))
                raise
            line.count += 1
    finally:
        zygote.close()
