"""Where the node gets the time from, so that tests and simulations can give it."""

from __future__ import annotations

import time
from typing import Protocol


class Clock(Protocol):
    """Wall-clock seconds since the Unix epoch."""

    def now(self) -> int:
        """Whole seconds."""


class SystemClock:
    """The machine's clock."""

    def now(self) -> int:
        """Whole seconds since the epoch."""
        return int(time.time())


class FixedClock:
    """A clock that stands still until it is moved."""

    def __init__(self, seconds: int) -> None:
        self.seconds = seconds

    def now(self) -> int:
        """The seconds it was last set to."""
        return self.seconds
