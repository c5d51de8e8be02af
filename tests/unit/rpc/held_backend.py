"""A chain in memory whose calls wait until a test lets them go."""

from __future__ import annotations

import threading
import time
from typing import Any

from chain.brief import before_long_work
from node.api.types import CallResult
from tests.unit.rpc.memory_backend import MemoryBackend
from vm.interruption import checkpoint


class Held(MemoryBackend):
    """Calls end when they are let go, or stopped."""

    def __init__(self) -> None:
        super().__init__()
        self.free = threading.Event()
        self.begun = self.running = 0

    def call(self, *_: Any, **__: Any) -> CallResult:
        before_long_work()  # on a reader thread, not on the event loop
        self.begun += 1
        self.running += 1
        try:
            while not self.free.is_set():
                checkpoint()
                time.sleep(0.001)
        finally:
            self.running -= 1
        return CallResult(True, False, "return", b"\x2a", 21_000)
