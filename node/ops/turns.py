"""Measures how long the event loop is held: by each callback, and by all of one turn. Off unless it is asked for.

While a callback runs, nothing else is answered. Processor time is the judge of our own code: elapsed time also counts
what other processes of the machine took. What a callback waited for (`MeterStatus.blocked`) is neither: a lock, a disk,
or the interpreter lock while another thread was in a long call of C.
"""

from __future__ import annotations

import asyncio
import gc
import os
import threading
import time
from bisect import bisect_left
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from types import CoroutineType
from typing import Any, Final

import msgspec
import structlog
import uvloop

_log = structlog.get_logger("loop")

BOUNDS_MS: Final = (0.1, 0.25, 0.5, 1.0, 2.0, 5.0, 10.0, 25.0, 50.0, 100.0, 250.0, 1_000.0)
"""Upper bounds of the histograms' classes; one more class has what is above the last."""
NAMES_MAX: Final = 200
"""Callbacks of which slow runs are counted by name."""
METERED: Final = frozenset(
    {
        "data_received", "eof_received", "connection_made", "connection_lost", "pause_writing", "resume_writing",
        "datagram_received", "error_received",
    }
)  # fmt: skip
"""Methods of a protocol that the loop calls itself, not by `call_soon`."""


class SlowCallback(msgspec.Struct, rename="camel"):
    """A callback that held the loop for longer than the limit. Times are milliseconds."""

    name: str
    count: int = 0
    """Runs above the limit of processor time."""
    cpu_most: float = 0.0
    blocked_count: int = 0
    """Runs that were blocked for longer than the limit."""
    blocked_most: float = 0.0


class MeterStatus(msgspec.Struct, frozen=True, rename="camel"):
    """What was measured since the start. Histograms count by class of `BOUNDS_MS`; times are milliseconds."""

    turns: int
    callbacks: int
    bounds: tuple[float, ...]
    cpu: list[int]
    """Callbacks by their processor time."""
    elapsed: list[int]
    blocked: list[int]
    """Callbacks by the time that they neither ran nor waited for a processor; only those above the limit are looked at,
    the others count as 0."""
    turns_cpu: list[int]
    """Turns by their processor time: how long an event that arrives may have to wait for our own work."""
    slow: list[SlowCallback]
    """The longest first."""


class TurnMeter:
    """Counts the turns of one event loop. On its thread only, but for `status`."""

    def __init__(self, limit_ms: float) -> None:
        """Callbacks that hold the loop for more than ``limit_ms`` are counted by name and logged."""
        self.limit_ms = limit_ms
        self._cpu, self._elapsed, self._blocked, self._turns_cpu = ([0] * (len(BOUNDS_MS) + 1) for _ in range(4))
        self._slow: dict[str, SlowCallback] = {}
        self._depth = 0
        self._turn: tuple[int, int] | None = None
        """Processor time and waiting for a processor when the turn began, nanoseconds."""
        self._statistics: int | None = None
        self._thread = 0
        self._collecting = 0
        """Processor time when a garbage collection began on this thread, nanoseconds."""

    def run(self, loop: MeteredLoop, callback: Callable[..., Any], *args: Any) -> Any:
        """Run a callback of the loop. What it calls is a part of it."""
        if self._depth:
            return callback(*args)
        begun, cpu = time.perf_counter_ns(), time.thread_time_ns()
        if self._turn is None:
            self._turn = cpu, self._waited()
            loop.end_turn_soon(self._end_turn)
        self._depth = 1
        try:
            return callback(*args)
        finally:
            self._depth = 0
            self._count(callback, args, (time.perf_counter_ns() - begun) / 1e6, (time.thread_time_ns() - cpu) / 1e6)

    def collected(self, phase: str, details: dict[str, int]) -> None:
        """For `gc.callbacks`: tell a collection that a callback of the loop has to pay for from its own work."""
        if not self._depth or threading.get_ident() != self._thread:
            return
        now = time.thread_time_ns()
        if phase == "start":
            self._collecting = now
        elif (cpu := (now - self._collecting) / 1e6) > self.limit_ms:
            self._note(f"garbage collection, generation {details['generation']}", cpu, 0.0)

    def status(self) -> MeterStatus:
        """What was measured so far. Any thread."""
        slow = sorted(self._slow.values(), key=lambda item: -max(item.cpu_most, item.blocked_most))
        return MeterStatus(
            sum(self._turns_cpu),
            sum(self._cpu),
            BOUNDS_MS,
            list(self._cpu),
            list(self._elapsed),
            list(self._blocked),
            list(self._turns_cpu),
            slow,
        )

    def _end_turn(self) -> None:
        assert self._turn is not None
        self._turns_cpu[_class_of((time.thread_time_ns() - self._turn[0]) / 1e6)] += 1
        self._turn = None

    def _count(self, callback: Callable[..., Any], args: tuple[Any, ...], elapsed: float, cpu: float) -> None:
        self._cpu[_class_of(cpu)] += 1
        self._elapsed[_class_of(elapsed)] += 1
        blocked = 0.0
        if elapsed > self.limit_ms and self._turn is not None:
            blocked = max(0.0, elapsed - cpu - (self._waited() - self._turn[1]) / 1e6)
        self._blocked[_class_of(blocked)] += 1
        if max(cpu, blocked) > self.limit_ms:
            self._note(name_of(callback, args), cpu, blocked)

    def _note(self, name: str, cpu: float, blocked: float) -> None:
        if name not in self._slow and len(self._slow) >= NAMES_MAX:
            name = "others"
        slow = self._slow.setdefault(name, SlowCallback(name))
        if cpu > self.limit_ms:
            slow.count += 1
            slow.cpu_most = max(slow.cpu_most, round(cpu, 3))
        if blocked > self.limit_ms:
            slow.blocked_count += 1
            slow.blocked_most = max(slow.blocked_most, round(blocked, 3))
        _log.warning("loop_held", callback=name, cpu_ms=round(cpu, 3), blocked_ms=round(blocked, 3))

    def _waited(self) -> int:
        """How long this thread has been ready without a processor in all, nanoseconds; 0 where Linux does not tell."""
        if self._thread != threading.get_ident():
            self._thread = threading.get_ident()
            with suppress(OSError):
                self._statistics = os.open("/proc/thread-self/schedstat", os.O_RDONLY | os.O_CLOEXEC)
        return 0 if self._statistics is None else int(os.pread(self._statistics, 80, 0).split()[1])


class MeteredLoop(uvloop.Loop):
    """uvloop with a `TurnMeter` around all callbacks. What uvloop does itself (system calls, TLS) is part of a turn."""

    def __init__(self, meter: TurnMeter) -> None:
        super().__init__()
        self.meter = meter
        gc.callbacks.append(meter.collected)

    def end_turn_soon(self, end: Callable[[], None]) -> None:
        """Call ``end`` in the next turn, before what that one begins with, and not metered."""
        super().call_soon(end)

    def call_soon(  # type: ignore[override]
        self, callback: Callable[..., Any], *args: Any, context: Any = None
    ) -> asyncio.Handle:
        return super().call_soon(self.meter.run, self, callback, *args, context=context)

    def call_soon_threadsafe(  # type: ignore[override]
        self, callback: Callable[..., Any], *args: Any, context: Any = None
    ) -> asyncio.Handle:
        return super().call_soon_threadsafe(self.meter.run, self, callback, *args, context=context)

    def call_later(  # type: ignore[override]
        self, delay: float, callback: Callable[..., Any], *args: Any, context: Any = None
    ) -> asyncio.TimerHandle:
        return super().call_later(delay, self.meter.run, self, callback, *args, context=context)

    def call_at(  # type: ignore[override]
        self, when: float, callback: Callable[..., Any], *args: Any, context: Any = None
    ) -> asyncio.TimerHandle:
        return super().call_at(when, self.meter.run, self, callback, *args, context=context)

    def add_reader(self, fd: Any, callback: Callable[..., Any], *args: Any) -> None:  # type: ignore[override]
        super().add_reader(fd, self.meter.run, self, callback, *args)

    def add_writer(self, fd: Any, callback: Callable[..., Any], *args: Any) -> None:  # type: ignore[override]
        super().add_writer(fd, self.meter.run, self, callback, *args)

    async def create_server(self, protocol_factory: Callable[[], Any], *args: Any, **options: Any) -> Any:
        return await super().create_server(self._metered(protocol_factory), *args, **options)

    async def create_unix_server(self, protocol_factory: Callable[[], Any], *args: Any, **options: Any) -> Any:
        return await super().create_unix_server(self._metered(protocol_factory), *args, **options)

    async def create_datagram_endpoint(self, protocol_factory: Callable[[], Any], *args: Any, **options: Any) -> Any:
        return await super().create_datagram_endpoint(self._metered(protocol_factory), *args, **options)

    def _metered(self, factory: Callable[[], Any]) -> Callable[[], Any]:
        return lambda: MeteredProtocol(self, factory())


class MeteredProtocol(asyncio.Protocol):
    """A protocol whose methods are metered when the loop calls them."""

    def __init__(self, loop: MeteredLoop, protocol: Any) -> None:
        for name in METERED:
            if hasattr(protocol, name):
                setattr(self, name, partial(loop.meter.run, loop, getattr(protocol, name)))


def new_loop(limit_ms: float) -> asyncio.AbstractEventLoop:
    """A loop of uvloop, metered if ``limit_ms`` is not 0."""
    return MeteredLoop(TurnMeter(limit_ms)) if limit_ms else uvloop.new_event_loop()


def loop_status(loop: asyncio.AbstractEventLoop) -> dict[str, Any] | None:
    """`MeterStatus` of a metered loop, None of any other."""
    return msgspec.to_builtins(loop.meter.status()) if isinstance(loop, MeteredLoop) else None


def name_of(callback: Callable[..., Any], args: tuple[Any, ...]) -> str:
    """What runs: a function's name, or the coroutines of a task from the outermost to the one that waits."""
    task = getattr(callback, "__self__", None)
    if isinstance(task, asyncio.Task):
        names = []
        awaited: Any = task.get_coro()
        while isinstance(awaited, CoroutineType):
            names.append(awaited.__qualname__)
            awaited = awaited.cr_await
        return " > ".join(names)
    named = [callback, *args[:1]] if args and callable(args[0]) else [callback]
    return " of ".join(_name_of_function(function) for function in named)


def _name_of_function(function: Any) -> str:
    inner = getattr(function, "func", function)  # of a partial
    return str(getattr(inner, "__qualname__", type(inner).__qualname__))


def _class_of(milliseconds: float) -> int:
    return bisect_left(BOUNDS_MS, milliseconds)
