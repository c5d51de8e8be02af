"""Limits on who comes in, each with its unit in the name."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class DoorLimits:
    """How wrong tokens are answered."""

    failures_per_s: int = 5
    """Wrong tokens of one network within a second that are refused at once. A network is a /24 or a /64."""
    failure_delay_s: float = 1.0
    """Each of the others is refused so much later."""
    failures_told_per_s: int = 5
    """Wrong tokens that the audit log tells of; the next record has the number of the others."""
    delayed_max: int = 256
    """Refusals that wait at the same time. Above this they are sent at once: what waits takes memory."""
