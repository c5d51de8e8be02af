"""Snapshot files of large debug sessions: ``sessions/<id>/<blake2b>.sess``, written before the log names them.

A file has its name only when it is whole and durable, and never changes. If its record is refused, it is removed at
once, and at start if a crash came in between. One that was named once is removed after a day: until then a log that
lost its last records, or a backup begun earlier, may still want it.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Iterable
from contextlib import suppress
from hashlib import blake2b

from storage.directory import layout
from storage.errors import SnapshotLost, StorageFull
from storage.io.atomic import write_atomically
from storage.io.failpoints import reach
from storage.io.failures import reading, syncing, writing
from storage.io.files import FileSystem, parent_of
from storage.sessions.records import DIGEST_BYTES, SnapshotFile

SUFFIX = ".sess"
_OURS = re.compile(rf"[0-9a-f]+{re.escape(SUFFIX)}(\.tmp)?")
"""Names this program gives; what else people or file managers leave in these folders is not looked at."""
KEPT_SECONDS = 86_400
"""Age at which a file that no record names is removed."""


class SessionFiles:
    """Any thread, but one at a time for each session."""

    def __init__(self, fs: FileSystem) -> None:
        self._fs = fs
        self._lock = threading.Lock()
        self._pending: set[str] = set()
        """Written, and perhaps not named by a record yet."""

    def remove_unfinished(self, sessions: Iterable[int]) -> None:
        """Remove what an earlier process has begun to write, and files of no session: at start. Raises `StoragePanic`.

        ``sessions`` are the ids there are. Older files of theirs stay for their day: see the module.
        """
        known = {f"{layout.SESSIONS}/{session}" for session in sessions}
        for path in _listed(self._fs):
            if not path.endswith(SUFFIX) or parent_of(path) not in known:
                with writing(path):
                    self._fs.unlink(path)
        self._remove_empty_folders()

    def write(self, session: int, content: bytes) -> SnapshotFile:
        """Make the content durable; until `settled`, the file stays. Raises `StorageFull`, `StoragePanic`."""
        snapshot = SnapshotFile(blake2b(content, digest_size=DIGEST_BYTES).digest(), len(content))
        path = path_of(session, snapshot)
        with self._lock:
            self._pending.add(path)
        try:
            self._write(f"{layout.SESSIONS}/{session}", path, content)
        except StorageFull:
            self.refused(session, snapshot)
            raise
        reach("session.file.durable")
        return snapshot

    def _write(self, folder: str, path: str, content: bytes) -> None:
        for made, parent in ((layout.SESSIONS, ""), (folder, layout.SESSIONS)):
            with writing(made):
                self._fs.makedirs(made)
            with syncing(parent):
                self._fs.sync_directory(parent)
        if not self._fs.exists(path) or self._content(path) != content:
            reach("session.file.before")
            write_atomically(self._fs, path, [content], "session.file")
        with syncing(folder):  # its name, if the process that made the file was killed in between
            self._fs.sync_directory(folder)

    def settled(self, session: int, snapshot: SnapshotFile) -> None:
        """The record that names the file is in the log, or may still get there."""
        with self._lock:
            self._pending.discard(path_of(session, snapshot))

    def refused(self, session: int, snapshot: SnapshotFile) -> None:
        """No record will name the file: what is refused leaves none. Raises `StoragePanic`."""
        path = path_of(session, snapshot)
        with self._lock:
            self._pending.discard(path)
            if self._fs.exists(path):
                with writing(path):
                    self._fs.unlink(path)
        self._remove_empty_folders()

    def read(self, session: int, snapshot: SnapshotFile) -> bytes:
        """Content of a file. Raises `SnapshotLost` if it is missing or another one, `StorageUnreadable`."""
        path = path_of(session, snapshot)
        if not self._fs.exists(path):
            raise SnapshotLost(f"session {session}: its file {path} is missing")
        content = self._content(path)
        if blake2b(content, digest_size=DIGEST_BYTES).digest() != snapshot.blake2b:
            raise SnapshotLost(f"session {session}: its file {path} has another content")
        return content

    def _content(self, path: str) -> bytes:
        with reading(path):
            return self._fs.read_file(path)

    def sweep(self, named: Callable[[], set[tuple[int, bytes]]], now: float) -> tuple[int, int]:
        """Remove files that no record names and that are older than a day, and empty folders.

        How many files went, and how many are left. Raises `StoragePanic`.
        """
        found, removed = session_files(self._fs), 0  # those being written come and go as they please
        for path in found:
            if now - self._fs.modified(path) <= KEPT_SECONDS:
                continue
            with self._lock:
                # In this order: a settled file already has its record where ``named`` looks.
                if path not in self._pending and path not in {path_of_file(*file) for file in named()}:
                    reach("session.file.unlink")
                    with writing(path):
                        self._fs.unlink(path)
                    removed += 1
        self._remove_empty_folders()
        return removed, len(found) - removed

    def _remove_empty_folders(self) -> None:
        for folder in _folders(self._fs):
            with self._lock:  # `write` has made its file pending before it makes the folder
                is_wanted = any(path.startswith(f"{folder}/") for path in self._pending)
                if not is_wanted and not self._fs.listdir(folder):
                    with writing(folder):
                        self._fs.rmdir(folder)


def session_files(fs: FileSystem) -> list[str]:
    """Paths of all finished files."""
    return [path for path in _listed(fs) if path.endswith(SUFFIX)]


def _folders(fs: FileSystem) -> dict[str, list[str]]:
    """Names in each session's folder. Others' files are passed over, and folders that go meanwhile."""
    found: dict[str, list[str]] = {}
    if fs.exists(layout.SESSIONS):
        with reading(layout.SESSIONS):
            for name in filter(str.isdecimal, fs.listdir(layout.SESSIONS)):
                folder = f"{layout.SESSIONS}/{name}"
                with suppress(FileNotFoundError, NotADirectoryError):
                    found[folder] = fs.listdir(folder)
    return found


def _listed(fs: FileSystem) -> list[str]:
    folders = _folders(fs).items()
    return [f"{folder}/{name}" for folder, names in folders for name in names if _OURS.fullmatch(name)]


def path_of_file(session: int, digest: bytes) -> str:
    """Where the file of a session with this content is."""
    return f"{layout.SESSIONS}/{session}/{digest.hex()}{SUFFIX}"


def path_of(session: int, snapshot: SnapshotFile) -> str:
    """Where the file of a session is.

    >>> path_of(7, SnapshotFile(bytes(32), 0))[:19]
    'sessions/7/00000000'
    """
    return path_of_file(session, snapshot.blake2b)
