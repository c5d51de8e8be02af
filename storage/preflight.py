"""Looks at what kinds of things lie in a data directory before any of them is opened."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from storage.directory import layout
from storage.directory.exclusion import refuse_if_used
from storage.errors import DataDirectoryUnusable, EntryUnusable
from storage.io.files import RealFs
from storage.io.kv.engines import PACKAGES
from storage.wal.bounds import BEGINNING_NAME, WATERMARK_NAME

DIRECTORIES = (
    layout.WAL, layout.STATE, layout.SESSIONS, layout.EXPORTS, layout.CACHE, layout.QUARANTINE, layout.VERIFYING,
    layout.TLS, layout.REPLACED, *map(layout.staged, PACKAGES),
)  # fmt: skip
FILES = (
    layout.FORMAT, layout.GENESIS, layout.LOCK, layout.SUSPECT, layout.PANIC, layout.BALLAST,
    *(layout.INDEX + suffix for suffix in ("", "-wal", "-shm", "-journal")),
)  # fmt: skip
DEPTH = 2
"""Folders in folders of the data directory: ``sessions/7``. Nobody opens what is deeper."""
SMALL_BYTES = 2**20
MOST_BYTES = {
    layout.GENESIS: 512 * 2**20, f"{layout.STATE}/CURRENT": SMALL_BYTES,
    **dict.fromkeys((layout.FORMAT, layout.LOCK, layout.SUSPECT, layout.PANIC), SMALL_BYTES),
    **dict.fromkeys((f"{layout.WAL}/{name}" for name in (BEGINNING_NAME, WATERMARK_NAME)), SMALL_BYTES),
}  # fmt: skip
"""Largest sizes of files that are read whole: a larger one would only fill the memory."""
WANTED = dict.fromkeys(DIRECTORIES, "directory") | dict.fromkeys(FILES, "file")


def looked_over(data_dir: Path, *, unused: bool = False) -> RealFs:
    """The file system of a data directory without anything in it that would hang or confuse who opens it.

    Opening a FIFO waits for a writer and a device never ends, also inside an engine and SQLite, which open files by
    themselves; and what they write through a link to a file would overwrite another file. Links to directories are
    followed: `state/` may be on another disk.

    Raises `EntryUnusable`; `DataDirectoryUnusable` for what is not a directory; before that, if the directory is to be
    ``unused``, `DataDirectoryLocked`.
    """
    if unused:
        refuse_if_used(RealFs(data_dir))
    if os.path.lexists(data_dir) and not os.path.isdir(data_dir):  # noqa: PTH112 - which tells of no error
        raise DataDirectoryUnusable(f"{data_dir} is not a directory")
    for path, kind in _entries(data_dir, ""):
        wanted = WANTED.get(path, "file")
        if kind != wanted and (path in WANTED or kind != "directory"):
            raise EntryUnusable(f"{data_dir / path} is a {kind}, not a {wanted}")
        if path in MOST_BYTES and _size(data_dir / path) > MOST_BYTES[path]:
            raise EntryUnusable(f"{data_dir / path} has more than {MOST_BYTES[path]} bytes")
    return RealFs(data_dir)


def refuse_unwritable(data_dir: Path) -> None:
    """Raise `DataDirectoryUnusable` for a directory of the node in which it could not make a file later.

    Existing files of it may be writable all the same, so that nothing else fails before the first new one: the next
    segment of the log, session or export, whose failure ends the process.
    """
    sessions = data_dir / layout.SESSIONS
    places = [data_dir, data_dir / layout.WAL, data_dir / layout.STATE, sessions, data_dir / layout.EXPORTS]
    with suppress(OSError):
        places += sessions.iterdir()
    for place in places:
        is_directory = os.path.isdir(place)  # noqa: PTH112 - raises nothing
        if is_directory and not os.access(place, os.W_OK | os.X_OK, effective_ids=True):
            raise DataDirectoryUnusable(f"{place} cannot be written by this user")


def _entries(root: Path, below: str) -> Iterator[tuple[str, str]]:
    """Path and kind of everything that the stores may open. What cannot be listed has none: who opens it tells why."""
    try:
        found = sorted(os.scandir(root / below), key=lambda entry: entry.name)
    except OSError:
        return
    for entry in found:
        path = f"{below}{entry.name}"
        kind = _kind(entry)
        yield path, kind
        is_ours = path in WANTED or (below and not entry.is_symlink() and path.count("/") < DEPTH)
        if kind == "directory" and path != layout.QUARANTINE and is_ours:
            yield from _entries(root, f"{path}/")


def _size(path: Path) -> int:
    """In bytes; 0 for what a running node has just removed, or what cannot be looked at: who opens it tells why."""
    with suppress(OSError):
        return path.stat().st_size
    return 0


def _kind(entry: os.DirEntry[str]) -> str:
    try:
        if entry.is_dir():
            return "directory"
        if entry.is_file():
            return "link to a file" if entry.is_symlink() else "file"
        return "FIFO" if stat.S_ISFIFO(entry.stat().st_mode) else "device or socket"
    except OSError:
        return "link to nowhere" if entry.is_symlink() else "file"  # which a running node has just removed
