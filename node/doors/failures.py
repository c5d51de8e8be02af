"""Slows down who sends wrong tokens. Only the refusal waits: a right token of the same network is never kept out."""

from __future__ import annotations

from collections import deque

from node.doors.limits import DoorLimits
from node.doors.rates import Rate, network_of


class Failures:
    """Wrong tokens of all transports. Time is an argument."""

    def __init__(self, limits: DoorLimits) -> None:
        self._limits = limits
        self._rate = Rate(limits.failures_per_s, 2**31, 2**31)
        self._due: deque[float] = deque()
        """When the refusals that wait are sent, in order."""
        self.count = 0
        """All wrong tokens since the start."""

    def failed(self, address: str | None, now: float) -> float:
        """Count a wrong token; seconds to wait before it is refused."""
        self.count += 1
        while self._due and self._due[0] <= now:
            self._due.popleft()
        source = network_of(address) if address is not None else None
        if self._rate.admits(source, now) or len(self._due) >= self._limits.delayed_max:
            return 0.0
        self._due.append(now + self._limits.failure_delay_s)
        return self._limits.failure_delay_s
