"""How many requests a second a caller may make: a token bucket, which all connections of the caller share."""

from __future__ import annotations

from collections.abc import Callable

ROUNDING = 1e-9


class RequestRate:
    """Event loop only. ``clock`` returns seconds."""

    def __init__(self, per_second: float, clock: Callable[[], float], at_once: float | None = None) -> None:
        """``at_once``: how many may be made together, as many as in a second by default."""
        self.per_second = per_second
        self._clock = clock
        self._most = float(per_second if at_once is None else at_once)
        self._left = self._most
        self._at = clock()

    def take(self, count: int) -> float:
        """Count so many requests, of one body; 0, or the seconds after which to ask again, and then none is counted.

        A batch is taken whole as soon as one request would be, so that one of any size can be made; what it takes too
        much is waited for afterwards.
        """
        now = self._clock()
        self._left = min(self._most, self._left + (now - self._at) * self.per_second)
        self._at = now
        if self._left < 1.0 - ROUNDING:
            return (1.0 - self._left) / self.per_second
        self._left -= count
        return 0.0
