"""Work that must not hold its thread: it leaves before anything that may take long, and is done on another one.

The event loop runs short calls itself. What goes to the disk, takes much memory or works long in native code that
nothing interrupts calls `before_long_work` first, which costs other threads a look at a flag.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


class TakesLong(BaseException):
    """The work has to begin again on another thread. Not an `Exception`: no handler of errors may take it for one."""


class NotInMemory(TakesLong):
    """It needs something from the disk."""


class _Thread(threading.local):
    is_brief = False


_thread = _Thread()


def before_long_work(why: type[TakesLong] = TakesLong) -> None:
    """Raises ``why`` inside of `run_briefly`."""
    if _thread.is_brief:
        raise why


def run_briefly(job: Callable[[], T]) -> T:
    """Run a job that may be given up anywhere and changes nothing. Raises `TakesLong` and what ``job`` raises."""
    _thread.is_brief = True
    try:
        return job()
    finally:
        _thread.is_brief = False
