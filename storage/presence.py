"""Notices files of the data directory that go away, are replaced or become read-only while a node uses them.

What happens then is in one table, `TABLE`. The log looks after itself too: before each group of records counts as
durable (`storage.wal.writer`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from enum import Enum
from typing import NamedTuple, Protocol

import structlog

from storage.directory import layout
from storage.directory.exclusion import DirectoryLock
from storage.errors import DataDirectoryLocked, FileGone, StorageFull
from storage.export import exports, founding_export
from storage.index.follower import IndexFollower
from storage.io.atomic import write_atomically
from storage.io.failures import writing
from storage.io.files import RealFs, parent_of
from storage.sessions.files import path_of_file
from storage.sessions.shelf import SessionShelf
from storage.wal import Wal
from storage.wal.bounds import BEGINNING_NAME, WATERMARK_NAME
from storage.wal.packed import SUFFIX

log = structlog.get_logger(__name__)


class Reaction(Enum):
    """What a node does when a file is not what it was."""

    END = "ends with 70 (`storage.gone`)"
    MADE = "recreated, warns"
    WARN = "warns"


class WatchedFile(NamedTuple):
    """What is watched, and what happens if it is missing, or another one."""

    what: str
    missing: Reaction
    changed: Reaction
    remark: str = ""


TABLE = (
    WatchedFile("the data directory, `wal/`, `state/`", Reaction.END, Reaction.END, "also if they become read-only"),
    WatchedFile(
        "`wal/*.seg`, `wal/*.seg.zst`, `wal/watermark`, `wal/beginning`",
        Reaction.END, Reaction.END, "also if cut, or read-only while written",
    ),
    WatchedFile(
        "`state/`: `CURRENT`, `LOCK`, `MANIFEST-*`, `*.log`, tables in use",
        Reaction.END, Reaction.WARN, "its engine reads them",
    ),
    WatchedFile("`sessions/*/*.sess`", Reaction.END, Reaction.WARN, "a read checks the digest: `session.snapshot`"),
    WatchedFile(
        "`exports/*.snap` that a pruned log begins with",
        Reaction.END, Reaction.WARN, "a read checks the digest",
    ),
    WatchedFile("other exports", Reaction.WARN, Reaction.WARN, "the next export makes another"),
    WatchedFile(
        "`index.sqlite`, `index.sqlite-wal`, `index.sqlite-shm`",
        Reaction.MADE, Reaction.MADE, "from the blocks",
    ),
    WatchedFile("`LOCK`", Reaction.MADE, Reaction.MADE, "the directory itself is locked too"),
    WatchedFile("`FORMAT`, `genesis.json`", Reaction.MADE, Reaction.END, "the content is kept in memory"),
    WatchedFile(
        "`token`, `tls/*.pem`, `signing.key`, `endpoints.json`",
        Reaction.MADE, Reaction.WARN, "read again at the next start",
    ),
)
"""In docs/operations.md too. `cache/` and the ballast are made again whenever they are needed."""
IDENTITY = (layout.FORMAT, layout.GENESIS)
"""Nobody may change these under a running node."""


class StateFiles(Protocol):
    """The state store's files, as `storage.io.kv.store.DiskStore`."""

    def check_files(self) -> None:
        """Raise `FileGone` unless every file in use is there."""


class Presence:
    """One look at everything. One thread at a time.

    ``kept`` are paths of small files whose content is remembered, beside `IDENTITY`.
    """

    def __init__(
        self,
        fs: RealFs,
        lock: DirectoryLock,
        wal: Wal,
        state: StateFiles,
        follower: IndexFollower,
        shelf: SessionShelf,
        kept: Sequence[str],
    ) -> None:
        self._fs = fs
        self._lock = lock
        self._wal = wal
        self._state = state
        self._follower = follower
        self._shelf = shelf
        self._contents: dict[str, bytes] = {}
        self._kept = (*IDENTITY, *kept)
        self._log_files: dict[str, tuple[int, int, int]] = {}
        """Device, inode and size of each sealed segment."""
        self._sessions: set[str] = set()
        self._exports = set(exports(fs))
        self._reported: dict[str, str] = {}
        """What the last check reported, by path."""
        self._steps: tuple[Callable[[], None], ...] = (
            self._directories, wal.check_place, self._segments, self._founding, state.check_files, self._session_files,
            self._other_exports, self._small_files, self._lock_file, self._index_files,
        )  # fmt: skip
        self.learn()
        self._segments()
        self._session_files()

    def learn(self) -> None:
        """What the small files hold now is right: after this program has changed one."""
        for path in self._kept:
            with suppress(OSError):
                self._contents[path] = self._fs.read_file(path)

    def look(self) -> str:
        """Check all files, recreate those that can be. Raises `FileGone` and `StoragePanic`: the process must end."""
        return self._look(self._steps)

    def check(self) -> None:
        """As `look`, at the end of a node, when nobody needs the index any more."""
        self._look(self._steps[:-1])

    def _look(self, steps: Sequence[Callable[[], None]]) -> str:
        before, self._reported = self._reported, {}
        for step in steps:
            step()
        for path, what in self._reported.items():
            if before.get(path) != what:
                log.warning("a file of the data directory changed under the node", path=path, what=what)
        return f"reported: {', '.join(sorted(self._reported))}" if self._reported else "all in place"

    def _directories(self) -> None:
        if reason := self._fs.moved("", self._lock.directory):
            raise FileGone(f"the data directory {self._fs.root}: {reason}")
        tail = self._wal.segment_paths[-1]
        for path in ("", layout.WAL, layout.STATE, tail, f"{layout.WAL}/{WATERMARK_NAME}"):
            if not self._fs.is_writable(path) and tail == self._wal.segment_paths[-1]:  # not sealed meanwhile
                raise FileGone(f"{path or self._fs.root}: it is gone, or cannot be written any more")

    def _segments(self) -> None:
        paths = self._wal.segment_paths
        if self._fs.exists(f"{layout.WAL}/{BEGINNING_NAME}"):
            self._log_files.setdefault(f"{layout.WAL}/{BEGINNING_NAME}", (0, 0, 0))
        elif f"{layout.WAL}/{BEGINNING_NAME}" in self._log_files:
            raise FileGone(f"{layout.WAL}/{BEGINNING_NAME}: it is gone")
        for path in paths[:-1]:
            # Twice: it may be compressed between the two looks.
            found = next((name for name in 2 * (path, path + SUFFIX) if self._fs.exists(name)), "")
            if not found:
                raise FileGone(f"{path}: it is gone")
            self._same(found)

    def _same(self, path: str) -> None:
        try:
            now = (self._fs.root / path).stat()
        except FileNotFoundError:  # just compressed: the next look sees it
            return
        known = self._log_files.setdefault(path, (now.st_dev, now.st_ino, now.st_size))
        if known != (now.st_dev, now.st_ino, now.st_size):
            raise FileGone(f"{path}: it was replaced or cut")

    def _founding(self) -> None:
        path = founding_export(self._fs)
        if path and not self._fs.exists(path):
            raise FileGone(f"{path}, which the pruned log begins with: it is gone")

    def _session_files(self) -> None:
        """Files that existed: one that a start did not find is reported when its session is used."""
        named = {path_of_file(*file) for file in self._shelf.snapshots()}
        gone = {path for path in named & self._sessions if not self._fs.exists(path)}
        if gone and (gone & {path_of_file(*file) for file in self._shelf.snapshots()}):  # and not closed meanwhile
            raise FileGone(f"{min(gone)}: it is gone")
        self._sessions = {path for path in named if path in self._sessions or self._fs.exists(path)}

    def _other_exports(self) -> None:
        now = set(exports(self._fs))
        if not now and self._exports:
            self._reported[layout.EXPORTS] = "all state exports are gone; the next one is made by its schedule"
        self._exports = now

    def _small_files(self) -> None:
        for path in self._kept:
            try:
                content = self._fs.read_file(path)
            except OSError as error:
                if path in self._contents:
                    self._reported[path] = f"{error.strerror}: {self._made_anew(path)}"
                continue
            known = self._contents.setdefault(path, content)
            if content != known:
                if path in IDENTITY:
                    raise FileGone(f"{path}: it has another content")
                self._contents[path] = content
                self._reported[path] = "it has another content, which the next start will use"

    def _made_anew(self, path: str) -> str:
        """Write a small file again; whether there was room for it. Raises `StoragePanic`."""
        folder = parent_of(path)
        try:
            if folder:
                with writing(folder):
                    self._fs.makedirs(folder)
            write_atomically(self._fs, path, [self._contents[path]])
        except StorageFull as error:
            return str(error)
        return "recreated"

    def _lock_file(self) -> None:
        try:
            if reason := self._lock.restore():
                self._reported[layout.LOCK] = f"{reason}: recreated"
        except (DataDirectoryLocked, StorageFull) as error:
            self._reported[layout.LOCK] = str(error)

    def _index_files(self) -> None:
        try:
            if path := self._follower.check_files():
                self._reported[path] = "built again"
            elif self._fs.exists(layout.INDEX) and not self._fs.is_writable(layout.INDEX):
                self._reported[layout.INDEX] = "it cannot be written any more, which the next start has to"
        except (DataDirectoryLocked, StorageFull) as error:
            self._reported[layout.INDEX] = str(error)
