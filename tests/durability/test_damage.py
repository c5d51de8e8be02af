"""Damaged state stores and indexes never answer wrong, and are built again to the same chain (T10, T11)."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from tests.durability.damage import damage_index, damage_state, make

SEED = 10


def repeat(tmp_path: Path, kind: str, times: int) -> None:
    sound, facts = make(tmp_path)
    damage = damage_state if kind == "state" else damage_index
    for number in range(times):
        damage(sound, facts, tmp_path / "hurt", random.Random(SEED * 1000 + number))


@pytest.mark.parametrize("kind", ["state", "index"])
def test_damage(tmp_path: Path, kind: str) -> None:
    repeat(tmp_path, kind, 8)


@pytest.mark.full
@pytest.mark.timeout(7200)
@pytest.mark.parametrize("kind", ["state", "index"])
def test_much_damage(tmp_path: Path, kind: str) -> None:
    repeat(tmp_path, kind, 5000)
