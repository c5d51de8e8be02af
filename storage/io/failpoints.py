"""Named places where tests end the process as ``kill -9`` would: ``ZVMD_FAILPOINT=name`` or ``name:hit``.

Off, as always outside tests, a place costs one call that looks at a variable. When armed, the process kills itself the
``hit``-th time it comes by; nothing is flushed, nothing unwound.
"""

from __future__ import annotations

import os
import signal
import threading

ENVIRONMENT = "ZVMD_FAILPOINT"


class _Armed:
    """One place, and how often it still lets the process pass."""

    def __init__(self, text: str) -> None:
        self.name, _, hit = text.partition(":")
        self.left = int(hit or 1)
        self.lock = threading.Lock()

    def reach(self, name: str) -> None:
        if name != self.name:
            return
        with self.lock:
            self.left -= 1
            if not self.left:
                os.kill(os.getpid(), signal.SIGKILL)


_armed: _Armed | None = _Armed(os.environ[ENVIRONMENT]) if os.environ.get(ENVIRONMENT) else None


def arm(text: str) -> None:
    """Arm a place from inside the process: ``name`` or ``name:hit``; empty disarms."""
    global _armed
    _armed = _Armed(text) if text else None


def reach(name: str) -> None:
    """The process comes by a named place."""
    if _armed is not None:
        _armed.reach(name)
