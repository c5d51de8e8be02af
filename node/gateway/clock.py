"""The Date header of answers, made once a second (RFC 9110, 6.6.1)."""

from __future__ import annotations

import time
from collections.abc import Callable
from email.utils import formatdate


class DateLine:
    """The line for now."""

    def __init__(self, now: Callable[[], float] = time.time) -> None:
        self._now = now
        self._second = -1
        self._line = b""

    def line(self) -> bytes:
        """The whole header line."""
        second = int(self._now())
        if second != self._second:
            self._second = second
            self._line = f"date: {formatdate(second, usegmt=True)}\r\n".encode()
        return self._line
