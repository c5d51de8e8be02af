"""Starts another process of the node's own and exchanges messages with it, each answer within a time limit.

A message is its length, ``u32`` little-endian, and its bytes. Requests go to the process's standard input, answers come
from its standard output. The process must exit when its input ends, so that it does not outlive the node.
"""

from __future__ import annotations

import os
import struct
import subprocess
import sys
import threading
from contextlib import suppress
from pathlib import Path
from typing import IO, Final

_ROOT = Path(__file__).resolve().parent.parent.parent
_LENGTH: Final = struct.Struct("<I")
MESSAGE_BYTES_MAX: Final = 2**30


class WorkerLost(Exception):
    """The process exited, was killed at the time limit, or could not be started."""


class WorkerNotStarted(WorkerLost):
    """The system refused a new process: for lack of memory, processes or file descriptors."""


class Worker:
    """A process that answers messages. It is started by the first one, and again by the first one after it exited.

    One thread at a time calls `ask` and `stop`; `pid` and `kill` are safe on any thread.
    """

    def __init__(self, module: str, *arguments: str) -> None:
        self._command = command(module, *arguments)
        self._process: subprocess.Popen[bytes] | None = None
        self.ended_by_itself = False
        """Whether the last process exited with status 0."""

    @property
    def pid(self) -> int | None:
        """Id of the running process, None if there is none."""
        process = self._process
        return process.pid if process is not None and process.poll() is None else None

    @property
    def is_lost(self) -> bool:
        """Whether the process exited since the last answer."""
        process = self._process
        return process is not None and process.poll() is not None

    def ask(self, message: bytes, seconds: float) -> bytes:
        """Send a message and return the answer. Raises `WorkerLost`, after which the process is gone."""
        process = self._process = self._process or self._started()
        assert process.stdin is not None
        assert process.stdout is not None
        alarm = threading.Timer(seconds, process.kill)
        try:
            alarm.start()
            send(process.stdin, message)
            answer = receive(process.stdout)
        except (OSError, RuntimeError) as error:  # RuntimeError: the system refuses the alarm's thread
            answer, reason = None, f"{type(error).__name__}: {error}"
        else:
            reason = "it closed its output"
        finally:
            alarm.cancel()
        if answer is None:
            status = self.stop()
            raise WorkerLost(f"process {process.pid} was lost, status {status}: {reason}")
        return answer

    def _started(self) -> subprocess.Popen[bytes]:
        try:
            return subprocess.Popen(
                self._command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                env=environment(),
                start_new_session=True,  # Ctrl-C is the daemon's
            )
        except OSError as error:
            raise WorkerNotStarted(f"no process could be started: {error.strerror or error}") from None

    def kill(self) -> None:
        """Kill the process; an `ask` under way raises `WorkerLost`. Any thread."""
        process = self._process
        if process is not None:
            process.kill()

    def stop(self) -> int | None:
        """Kill the process and return its exit status; None if there is none."""
        process, self._process = self._process, None
        if process is None:
            return None
        process.kill()
        status = process.wait()
        for stream in (process.stdin, process.stdout):
            assert stream is not None
            with suppress(OSError):
                stream.close()
        self.ended_by_itself = status == 0
        return status


def send(stream: IO[bytes], data: bytes) -> None:
    """Write one message. Raises `OSError` if the other side has closed."""
    stream.write(_LENGTH.pack(len(data)) + data)
    stream.flush()


def receive(stream: IO[bytes]) -> bytes | None:
    """Read one message; None if the other side has closed or sent a malformed message."""
    head = stream.read(_LENGTH.size)
    if len(head) < _LENGTH.size:
        return None
    (length,) = _LENGTH.unpack(head)
    if length > MESSAGE_BYTES_MAX:
        return None
    data = stream.read(length)
    return data if len(data) == length else None


def command(module: str, *arguments: str) -> list[str]:
    """The command line that runs a module. ``-P`` keeps the current folder, which is not trusted, off the path."""
    return [sys.executable, "-P", "-m", module, *arguments]


def environment() -> dict[str, str]:
    """Environment of such a process: that of this one, with the folder of these packages first in ``PYTHONPATH``."""
    others = os.environ.get("PYTHONPATH")
    return os.environ | {"PYTHONPATH": os.pathsep.join([str(_ROOT), *([others] if others else [])])}
