"""The file system as the stores see it: a small port, and the real one behind it.

Paths are relative to the data directory and use ``/``. Tests have another one, which crashes and fails
(tests/simulation/simfs.py). ``OSError`` passes up as it is; what a failure means is decided by the store that meets it.
"""

from __future__ import annotations

import errno
import fcntl
import os
from contextlib import suppress
from pathlib import Path
from typing import Protocol

from chain.brief import NotInMemory, before_long_work
from storage.errors import DataDirectoryLocked
from storage.io.holders import holder_of

MAX_INTERRUPTIONS = 100
"""Calls in a row that may be interrupted before `write_all` gives up."""
LOCK_ATTEMPTS = 10
"""How often a name may be replaced between opening and locking it before `RealFs.lock` gives up."""

Bytes = bytes | bytearray | memoryview
"""Data that can be written."""


class File(Protocol):
    """An open file. Positions and sizes are in bytes."""

    def pread(self, offset: int, count: int) -> bytes:
        """``count`` bytes from ``offset``; fewer only where the file ends."""

    def pwrite(self, offset: int, data: Bytes) -> int:
        """Write at ``offset`` and return how much was written, which may be less: see `write_all`."""

    def fdatasync(self) -> None:
        """Make content and size durable; not the directory entry."""

    def fsync(self) -> None:
        """Make content, size and other metadata durable; not the directory entry."""

    def ftruncate(self, size: int) -> None:
        """Cut or extend (with zeros) to ``size``."""

    def fallocate(self, size: int) -> None:
        """Reserve disk space for the first ``size`` bytes, extending the file with zeros."""

    def size(self) -> int:
        """The file's length."""

    def data_ranges(self) -> list[tuple[int, int]]:
        """Where bytes that are not zero may be: ascending (start, end). All, if the file system cannot tell.

        Ask before reading: cached pages of reserved but unwritten space count as data."""

    def forget_cached(self) -> None:
        """Ask the system to read the file from the disk again; what it has not written yet stays cached."""

    def close(self) -> None:
        """Give the handle back. Makes nothing durable."""


class Lock(Protocol):
    """An exclusive lock on a file or directory, held until it is released or the process ends."""

    def release(self) -> None:
        """Release the lock."""


class FileSystem(Protocol):
    """A directory tree. Entries made, renamed or removed are durable after `sync_directory`."""

    def open(self, path: str, *, create: bool = False, writable: bool = True) -> File:
        """An existing file, or with ``create`` one that must not exist yet (``FileExistsError``).

        A file opened for writing is locked until it is closed. Raises `DataDirectoryLocked` if another process has it.
        """

    def exists(self, path: str) -> bool:
        """Whether a file or directory has this name."""

    def listdir(self, path: str) -> list[str]:
        """Names in a directory, sorted."""

    def makedirs(self, path: str) -> None:
        """Make a directory and its parents where missing."""

    def rename(self, source: str, target: str) -> None:
        """Move a name, replacing ``target`` in one step."""

    def unlink(self, path: str) -> None:
        """Remove a file's name."""

    def rmdir(self, path: str) -> None:
        """Remove an empty directory."""

    def sync_directory(self, path: str) -> None:
        """Make the entries of a directory durable. ``""`` is the data directory itself."""

    def read_file(self, path: str) -> bytes:
        """The whole content of a small file."""

    def modified(self, path: str) -> float:
        """When the file was written last, Unix seconds."""

    def lock(self, path: str) -> Lock:
        """Lock a directory, or a file that is made if it is missing, without waiting. Raises `DataDirectoryLocked`."""

    def moved(self, path: str, held: File | Lock, size: int = 0) -> str:
        """Why ``path`` no longer names what is open, or is shorter than ``size`` bytes; empty if it still does."""

    def is_writable(self, path: str) -> bool:
        """Whether this process may change a file or directory: its mode, its mount and its attributes allow it."""

    def free_bytes(self) -> int:
        """Room on the disk for a process without privileges."""


def write_all(file: File, offset: int, data: Bytes) -> None:
    """Write every byte, over short and interrupted calls. After an ``OSError`` part may be written."""
    view = memoryview(data)
    written = interruptions = 0
    while written < len(view):
        try:
            written += file.pwrite(offset + written, view[written:])
        except InterruptedError:
            interruptions += 1
            if interruptions > MAX_INTERRUPTIONS:
                raise


def parent_of(path: str) -> str:
    """The directory of a path; ``""`` is the root.

    >>> parent_of("wal/watermark"), parent_of("FORMAT")
    ('wal', '')
    """
    return path.rpartition("/")[0]


class RealFile:
    """A file of the operating system. Python itself repeats interrupted calls (PEP 475)."""

    __slots__ = ("_descriptor",)

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor

    def stat(self) -> os.stat_result:
        """Status of the open file, independent of its name."""
        return os.fstat(self._descriptor)

    def pread(self, offset: int, count: int) -> bytes:
        before_long_work(NotInMemory)
        data = os.pread(self._descriptor, count, offset)
        if len(data) == count or not data:
            return data
        parts = [data]
        missing = count - len(data)
        while missing:  # the kernel may give less, e.g. above 2 GiB
            data = os.pread(self._descriptor, missing, offset + count - missing)
            if not data:
                break
            parts.append(data)
            missing -= len(data)
        return b"".join(parts)

    def pwrite(self, offset: int, data: Bytes) -> int:
        return os.pwrite(self._descriptor, data, offset)

    def fdatasync(self) -> None:
        os.fdatasync(self._descriptor)

    def fsync(self) -> None:
        os.fsync(self._descriptor)

    def ftruncate(self, size: int) -> None:
        os.ftruncate(self._descriptor, size)

    def fallocate(self, size: int) -> None:
        os.posix_fallocate(self._descriptor, 0, size)

    def size(self) -> int:
        return os.fstat(self._descriptor).st_size

    def data_ranges(self) -> list[tuple[int, int]]:
        ranges: list[tuple[int, int]] = []
        end = 0
        while True:
            try:
                start = os.lseek(self._descriptor, end, os.SEEK_DATA)
                end = os.lseek(self._descriptor, start, os.SEEK_HOLE)
            except OSError as error:
                if error.errno == errno.ENXIO:  # only a hole follows, or the end
                    return ranges
                if error.errno == errno.EINVAL:
                    return [(0, self.size())]
                raise
            ranges.append((start, end))

    def forget_cached(self) -> None:
        os.posix_fadvise(self._descriptor, 0, 0, os.POSIX_FADV_DONTNEED)

    def close(self) -> None:
        descriptor, self._descriptor = self._descriptor, -1
        if descriptor >= 0:
            os.close(descriptor)


class RealLock:
    """An ``flock``: the kernel releases it when the process ends, however it ends."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor

    def stat(self) -> os.stat_result:
        """Status of the locked file or directory, independent of its name."""
        return os.fstat(self._descriptor)

    def release(self) -> None:
        descriptor, self._descriptor = self._descriptor, -1
        if descriptor >= 0:
            os.close(descriptor)


class RealFs:
    """The tree below ``root``. Files are 0600, directories 0700: a chain may hold private work."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def open(self, path: str, *, create: bool = False, writable: bool = True) -> RealFile:
        flags = os.O_CLOEXEC | (os.O_RDWR if writable or create else os.O_RDONLY)
        if create:
            flags |= os.O_CREAT | os.O_EXCL
        descriptor = os.open(self.root / path, flags, 0o600)
        if writable or create:
            self._flock(descriptor, path)
        # No read-ahead: readers ask for large pieces, and pages read ahead into reserved space would be kept,
        # and would look like data to `data_ranges`.
        os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_RANDOM)
        return RealFile(descriptor)

    def exists(self, path: str) -> bool:
        return (self.root / path).exists()

    def listdir(self, path: str) -> list[str]:
        return sorted(entry.name for entry in (self.root / path).iterdir())

    def makedirs(self, path: str) -> None:
        (self.root / path).mkdir(mode=0o700, parents=True, exist_ok=True)

    def rename(self, source: str, target: str) -> None:
        (self.root / source).replace(self.root / target)

    def unlink(self, path: str) -> None:
        (self.root / path).unlink()

    def rmdir(self, path: str) -> None:
        (self.root / path).rmdir()

    def sync_directory(self, path: str) -> None:
        descriptor = os.open(self.root / path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)

    def read_file(self, path: str) -> bytes:
        return (self.root / path).read_bytes()

    def modified(self, path: str) -> float:
        return (self.root / path).stat().st_mtime

    def lock(self, path: str) -> RealLock:
        name = self.root / path
        for _ in range(LOCK_ATTEMPTS):
            flags = os.O_RDONLY | os.O_DIRECTORY if name.is_dir() else os.O_RDWR | os.O_CREAT
            descriptor = os.open(name, flags | os.O_CLOEXEC, 0o600)
            self._flock(descriptor, path)
            lock = RealLock(descriptor)
            if not self.moved(path, lock):
                if not flags & os.O_DIRECTORY:
                    with suppress(OSError):  # for people; a full disk shall not keep a node from starting
                        os.ftruncate(descriptor, 0)
                        os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
                return lock
            lock.release()
        raise DataDirectoryLocked(f"{name} is replaced again and again by another process")

    def _flock(self, descriptor: int, path: str) -> None:
        """Lock an open file or directory. Raises `DataDirectoryLocked` and closes it if another process has it."""
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            owner = holder_of(os.fstat(descriptor))
            os.close(descriptor)
            beside = f" ({path} is locked)" if path else ""
            raise DataDirectoryLocked(f"{self.root} is in use by {owner}{beside}") from None

    def moved(self, path: str, held: File | Lock, size: int = 0) -> str:
        assert isinstance(held, RealFile | RealLock)
        opened = held.stat()
        try:
            found = os.stat(f"{self.root}/{path}")  # noqa: PTH116 - once for each group of the log: a Path costs more
        except OSError as error:
            return f"it is gone: {error.strerror}"
        if (found.st_dev, found.st_ino) != (opened.st_dev, opened.st_ino):
            return "its name now belongs to another file"
        return "" if found.st_size >= size else f"it was cut to {found.st_size} bytes"

    def is_writable(self, path: str) -> bool:
        return os.access(self.root / path, os.W_OK, effective_ids=True)

    def free_bytes(self) -> int:
        found = os.statvfs(self.root)
        return found.f_bavail * found.f_frsize
