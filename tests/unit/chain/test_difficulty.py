"""Difficulty: numbers of real mainnet blocks, and the shape of each formula."""

from __future__ import annotations

import pytest

from chain.blocks import EMPTY_UNCLES_HASH, Header
from chain.difficulty import MINIMUM_DIFFICULTY, next_difficulty
from chain.forks import ChainConfig, Fork
from chain.genesis import Genesis
from chain.types import Hash32

MAINNET = ChainConfig(
    1,
    (
        (0, Fork.FRONTIER),
        (1_150_000, Fork.HOMESTEAD),
        (2_463_000, Fork.TANGERINE_WHISTLE),
        (2_675_000, Fork.SPURIOUS_DRAGON),
        (4_370_000, Fork.BYZANTIUM),
        (7_280_000, Fork.PETERSBURG),
        (9_069_000, Fork.ISTANBUL),
        (12_244_000, Fork.BERLIN),
        (12_965_000, Fork.LONDON),
    ),
    bomb_delays=((9_200_000, 9_000_000), (13_773_000, 10_700_000), (15_050_000, 11_400_000)),
)


def parent(difficulty: int, timestamp: int = 1_000, *, uncles: bool = False) -> Header:
    header = Genesis(MAINNET, difficulty=difficulty, timestamp=timestamp).header()
    if uncles:
        object.__setattr__(header, "uncles_hash", Hash32(b"\x01" * 32))
    else:
        assert header.uncles_hash == EMPTY_UNCLES_HASH
    return header


def difficulty(number: int, before: int, seconds: int, *, uncles: bool = False) -> int:
    return next_difficulty(MAINNET, number, 1_000 + seconds, parent(before, uncles=uncles))


def test_first_blocks_of_mainnet() -> None:
    """Block 1 came at 1,438,269,988 s, the genesis at 0; then 29 and 31 seconds passed."""
    assert next_difficulty(MAINNET, 1, 1_438_269_988, parent(17_179_869_184, 0)) == 17_171_480_576
    assert difficulty(2, 17_171_480_576, 29) == 17_163_096_064
    assert difficulty(3, 17_163_096_064, 31) == 17_154_715_646
    assert difficulty(2, 17_171_480_576, 12) == 17_171_480_576 + 17_171_480_576 // 2_048
    assert difficulty(2, 17_171_480_576, 13) == 17_171_480_576 - 17_171_480_576 // 2_048


@pytest.mark.parametrize(
    ("number", "seconds", "uncles", "steps"),
    [
        (1_150_000, 9, False, 1),
        (1_150_000, 10, False, 0),
        (1_150_000, 1_500, False, -99),
        (4_370_000, 8, False, 1),
        (4_370_000, 8, True, 2),
        (4_370_000, 9, True, 1),
        (4_370_000, 27, False, -2),
        (4_370_000, 10_000, True, -99),
    ],
)
def test_steps(number: int, seconds: int, uncles: bool, steps: int) -> None:
    before = 10**15
    bomb = 2 ** (number // 100_000 - 2) if number < 4_000_000 else 2 ** ((number - 3_000_000) // 100_000 - 2)
    assert difficulty(number, before, seconds, uncles=uncles) == before + before // 2_048 * steps + bomb


@pytest.mark.parametrize(
    ("number", "delay"),
    [
        (4_370_000, 3_000_000),
        (7_280_000, 5_000_000),
        (9_100_000, 5_000_000),
        (9_200_000, 9_000_000),
        (12_244_000, 9_000_000),
        (12_965_000, 9_700_000),
        (13_773_000, 10_700_000),
        (15_050_000, 11_400_000),
    ],
)
def test_the_bomb_is_put_off(number: int, delay: int) -> None:
    assert MAINNET.bomb_delay_at(number) == delay
    periods = (number - delay) // 100_000
    assert difficulty(number, 10**15, 9) == 10**15 + (2 ** (periods - 2) if periods >= 2 else 0)


def test_the_minimum() -> None:
    assert difficulty(5, MINIMUM_DIFFICULTY, 1_000) == MINIMUM_DIFFICULTY
