"""Notes that a node leaves in its data directory for the next start, which acts on them and removes them."""

from __future__ import annotations

from contextlib import suppress

from storage.directory import layout
from storage.errors import StorageError
from storage.io.atomic import write_atomically
from storage.io.failures import syncing, writing
from storage.io.files import FileSystem

REASON_BYTES_MAX = 1_000


def suspect(fs: FileSystem, reason: str) -> None:
    """Damage was met while running: the next start shall put the state store aside. Never raises."""
    _leave(fs, layout.SUSPECT, reason)


def note_panic(fs: FileSystem, reason: str) -> None:
    """A sync or write failed: the next start shall believe the disk only. Never raises; the disk may take nothing."""
    _leave(fs, layout.PANIC, reason)


def _leave(fs: FileSystem, path: str, reason: str) -> None:
    with suppress(StorageError):
        write_atomically(fs, path, [reason.encode("utf-8", "replace")[:REASON_BYTES_MAX]])


def read_note(fs: FileSystem, path: str) -> str:
    """What a note says, for people: it may be damaged too."""
    return fs.read_file(path).decode("utf-8", "replace")


def remove_note(fs: FileSystem, path: str) -> None:
    """Durably, if it is there. Raises `StoragePanic`."""
    if fs.exists(path):
        with writing(path):
            fs.unlink(path)
        with syncing(path):
            fs.sync_directory("")
