"""Short reads on the event loop, which they cannot hold: most calls take less than the way to a reader thread and back.

An attempt that takes long is given up, and the read begins again on a reader thread. It leaves by itself before it
goes to the disk, takes much memory or calls a costly precompile (`chain.brief`); native code that goes on is stopped
from outside by a thread that looks every `LOOK_S` as long as there are attempts. What had to be given up is not tried
again for some time. While readers work, they get all reads: two threads at once would only wait for each other.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Hashable, Sequence
from enum import Enum, auto
from typing import Final, Literal, TypeAlias, TypeVar

from chain.backoff import Attempts
from chain.brief import NotInMemory, TakesLong, run_briefly
from node.api.errors import LimitExceeded
from node.ops.slices import SLICE_SECONDS
from node.rpc.limits import RpcLimits
from node.rpc.readers import Readers
from vm.interruption import Interruption, run_interruptible

T = TypeVar("T")

LOOK_S = 0.0007
"""Between two looks at what runs."""
HOLD_S = 0.0004
"""An attempt that has taken so much processor time from one look to the next is stopped."""
TURN_S = 0.001
"""Attempts of one turn of the loop together; what arrived with them goes to the readers."""
IDLE_S = 1.0
"""After so long without an attempt, the thread that looks sleeps."""
LEFT_OUT = 8
LEFT_OUT_MAX = 1_024
"""Attempts left out after one that took long, at first and at most."""


class _Long(Enum):
    LONG = auto()


LONG: Final = _Long.LONG
"""In place of a value: the read has to go to the readers."""
OrLong: TypeAlias = T | Literal[_Long.LONG]


class BriefReads:
    """Tries reads on the event loop it was made on."""

    def __init__(self, limits: RpcLimits, readers: Readers) -> None:
        self._loop = asyncio.get_running_loop()
        self._limits = limits
        self._readers = readers
        self._turn = 0.0
        self._spent_s = 0.0
        """By the attempts of this turn."""
        self._attempts = Attempts(LEFT_OUT, LEFT_OUT_MAX)
        self._sentinel = _Sentinel()
        self.done = 0
        """Reads answered on the loop since the start."""
        self.left = 0
        """Attempts given up since the start."""

    def attempt(self, job: Callable[[], T], kind: Hashable) -> OrLong[T]:
        """The job's value, or `LONG` if it has to run on a reader thread. Raises what ``job`` raises.

        ``kind`` names reads of which one takes about as long as another.
        """
        if not self._limits.short_road or self._readers.is_busy or not self._has_time():
            return LONG
        if not self._attempts.is_due(kind):
            return LONG
        interruption = Interruption(self._limits.answer_size_max_bytes, self._too_large)
        begun = time.monotonic()
        self._sentinel.watch(interruption)
        try:
            value = run_briefly(lambda: run_interruptible(interruption, job))
        except NotInMemory:
            self.left += 1
            return LONG
        except TakesLong:
            self.left += 1
            self._attempts.failed(kind)
            return LONG
        finally:
            self._sentinel.release()
            self._spent_s += time.monotonic() - begun
        self.done += 1
        return value  # type: ignore[return-value]  # what the job returned

    def attempt_some(
        self, job: Callable[[int], object], kinds: Sequence[Hashable | None], first: int
    ) -> tuple[int, bool]:
        """Run the jobs of these kinds from number ``first`` on, for a slice of time at most.

        Returns the number of the next, and whether that may be tried in another turn of the loop; else it has to run
        on a reader thread. A job of kind None has to anyway. Raises what ``job`` raises.
        """
        if not self._limits.short_road or self._readers.is_busy:
            return first, False
        if not self._has_time():
            return first, True
        number, may_go_on, count, attempts = first, True, len(kinds), self._attempts
        interruption = Interruption(self._limits.answer_size_max_bytes, self._too_large)
        begun = time.monotonic()

        def run() -> None:
            nonlocal number, may_go_on
            end = begun + SLICE_SECONDS
            while number < count:
                kind = kinds[number]
                if kind is None or not attempts.is_due(kind):
                    may_go_on = False
                    return
                job(number)
                number += 1
                if time.monotonic() >= end:
                    return

        self._sentinel.watch(interruption)
        try:
            run_briefly(lambda: run_interruptible(interruption, run))
        except NotInMemory:
            self.left += 1
            may_go_on = False
        except TakesLong:
            self.left += 1
            attempts.failed(kinds[number])
            may_go_on = False
        finally:
            self._sentinel.release()
            self._spent_s += time.monotonic() - begun
            self.done += number - first
        return number, may_go_on

    def status(self) -> dict[str, int]:
        """For ``zvmd_status``."""
        return {"done": self.done, "left": self.left}

    def close(self) -> None:
        """End the thread that looks."""
        self._sentinel.close()

    def _has_time(self) -> bool:
        turn = self._loop.time()  # uvloop reads the clock once a turn
        if turn != self._turn:
            self._turn, self._spent_s = turn, 0.0
        return self._spent_s < TURN_S

    def _too_large(self) -> LimitExceeded:
        return LimitExceeded(f"the answer exceeds {self._limits.answer_size_max_bytes} bytes")


class _Sentinel:
    """Stops what takes too long on the loop, from a thread of its own. Made on the loop's thread."""

    def __init__(self) -> None:
        self._running: Interruption | None = None
        self._clock = time.pthread_getcpuclockid(threading.get_ident())
        self._is_closed = False
        self._wanted = threading.Event()
        self._thread: threading.Thread | None = None

    def watch(self, interruption: Interruption) -> None:
        """An attempt begins."""
        self._running = interruption
        if not self._wanted.is_set():
            self._wake()

    def release(self) -> None:
        """It has ended."""
        self._running = None

    def close(self) -> None:
        self._is_closed = True
        self._wanted.set()

    def _wake(self) -> None:
        self._wanted.set()
        if self._thread is None or not self._thread.is_alive():
            self._thread = threading.Thread(target=self._look, name="brief-reads", daemon=True)
            self._thread.start()

    def _look(self) -> None:
        """The same attempt seen twice is stopped, unless the loop's thread had no processor in between."""
        seen: Interruption | None = None
        taken = idle = 0.0
        while not self._is_closed:
            time.sleep(LOOK_S)
            running = self._running
            if running is None:
                idle += LOOK_S
                if idle > IDLE_S:
                    self._sleep()
                    idle = 0.0
            elif running is not seen:
                idle, taken = 0.0, time.clock_gettime(self._clock)
            elif time.clock_gettime(self._clock) - taken > HOLD_S:
                running.stop(TakesLong())
            seen = running

    def _sleep(self) -> None:
        self._wanted.clear()
        if self._running is None:  # an attempt that begins from now on finds the flag cleared
            self._wanted.wait()
