"""Prints the progress of a start that takes longer than a moment."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Final

FIRST_SECONDS: Final = 1.0
"""A faster start prints nothing."""
EVERY_SECONDS: Final = 5.0


class Progress:
    """Prints the current phase of a start after one second and then every five, until it ends."""

    def __init__(self, say: Callable[[str], None], first: float = FIRST_SECONDS, every: float = EVERY_SECONDS) -> None:
        self.stage = "loading"
        """The current phase."""
        self._say = say
        self._ended = threading.Event()
        self._pauses = (first, every)
        self._thread = threading.Thread(target=self._run, name="progress", daemon=True)
        self._thread.start()

    def at(self, stage: str) -> Progress:
        """Enter another phase."""
        self.stage = stage
        return self

    def replayed(self, block: int) -> None:
        """A block of the log was replayed."""
        self.stage = f"replaying the log, block {block:,}"

    def end(self) -> None:
        """Print nothing more."""
        self._ended.set()
        self._thread.join()

    def _run(self) -> None:
        pause, following = self._pauses
        while not self._ended.wait(pause):
            pause = following
            self._say(f"starting: {self.stage}")
