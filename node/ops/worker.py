"""How the node starts another process of its own, and talks to it: one message, one answer, in time or not at all.

A message is its length, ``u32`` little-endian, and its bytes. It goes to the process's standard input, the answer comes
from its standard output. The process ends when its input does, so it does not outlive the node.
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
    """The process ended, was killed because it took too long, or could not be started."""


class Worker:
    """A process that answers messages. It is started by the first one, and anew by the first after it ended.

    One thread at a time asks; `pid` and `kill` are for any thread.
    """

    def __init__(self, module: str, *arguments: str) -> None:
        self._command = command(module, *arguments)
        self._process: subprocess.Popen[bytes] | None = None
        self.ended_by_itself = False
        """Whether the process that was lost last had ended with status 0."""

    @property
    def pid(self) -> int | None:
        """The process that runs, if one does."""
        process = self._process
        return process.pid if process is not None and process.poll() is None else None

    def ask(self, message: bytes, seconds: float) -> bytes:
        """The answer to a message. Raises `WorkerLost`; the process is gone then."""
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
            raise WorkerLost(f"no process could be started: {error.strerror or error}") from None

    def kill(self) -> None:
        """End the process at once; whoever asks it gets `WorkerLost`. Any thread."""
        process = self._process
        if process is not None:
            process.kill()

    def stop(self) -> int | None:
        """End the process, and its exit status; None if there is none."""
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
