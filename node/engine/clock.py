"""The clock as an interface, so that tests and simulations can supply the time."""

from __future__ import annotations

import math
import time
from typing import Protocol


class Clock(Protocol):
    """Wall-clock seconds since the Unix epoch."""

    def now(self) -> int:
        """Whole seconds."""

    def sleep(self, seconds: float) -> None:
        """Let the calling thread wait."""


class SystemClock:
    """The machine's clock."""

    def now(self) -> int:
        """Whole seconds since the epoch."""
        return int(time.time())

    def sleep(self, seconds: float) -> None:
        """Wait."""
        time.sleep(seconds)


class FixedClock:
    """A clock that does not advance until it is moved."""

    def __init__(self, seconds: int) -> None:
        self.seconds = seconds

    def now(self) -> int:
        """The seconds it was last set to."""
        return self.seconds

    def sleep(self, seconds: float) -> None:
        """Advance by so many seconds, rounded up."""
        self.seconds += math.ceil(seconds)
