"""An event loop whose clock tests move on: what waits for a deadline depends on no speed of the machine."""

from __future__ import annotations

import asyncio
from collections.abc import Callable


class JumpingLoop(asyncio.SelectorEventLoop):
    """Its time is the machine's and what was skipped."""

    ahead_s = 0.0

    def time(self) -> float:
        return super().time() + self.ahead_s


def skip(seconds: float) -> None:
    """Let so much time pass, for all that run in this loop."""
    loop = asyncio.get_running_loop()
    assert isinstance(loop, JumpingLoop)
    loop.ahead_s += seconds


async def until(condition: Callable[[], object], step_s: float = 0.0) -> None:
    """Wait for something; with ``step_s``, so much time passes between two looks."""
    while not condition():
        await asyncio.sleep(0.002)
        skip(step_s)
