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
    failures_told_at_once: int = 5
    """Wrong tokens that the audit log tells of at once; the next record has the number of the others."""
    failures_told_every_s: float = 60.0
    """And afterwards one in so many seconds: who guesses without a pause does not push other records out of the file,
    in which a day of them takes 0.2 MB."""
    delayed_max: int = 256
    """Refusals that wait at the same time. Above this they are sent at once: what waits takes memory."""
