"""Finds out from the kernel which other processes use a file, independent of its name.

Three questions, three calls of the system: ``/proc/locks`` names the process behind a lock, ``F_GETLK`` tells of POSIX
locks (those of LevelDB and SQLite) also across PID namespaces, and a read lease can be had only on a file that nobody
has open for writing.
"""

from __future__ import annotations

import fcntl
import os
import signal
import struct
from pathlib import Path

from storage.errors import DataDirectoryLocked

LOCKS = Path("/proc/locks")
_FLOCK = struct.Struct("hhqqi")
"""``struct flock`` of Linux on 64-bit machines: type, whence, start, length, process."""


Identity = tuple[int, int]
"""Device and inode of a file."""


def identity_of(path: Path | str) -> Identity | None:
    """Of the file with this name, None if there is none."""
    try:
        found = Path(path).stat()
    except OSError:
        return None
    return found.st_dev, found.st_ino


def holder_of(found: os.stat_result) -> str:
    """The process that holds a lock on this file, for people; processes of other namespaces have no number here."""
    try:
        rows = [line.split() for line in LOCKS.read_text().splitlines()]
    except OSError:
        rows = []
    for row in rows:
        if "->" not in row and len(row) >= 6 and row[5].rpartition(":")[2] == str(found.st_ino):
            return f"process {row[4]}"
    return "another process"


def is_locked(path: Path) -> bool:
    """Whether another process holds a POSIX lock on any byte of a file.

    Closes a descriptor of the file, and with it this process's own POSIX locks on it: only for files it has not open.
    """
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        asked = _FLOCK.pack(fcntl.F_WRLCK, os.SEEK_SET, 0, 0, 0)
        kind = _FLOCK.unpack(fcntl.fcntl(descriptor, fcntl.F_GETLK, asked))[0]
    except OSError:
        return False
    finally:
        os.close(descriptor)
    return bool(kind != fcntl.F_UNLCK)


def is_written(path: Path) -> bool:
    """Whether any process has a file open for writing; False if the file system or this user cannot tell."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        # The kernel signals the end of a lease; SIGURG is ignored by default, SIGIO would end the process.
        fcntl.fcntl(descriptor, fcntl.F_SETSIG, signal.SIGURG)
        fcntl.fcntl(descriptor, fcntl.F_SETLEASE, fcntl.F_RDLCK)
        fcntl.fcntl(descriptor, fcntl.F_SETLEASE, fcntl.F_UNLCK)
    except BlockingIOError:
        return True
    except OSError:
        return False
    finally:
        os.close(descriptor)
    return False


def refuse_if_used(directory: Path, locked: tuple[str, ...], written: tuple[str, ...]) -> None:
    """Raise `DataDirectoryLocked` if another process uses one of these files, given as glob patterns."""
    for patterns, is_used in ((locked, is_locked), (written, is_written)):
        for path in (found for pattern in patterns for found in sorted(directory.glob(pattern))):
            if is_used(path):
                raise DataDirectoryLocked(f"{path} is in use by {holder_of(path.stat())}")
