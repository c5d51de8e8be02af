"""Writes lines to standard output and error without blocking the caller: a bounded queue and a thread.

The reader may be slow or missing: a full pipe, a stopped terminal, a closed file descriptor.
"""

from __future__ import annotations

import atexit
import io
import os
import select
import sys
import threading
import time
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from typing import Final

QUEUE_MAX_BYTES: Final = 1 << 20
"""Text that may wait to be written; lines that do not fit are dropped and counted."""
FLUSH_SECONDS: Final = 2.0
"""How long a process that ends waits for its lines to be written."""
RETRY_MILLISECONDS: Final = 200
"""Between attempts to write to a descriptor that does not block."""
DISCARDED: Final = -1
"""In place of a file descriptor: discard the text."""


class Lines:
    """Writes text to one file descriptor, in order. Any thread may call it; only `flush` waits."""

    def __init__(
        self, descriptor: int, notice: Callable[[int], str] = lambda count: f"{count} lines dropped\n"
    ) -> None:
        self._descriptor = descriptor
        self.notice = notice
        """Makes the line that reports how many lines were dropped."""
        self._changed = threading.Condition(threading.Lock())
        self._waiting: deque[bytes] = deque()
        self._waiting_bytes = 0
        self._is_writing = False
        self._thread: threading.Thread | None = None
        self._unreported = 0
        self.restarts = 0
        """How often its thread had to be replaced."""
        self.dropped = 0
        """Lines dropped because the queue was full or the write failed."""

    @property
    def descriptor(self) -> int:
        """The file descriptor it writes to."""
        return self._descriptor

    def put(self, text: str) -> None:
        """Queue whole lines for writing."""
        data = text.encode("utf-8", "backslashreplace")
        with self._changed:
            if self._waiting_bytes + len(data) > QUEUE_MAX_BYTES:
                self._drop()
                return
            self._waiting.append(data)
            self._waiting_bytes += len(data)
            self._changed.notify_all()
            if self._thread is None or not self._thread.is_alive():
                self.restarts += self._thread is not None
                self._begin()

    def flush(self, seconds: float = FLUSH_SECONDS) -> bool:
        """Wait until everything is written, for a limited time in seconds; returns whether it was."""
        end = time.monotonic() + seconds
        with self._changed:
            if self._thread is None:
                self._write_here(end)
            while self._waiting or self._is_writing:
                left = end - time.monotonic()
                if left <= 0 or self._thread is None or not self._thread.is_alive():
                    return False
                self._changed.wait(min(left, 0.1))
        return True

    def _begin(self) -> None:
        self._thread = threading.Thread(target=self._work, name=f"lines-{self._descriptor}", daemon=True)
        try:
            self._thread.start()
        except RuntimeError:  # the system refuses a new thread now: the next line tries again
            self._thread = None

    def _write_here(self, end: float) -> None:
        """Without a thread: write what waits as far as the reader takes it in time. Holds the lock."""
        taken = select.poll()
        taken.register(max(self._descriptor, 0), select.POLLOUT)
        while self._waiting and (left := end - time.monotonic()) > 0:
            if not taken.poll(left * 1000):
                return
            data = self._waiting.popleft()
            self._waiting_bytes -= len(data)
            with suppress(OSError):  # there is no other place to report it
                self._write(data)

    def _drop(self) -> None:
        self.dropped += 1
        self._unreported += 1

    def _work(self) -> None:
        while True:
            with self._changed:
                self._is_writing = False
                self._changed.notify_all()
                while not self._waiting:
                    self._changed.wait()
                data = self._waiting.popleft()
                self._waiting_bytes -= len(data)
                self._is_writing = True
                unreported, self._unreported = self._unreported, 0
            try:
                if unreported:
                    data = self.notice(unreported).encode("utf-8", "backslashreplace") + data
                self._write(data)
            except OSError:  # there is no other place to report it
                with self._changed:
                    self._unreported += unreported
                    self._drop()

    def _write(self, data: bytes) -> None:
        if self._descriptor == DISCARDED:
            return
        view = memoryview(data)
        while view:
            try:
                view = view[os.write(self._descriptor, view) :]
            except BlockingIOError:  # another process made the descriptor non-blocking
                waiting = select.poll()
                waiting.register(self._descriptor, select.POLLOUT)
                waiting.poll(RETRY_MILLISECONDS)


class LineStream(io.TextIOBase):
    """Text written to it goes to `Lines`: a standard stream that never blocks."""

    def __init__(self, lines: Lines) -> None:
        super().__init__()
        self._lines = lines
        self._unfinished = ""
        self._lock = threading.Lock()

    encoding = "utf-8"
    errors = "backslashreplace"

    def writable(self) -> bool:
        return True

    def isatty(self) -> bool:
        return self._lines.descriptor != DISCARDED and os.isatty(self._lines.descriptor)

    def fileno(self) -> int:
        if self._lines.descriptor == DISCARDED:
            raise io.UnsupportedOperation("this stream has no descriptor")
        return self._lines.descriptor

    @property
    def lines(self) -> Lines:
        """The `Lines` it writes to."""
        return self._lines

    def write(self, text: str) -> int:
        with self._lock:
            whole, newline, self._unfinished = (self._unfinished + text).rpartition("\n")
            if len(self._unfinished) > QUEUE_MAX_BYTES:
                self._unfinished = ""
        if newline:
            self._lines.put(whole + newline)
        return len(text)


def hold_standard_descriptors() -> None:
    """Open descriptors 0 to 2 on nothing where they are closed: a database's file must not become standard error."""
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            opened = os.open(os.devnull, os.O_RDWR)
            assert opened == number, "the lowest free descriptor is the one that is closed"


def descriptor_of(stream: io.TextIOBase | object) -> int:
    """The file descriptor of a standard stream; `DISCARDED` if it has none."""
    try:
        return int(stream.fileno())  # type: ignore[union-attr]
    except (AttributeError, OSError, ValueError):
        return DISCARDED


def replace_standard_streams() -> tuple[Lines, Lines]:
    """Send everything this process prints through `Lines`. Returns those of standard output and standard error."""
    output, errors = Lines(descriptor_of(sys.stdout)), Lines(descriptor_of(sys.stderr))
    sys.stdout, sys.stderr = LineStream(output), LineStream(errors)
    atexit.register(flush_standard_streams)
    return output, errors


def restarts_of_standard_streams() -> int:
    """How often the threads that write them had to be replaced."""
    return sum(stream.lines.restarts for stream in (sys.stderr, sys.stdout) if isinstance(stream, LineStream))


def flush_standard_streams(seconds: float = FLUSH_SECONDS) -> None:
    """Before the process ends: wait for printed text to be written, each stream for a limited time in seconds."""
    for stream in (sys.stderr, sys.stdout):
        if isinstance(stream, LineStream):
            stream.lines.flush(seconds)
