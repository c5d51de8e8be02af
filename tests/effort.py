"""How much a test tries: a slice with every commit, all of it in the full suite."""

from __future__ import annotations

import pytest

_is_full = True


def look_at(config: pytest.Config) -> None:
    """Learn which suite runs, before tests are imported."""
    global _is_full
    _is_full = "not full" not in config.getoption("markexpr")


def tries(commit: int, full: int) -> int:
    """Examples or variants to try; ``-m "not full"`` makes it the first."""
    return full if _is_full else commit
