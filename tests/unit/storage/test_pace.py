"""Work in slices: everything is done, in order, with a rest whenever a slice is over."""

from __future__ import annotations

from itertools import pairwise

from storage.io.cooperative import REST_SECONDS, SLICE_SECONDS, Slices, at_once


def test_a_rest_follows_each_slice_over_nested_loops() -> None:
    clock, rests = [0.0], []

    def sleep(seconds: float) -> None:
        rests.append(clock[0])
        clock[0] += seconds

    pace = Slices(lambda: clock[0], sleep)
    done = []
    for outer in pace(range(4)):
        for inner in pace(range(5)):
            done.append((outer, inner))
            clock[0] += SLICE_SECONDS / 4
    assert done == [(outer, inner) for outer in range(4) for inner in range(5)]
    assert len(rests) == 4
    gaps = [later - earlier - REST_SECONDS for earlier, later in pairwise(rests)]
    assert all(SLICE_SECONDS <= gap <= SLICE_SECONDS * 1.3 for gap in gaps)


def test_at_once_is_the_items() -> None:
    items = [1, 2]
    assert at_once(items) is items
