"""Limits per second for each source of packets, requests or wrong tokens. Pure: time is an argument."""

from __future__ import annotations

import ipaddress
from typing import Any

SOURCES_MAX = 4096
"""Sources counted separately within a second; all others share the limit for all."""


class Rate:
    """A limit per second for one source, and one for all together: an average with bursts of up to ``burst``."""

    def __init__(self, each_per_s: int, all_per_s: int, burst: int) -> None:
        self._each = each_per_s
        self._all = all_per_s
        self._burst = burst
        self._left = float(burst)
        self._filled_at = 0.0
        self._begun = -1.0
        self._counts: dict[Any, int] = {}

    def admits(self, source: Any, now: float) -> bool:
        """Count one; returns whether it is within the limits. A refused one does not count for the common limit."""
        if not 0.0 <= now - self._begun < 1.0:
            self._begun = now
            self._counts.clear()
        count = self._counts.get(source, 0)
        if count >= self._each:
            return False
        self._left = min(self._burst, self._left + (now - self._filled_at) * self._all)
        self._filled_at = now
        if self._left < 1.0:
            return False
        self._left -= 1.0
        if count or len(self._counts) < SOURCES_MAX:
            self._counts[source] = count + 1
        return True


def network_of(address: str) -> str:
    """The /24 or /64 of an address: what one attacker can be expected to have."""
    parsed = ipaddress.ip_address(address.partition("%")[0])
    bits = 24 if parsed.version == 4 else 64
    return str(ipaddress.ip_network((parsed, bits), strict=False))
