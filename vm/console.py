"""Calls of ``console.log`` during an execution, kept for callers who want them (Hardhat's ``console.sol``, forge-std).

Both libraries call an address that has no code, with the text to print as calldata. `chain.console_log` decodes it.
"""

from __future__ import annotations

from typing import Final

CALLS_MAX: Final = 1_000
"""Most calls kept of one transaction; later ones are only counted."""
BYTES_MAX: Final = 256 * 1024
"""Most bytes of calldata kept of one transaction."""


class ConsoleCalls:
    """Calldata of one transaction's calls to `chain.console_log.CONSOLE`, in order; those of reverted frames too."""

    __slots__ = ("_bytes_left", "calls", "dropped")

    def __init__(self) -> None:
        self.calls: list[bytes] = []
        self.dropped = 0
        """Calls beyond `CALLS_MAX` or `BYTES_MAX`."""
        self._bytes_left = BYTES_MAX

    def add(self, data: bytes) -> None:
        """Keep the calldata of one call."""
        if len(self.calls) >= CALLS_MAX or len(data) > self._bytes_left:
            self.dropped += 1
            return
        self._bytes_left -= len(data)
        self.calls.append(data)
