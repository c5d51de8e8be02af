"""The node's small secret files: refused if others can read them; written atomically, durably, never through a link."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from node.ops.reading import read_limited
from storage.io.atomic import write_atomically
from storage.io.failures import entering
from storage.io.files import RealFs

FILE_BYTES_MAX = 64 * 1024


class Exposed(PermissionError):
    """A secret that other users of the machine can read."""


@contextmanager
def for_owner_only() -> Iterator[None]:
    """Within this context new files are 0600 and new folders 0700, also those of LevelDB and SQLite."""
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
        write_atomically(RealFs(path.parent), path.name, [content])
