"""Every bit of a whole node's log flipped, every length cut: refused, or the very same history."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from random import Random

import pytest

from storage.errors import StorageError
from tests.simulation.disks import Disk, MachineKv, empty_index
from tests.simulation.life import Life
from tests.simulation.record import check
from tests.simulation.script import ETHER, Script, Workload

SEED = int(os.environ.get("ZVMD_SIMULATION_SEED", "1"))


def small_life(s: Script) -> None:
    s.turn(s.transfer(0, 1, ETHER), wait_mined=True)
    s.turn(s.transfer(1, 2, 5), s.transfer(5, 0, 1, nonce=3))
    s.life.checkpoint()
    s.life.index()
    s.control("interval_milliseconds", 5000)
    for wei in range(6):
        s.turn(s.transfer(0, 2, wei), s.transfer(3, 2, wei), s.transfer(4, 1, wei))
    s.turn(s.transfer(0, 3, 7), wait_mined=True)


@pytest.fixture(scope="module")
def life() -> Life:
    """A node that has just been killed; everything it has done is acknowledged."""
    workload = Workload(small_life)
    script = workload.start(Disk.new(SEED), workload.record())
    small_life(script)
    return script.life


Change = tuple[str, str, Callable[[bytes], bytes]]
"""What, in which file, how."""


def segments(life: Life) -> list[str]:
    found = [f"wal/{name}" for name in life.disk.fs.listdir("wal") if name.endswith(".seg")]
    assert len(found) > 1
    return found


def flips(life: Life) -> Iterator[Change]:
    for path in segments(life):
        content = life.disk.fs.content(path)
        for bit in range(8 * min(len(content), len(content.rstrip(b"\0")) + 64)):

            def flip(content: bytes, bit: int = bit) -> bytes:
                changed = bytearray(content)
                changed[bit // 8] ^= 1 << bit % 8
                return bytes(changed)

            yield f"bit {bit}", path, flip


def cuts(life: Life) -> Iterator[Change]:
    for path in segments(life):
        for length in range(len(life.disk.fs.content(path))):

            def cut(content: bytes, length: int = length) -> bytes:
                return content[:length]

            yield f"length {length}", path, cut


def hold(life: Life, changes: list[Change], source: Random) -> tuple[int, int]:
    """Start over each damaged log, with or without the other stores; returns how often it refused, and started."""
    refused = started = 0
    mark = life.record.mark()
    for what, path, change in changes:
        fs = life.disk.fs.restart()
        fs.replace(path, change(fs.content(path)))
        disk = Disk(fs, MachineKv(fs, life.disk.kv.items()), list(life.disk.index))
        alone = source.random() < 0.3
        if alone:
            disk = Disk(fs, MachineKv(fs), [empty_index()])
        try:
            again = Life(disk, life.record, life.options)
        except StorageError:
            refused += 1
            continue
        started += 1
        try:
            check(again.store, again.pool, life.record, mark)
        except AssertionError as error:
            error.add_note(f"{path}: {what}, {alone=}, seed {SEED}")
            raise
    return refused, started


def test_some_flipped_bits(life: Life) -> None:
    source = Random(SEED)
    refused, _ = hold(life, source.sample(list(flips(life)), 500), source)
    assert refused > 300


def test_some_lengths(life: Life) -> None:
    source = Random(SEED)
    refused, _ = hold(life, source.sample(list(cuts(life)), 200), source)
    assert refused > 50


def test_a_log_that_went_back_is_refused(life: Life) -> None:
    """Segments taken away or emptied: the watermark and the other stores know better."""
    for path in segments(life):
        fs = life.disk.fs.restart()
        fs.remove(path)
        with pytest.raises(StorageError):
            Life(
                Disk(fs, MachineKv(fs, life.disk.kv.items()), list(life.disk.index)),
                life.record,
                life.options,
            )


@pytest.mark.full
@pytest.mark.timeout(7200)
@pytest.mark.parametrize("part", range(8))
def test_every_bit_and_every_length(life: Life, part: int) -> None:
    changes = [*flips(life), *cuts(life)][part::8]
    refused, started = hold(life, changes, Random(part))
    print(f"part {part}: {refused} refused, {started} started with the same history")
