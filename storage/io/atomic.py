"""Atomic, durable file writes, safe against a crash at any point: write a temporary file, sync, rename, sync the name.

The only code that does this for files that must be durable; caches, which may be lost, need no syncs.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import suppress

from storage.io.failpoints import reach
from storage.io.failures import syncing, writing
from storage.io.files import Bytes, File, FileSystem, parent_of, write_all

TEMPORARY = ".tmp"
"""Suffix of a file that has not got its name yet. A crash may leave one; the next attempt removes it."""
STEPS = ("written", "synced", "renamed")
"""Failpoints on the way: ``<place>.written`` and so on."""


def create_durably(fs: FileSystem, path: str, fill: Callable[[File], None], place: str = "file.replace") -> File:
    """Make a file, or replace one, that has its name only when what ``fill`` wrote is durable. Returned open.

    After an error the old file is in place, if there was one, and the temporary one is removed.
    Raises `StorageFull`, `StoragePanic`; what ``fill`` raises passes up.
    """
    temporary = path + TEMPORARY
    with writing(temporary):
        with suppress(FileNotFoundError):
            fs.unlink(temporary)
        file = fs.open(temporary, create=True)
    try:
        fill(file)
        reach(f"{place}.written")
        with syncing(temporary):
            file.fsync()
        reach(f"{place}.synced")
        with writing(path):
            fs.rename(temporary, path)
    except BaseException:
        file.close()
        with suppress(OSError):  # the first error is the one to report
            fs.unlink(temporary)
        raise
    reach(f"{place}.renamed")
    try:
        with syncing(path):
            fs.sync_directory(parent_of(path))
    except BaseException:
        file.close()
        raise
    return file


def write_atomically(fs: FileSystem, path: str, parts: Iterable[Bytes], place: str = "file.replace") -> None:
    """Replace a file: a reader, and a crash at any point, finds the old content or all ``parts`` in a row.

    Raises `StorageFull`, `StoragePanic`; what ``parts`` raises passes up.
    """

    def fill(file: File) -> None:
        offset = 0
        for part in parts:
            with writing(path):
                write_all(file, offset, part)
            offset += len(part)

    create_durably(fs, path, fill, place).close()
