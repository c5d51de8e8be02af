"""Leaves out attempts that have failed before: after each failure twice as many as after the last.

>>> attempts = Attempts(first=2, most=8)
>>> attempts.failed("a")
>>> [attempts.is_due(name) for name in ("a", "a", "b", "a")]
[False, False, True, True]
"""

from __future__ import annotations

from collections.abc import Hashable
from typing import Final

from chain.lru import Lru

_NAMES_MAX: Final = 1_024
"""Names remembered; one that is forgotten is tried again."""


class Attempts:
    """Attempts by name. Any thread; a count that is lost does no harm."""

    def __init__(self, first: int, most: int) -> None:
        """After the first failure ``first`` attempts are left out, later at most ``most``."""
        self._first = first
        self._most = most
        self._failed: Lru[Hashable, list[int]] = Lru(_NAMES_MAX)
        """How many attempts are still to be left out, and how many were after the last failure."""

    def is_due(self, name: Hashable) -> bool:
        """Whether to try it; otherwise it counts as left out."""
        counts = self._failed.get(name)
        if counts is None or counts[0] <= 0:
            return True
        counts[0] -= 1
        return False

    def failed(self, name: Hashable) -> None:
        """An attempt failed."""
        counts = self._failed.get(name)
        left_out = self._first if counts is None else min(2 * counts[1], self._most)
        self._failed.put(name, [left_out, left_out])
