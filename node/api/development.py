"""Development calls: sealing on demand, time, balances, snapshots."""

from __future__ import annotations

from typing import Any, Protocol


class DevelopmentControls(Protocol):
    """Changes the chain in ways that no transaction can.

    A repeated ``key`` gets the first answer again, and nothing is done.
    """

    async def mine(self, count: int = 1, interval: int = 0, key: str = "") -> int:
        """Seal ``count`` blocks, ``interval`` seconds apart in chain time if not 0. Returns the head's number."""

    async def set_automine(self, enabled: bool, key: str = "") -> None: ...

    def automine(self) -> bool: ...

    async def set_interval_mining(self, seconds: float, key: str = "") -> None:
        """0 switches interval sealing off."""

    async def cheat(self, name: str, *arguments: Any, key: str = "") -> int | str | bool | None:
        """Do a call of the table in `node.engine.cheats`. Raises `CheatsDisabled`, `CheatRefused`, `OutOfReach`."""

    def resets(self) -> int:
        """How often the chain has been reset to its genesis."""
