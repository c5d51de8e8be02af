"""Whatever the machine's clock does, timestamps of blocks rise and the chain replays (T17)."""

from __future__ import annotations

import random
from itertools import pairwise
from pathlib import Path

import pytest

from tests.durability.nodes import LocalNode

HOUR, DAY, YEAR = 3600, 86_400, 365 * 86_400
JUMPS = (0, 0, 1, HOUR, -HOUR, DAY, -DAY, 10 * YEAR, -10 * YEAR, 7 * HOUR, -1)


@pytest.mark.parametrize("seed", range(3))
def test_timestamps_rise_over_jumps_and_restarts(tmp_path: Path, seed: int) -> None:
    chance = random.Random(seed)
    node = LocalNode(tmp_path / "d")
    for number in range(60):
        node.clock.seconds = max(0, node.clock.seconds + chance.choice(JUMPS))
        if chance.random() < 0.5:
            node.mine(key=f"{number}")
        else:
            node.grow(1)
        if chance.random() < 0.1:
            before = node.digest()
            node.close()
            node = LocalNode(node.data_dir, clock=node.clock)
            assert node.digest() == before
    headers = [node.store.chain.header(number) for number in range(node.store.head.number + 1)]
    times = [header.timestamp for header in headers if header is not None]
    assert len(times) == 61
    assert all(later > earlier for earlier, later in pairwise(times))
    node.close()
