"""Reads small files that a start depends on: a limited size, without blocking, and regular files only."""

from __future__ import annotations

import errno
import os
import select
import stat
import time
from pathlib import Path

PIPE_SECONDS = 5.0
"""How long to wait for the writer of a pipe, as in ``--config <(decrypt FILE)``."""
PIECE_BYTES = 2**20


def read_limited(path: Path, most_bytes: int, *, own: bool = False) -> bytes:
    """The content of a file.

    ``own``: it is one that the node wrote, so a link or a pipe in its place is refused.
    Raises `OSError`, also for what is not a file, is larger than ``most_bytes``, or is a pipe nobody writes to.
    """
    flags = os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | (os.O_NOFOLLOW if own else 0)
    descriptor = os.open(path, flags)
    try:
        mode = os.fstat(descriptor).st_mode
        is_pipe = stat.S_ISFIFO(mode) and not own
        if stat.S_ISDIR(mode):
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
        if not stat.S_ISREG(mode) and not is_pipe:
            raise OSError(errno.EINVAL, "not a file", str(path))
        content = _read(descriptor, path, most_bytes, is_pipe)
    finally:
        os.close(descriptor)
    if len(content) > most_bytes:
        raise OSError(errno.EFBIG, f"larger than {most_bytes} bytes", str(path))
    return content


def _read(descriptor: int, path: Path, most_bytes: int, is_pipe: bool) -> bytes:
    """Up to one byte more than the limit."""
    content = bytearray()
    deadline = time.monotonic() + PIPE_SECONDS
    ready = select.poll()
    ready.register(descriptor, select.POLLIN)
    while len(content) <= most_bytes:
        if is_pipe and not ready.poll(max(0.0, deadline - time.monotonic()) * 1000):
            raise TimeoutError(errno.ETIMEDOUT, f"a pipe that was not written to within {PIPE_SECONDS:g} s", str(path))
        piece = os.read(descriptor, min(PIECE_BYTES, most_bytes + 1 - len(content)))
        if not piece:
            break
        content += piece
    return bytes(content)
