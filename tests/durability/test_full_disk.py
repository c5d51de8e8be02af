"""A disk that is really full: reads are answered, changes refused, and it goes on when there is room (T14)."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.durability.full_disk import fill_and_free


def run(place: Path, cycles: int) -> None:
    try:
        full, done = fill_and_free(place, 14, cycles)
    except PermissionError as error:
        pytest.skip(str(error))
    assert done == cycles
    assert full.reads > cycles


@pytest.mark.timeout(300)
def test_a_disk_is_filled_and_freed(tmp_path: Path) -> None:
    run(tmp_path, 2)


@pytest.mark.full
@pytest.mark.timeout(3600)
def test_a_disk_is_filled_and_freed_often(tmp_path: Path) -> None:
    run(tmp_path, 200)
