"""How long one callback may go on: the event loop answers nobody meanwhile."""

from __future__ import annotations

import asyncio
import time
from typing import Final

SLICE_SECONDS: Final = 0.0005
"""Work that can be divided lets others have their turn after this long; its last part comes on top."""


class LoopSlice:
    """The time of one piece of work on the event loop. Begins when it is made."""

    __slots__ = ("_end",)

    def __init__(self) -> None:
        self._end = time.monotonic() + SLICE_SECONDS

    @property
    def is_over(self) -> bool:
        """Whether the rest is for another turn of the loop."""
        return time.monotonic() >= self._end

    async def rest(self) -> None:
        """If it is over, let others have their turn, and begin again."""
        if self.is_over:
            await asyncio.sleep(0)
            self._end = time.monotonic() + SLICE_SECONDS
