"""The node's small secret files: read only if nobody else can, written whole, durably and never through a link."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from node.ops.reading import read_limited
from storage.io.failures import entering

FILE_BYTES_MAX = 64 * 1024


class Exposed(PermissionError):
    """A secret that other users of the machine can read."""


@contextmanager
def for_owner_only() -> Iterator[None]:
    """Files made meanwhile are 0600 and folders 0700, also those that LevelDB and SQLite make."""
    before = os.umask(0o077)
    try:
        yield
    finally:
        os.umask(before)


def read_private(path: Path, *, secret: bool = True) -> bytes | None:
    """The content of a file, None if there is none.

    Raises `OSError`: it cannot be read, is not a file, is larger than 64 KiB; `Exposed` for a secret others can read.
    """
    try:
        content = read_limited(path, FILE_BYTES_MAX, own=True)
        if secret and path.stat().st_mode & 0o077:
            raise Exposed(f"{path} can be read by others; chmod 600 it")
    except FileNotFoundError:
        return None
    return content


def write_private(path: Path, content: bytes) -> None:
    """Write a file of mode 0600 atomically and durably, and its folder if it is missing.

    Raises `DataDirectoryUnusable`, `StorageFull`, `StoragePanic`.
    """
    with entering(str(path)):
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        beside = path.with_name(path.name + ".new")
        beside.unlink(missing_ok=True)
        descriptor = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        beside.rename(path)
        folder = os.open(path.parent, os.O_RDONLY | os.O_CLOEXEC)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
