"""One budget of bytes for the large bodies and answers of all connections and transports."""

from __future__ import annotations

from typing import Final

from node.rpc.errors import NodeBusy

SMALL_BYTES: Final = 64 * 1024
"""Smaller ones are not counted one by one, but with the others of their connection (`Together`)."""


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

    __slots__ = ("_held", "_is_small", "_size", "_together")

    def __init__(self, held: Held, together: Together | None = None) -> None:
        """``together`` counts what is small; without it that is not counted."""
        self._held = held
        self._together = together
        self._is_small = False
        self._size = 0

    def hold(self, size_bytes: int) -> None:
        """Hold so many bytes in place of the previous amount. Raises `NodeBusy`, and then holds nothing."""
        self.release()
        if size_bytes <= SMALL_BYTES:
            if self._together is not None:
                self._together.add(size_bytes)
                self._size, self._is_small = size_bytes, True
            return
        if self._held.used + size_bytes > self._held.most:
            raise NodeBusy(f"{self._held.used} bytes of large bodies and answers are held of {self._held.most}")
        self._held.used += size_bytes
        self._size = size_bytes

    def release(self) -> None:
        """Give all bytes back."""
        if not self._is_small:
            self._held.used -= self._size
        elif self._together is not None:
            self._together.remove(self._size)
        self._size, self._is_small = 0, False


class Together:
    """The small bodies and answers of one connection, which count once they are large together.

    Connections are limited, so what is left uncounted is too: a hundred of 60 KB on each of them are not small.
    """

    __slots__ = ("_holding", "_size")

    def __init__(self, held: Held) -> None:
        self._holding = Holding(held)
        self._size = 0

    def add(self, size_bytes: int) -> None:
        """One more. Raises `NodeBusy`, and then it is not added."""
        try:
            self._holding.hold(self._size + size_bytes)
        except NodeBusy:
            self._holding.hold(self._size)
            raise
        self._size += size_bytes

    def remove(self, size_bytes: int) -> None:
        """One less."""
        self._size -= size_bytes
        self._holding.hold(self._size)
