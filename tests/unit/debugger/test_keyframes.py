"""Keyframes under their cap: the first and the newest stay, bytes are counted once, thinning costs little."""

from __future__ import annotations

from itertools import pairwise

from debugger.keyframes import Keyframes
from tests.unit.debugger.programs import LOOP, session
from vm.evm.snapshot import ExecutionSnapshot, take_snapshot


def snapshots(count: int, gap: int = 100) -> list[ExecutionSnapshot]:
    run = session(LOOP)
    taken: list[ExecutionSnapshot] = []
    for _ in range(count):
        taken.append(take_snapshot(run.timeline.execution, taken[-1] if taken else None))
        run.timeline.forward(gap)
    return taken


def test_bytes_are_those_of_the_distinct_pieces() -> None:
    frames, taken = Keyframes(1 << 30), snapshots(20)
    for snapshot in taken:
        frames.add(snapshot)
    distinct = {piece: size for snapshot in taken for piece, size in snapshot.pieces()}
    assert frames.bytes == sum(distinct.values())
    frames.drop_from(1)
    assert frames.steps == [0]
    assert frames.bytes == sum(dict(taken[0].pieces()).values())
    frames.drop_from(0)
    assert (len(frames), frames.bytes) == (0, 0)


def test_thinning_keeps_both_ends_and_what_is_near() -> None:
    frames, taken = Keyframes(40_000), snapshots(400)
    for snapshot in taken:
        frames.add(snapshot)
        assert frames.bytes <= 40_000
        assert frames.steps[0] == 0
        assert frames.steps[-1] == snapshot.steps
    steps = frames.steps
    assert len(steps) > 10
    early = [b - a for a, b in pairwise(steps) if b < 20_000]
    late = [b - a for a, b in pairwise(steps) if b > 36_000]
    assert min(early) >= max(late) / 4
    assert late[-1] == 100


def test_too_small_a_cap_keeps_two() -> None:
    frames = Keyframes(10)
    for snapshot in snapshots(5):
        frames.add(snapshot)
    assert frames.steps == [0, 400]
