"""Stopping what runs on another thread: a time limit, a memory limit, a client that has gone.

Native code pays nothing for it. It dispatches through a table that its thread owns (`vm.evm.tables`); `stop` writes
another function into all of it, so the next opcode leaves. Compiled loops and native calls look at the word behind
the table. Python code that works for long calls `checkpoint`.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Protocol


class Interruptible(Protocol):
    """What an `Interruption` reaches. `halt` may be called on any thread, `held_bytes` too."""

    def halt(self) -> None:
        """Have native code leave before its next opcode."""

    def held_bytes(self) -> int:
        """Memory that has been taken so far; an estimate."""


class Interruption:
    """Stops the work of one thread from another. It belongs to that work and is used once."""

    __slots__ = ("_allowed", "_answer_bytes_left", "_lock", "_running", "_too_large", "reason")

    def __init__(self, answer_bytes: int = 2**63, too_large: Callable[[], BaseException] = MemoryError) -> None:
        """The answer may have so many bytes; what makes it may `spend` them, and gets ``too_large`` raised above."""
        self._answer_bytes_left = answer_bytes
        self._too_large = too_large
        self.reason: BaseException | None = None
        """What `check` raises; set once."""
        self._allowed: list[float] = []
        """Seconds, and from the first look on when they are over."""
        self._running: list[Interruptible] = []
        self._lock = threading.Lock()

    def stop(self, reason: BaseException) -> None:
        """Have the work end with the exception, soon. The first reason counts. Any thread."""
        with self._lock:
            if self.reason is None:
                self.reason = reason
                for running in self._running:
                    running.halt()

    @property
    def answer_bytes_left(self) -> int:
        """What `spend` has left."""
        return self._answer_bytes_left

    def check(self) -> None:
        """Raise the reason if the work is to end."""
        if self.reason is not None:
            raise self.reason

    def spend(self, size_bytes: int) -> None:
        """Count a part of the answer that has been made. Raises when there is too much of it, or as `check`."""
        self.check()
        self._answer_bytes_left -= size_bytes
        if self._answer_bytes_left < 0:
            raise self._too_large()

    def allow(self, seconds: float) -> None:
        """The work asks to be stopped after so many seconds from now; asking again restarts the time."""
        self._allowed = [seconds]

    def overrun(self, now: float) -> float | None:
        """The seconds allowed, if they are over. They count from when this is first called."""
        allowed = self._allowed
        if len(allowed) == 1:
            allowed.append(now + allowed[0])
        return allowed[0] if allowed and now > allowed[1] else None

    def enter(self, running: Interruptible) -> None:
        """Let `stop` reach an execution."""
        with self._lock:
            self._running.append(running)
            if self.reason is not None:
                running.halt()

    def leave(self, running: Interruptible) -> None:
        """It has ended: from now on `stop` does not touch it."""
        with self._lock:
            self._running.remove(running)

    def held_bytes(self) -> int:
        """Memory of all executions under way; an estimate. Any thread."""
        with self._lock:
            return sum(running.held_bytes() for running in self._running)


class _Current(threading.local):
    interruption: Interruption | None = None


_current = _Current()


def current() -> Interruption | None:
    """What may stop the work of this thread; None if nothing may."""
    return _current.interruption


def checkpoint() -> None:
    """Raise if the work of this thread is to end: for loops over many blocks, logs or steps."""
    interruption = _current.interruption
    if interruption is not None:
        interruption.check()


def spend(size_bytes: int) -> None:
    """`checkpoint`, and count what has been made of an answer: for loops that make parts of one."""
    interruption = _current.interruption
    if interruption is not None:
        interruption.spend(size_bytes)


def allow(seconds: float) -> None:
    """Have the work of this thread stopped after so many seconds, if anybody can."""
    interruption = _current.interruption
    if interruption is not None:
        interruption.allow(seconds)


@contextmanager
def interruptible(interruption: Interruption) -> Iterator[None]:
    """Work inside may be stopped by it."""
    before, _current.interruption = _current.interruption, interruption
    try:
        yield
    finally:
        _current.interruption = before


def run_interruptible(interruption: Interruption, job: Callable[[], object]) -> object:
    """`interruptible` as a call, for hot paths. Raises what ``job`` raises."""
    before, _current.interruption = _current.interruption, interruption
    try:
        return job()
    finally:
        _current.interruption = before
