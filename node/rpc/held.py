"""One budget of bytes for the large bodies and answers of all connections and transports."""

from __future__ import annotations

from typing import Final

from node.rpc.errors import NodeBusy

SMALL_BYTES: Final = 64 * 1024
"""Smaller ones are not counted: connections are limited, and small requests must always pass."""


class Held:
    """A budget of bytes. Event loop only."""

    __slots__ = ("most", "used")

    def __init__(self, most: int) -> None:
        self.most = most
        self.used = 0

    def holding(self) -> Holding:
        """A new, empty holding of this budget."""
        return Holding(self)

    def bound(self) -> tuple[int, int]:
        """Bytes used, and the limit."""
        return self.used, self.most


class Holding:
    """The bytes one request holds: its body, then its answer."""

    __slots__ = ("_held", "_size")

    def __init__(self, held: Held) -> None:
        self._held = held
        self._size = 0

    def hold(self, size_bytes: int) -> None:
        """Hold so many bytes in place of the previous amount. Raises `NodeBusy`, and then holds nothing."""
        self.release()
        if size_bytes <= SMALL_BYTES:
            return
        if self._held.used + size_bytes > self._held.most:
            raise NodeBusy(f"{self._held.used} bytes of large bodies and answers are held of {self._held.most}")
        self._held.used += size_bytes
        self._size = size_bytes

    def release(self) -> None:
        """Give all bytes back."""
        self._held.used -= self._size
        self._size = 0
